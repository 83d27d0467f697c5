// Kube-apiserver is the API server of Kubernetes, built from its own packages.
//
// The release's main package cannot be installed by `go install`: its module replaces its parts by
// folders. Here they are replaced by their published versions.
package main

import (
	"os"
	_ "time/tzdata" // time zones of CronJobs, also where the machine has none

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	os.Exit(cli.Run(app.NewAPIServerCommand()))
}
