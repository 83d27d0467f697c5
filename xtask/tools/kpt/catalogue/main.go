// Catalogue runs kpt's own end-to-end tests of functions on a folder of examples.
//
// It is what the KRM functions catalogue runs on its examples: each folder with a `.expected` is copied into a git
// repository, kpt runs twice, and exit code, results and the difference are compared with the files there. The first
// argument is the folder; KPT_E2E_UPDATE_EXPECTED=true writes the files anew.
package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kptdev/kpt/pkg/test/runner"
)

func main() {
	if len(os.Args) != 2 {
		os.Stderr.WriteString("usage: catalogue FOLDER\n")
		os.Exit(2)
	}
	folder := os.Args[1]
	// The rest of the arguments are for the flags of the package testing.
	os.Args = []string{os.Args[0], "-test.v"}
	test := testing.InternalTest{Name: "Catalogue", F: func(t *testing.T) { run(t, folder) }}
	testing.Main(func(_, _ string) (bool, error) { return true, nil }, []testing.InternalTest{test}, nil, nil)
}

func run(t *testing.T, folder string) {
	cases, err := runner.ScanTestCases(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(*cases) == 0 {
		t.Fatalf("no example in %s", folder)
	}
	for _, example := range *cases {
		t.Run(filepath.Base(example.Path), func(t *testing.T) {
			runner, err := runner.NewRunner(t, example, example.Config.TestType)
			if err != nil {
				t.Fatal(err)
			}
			if runner.Skip() {
				t.Fatal("an example that is skipped proves nothing")
			}
			if err := runner.Run(); err != nil {
				t.Error(err)
			}
		})
	}
}
