// Command kyaml-identity reads a YAML stream with kyaml and writes it back unchanged: the yardstick
// of the Rust benchmark next to it.
package main

import (
	"fmt"
	"os"

	"sigs.k8s.io/kustomize/kyaml/kio"
)

func main() {
	reader := &kio.ByteReader{Reader: os.Stdin, OmitReaderAnnotations: true}
	nodes, err := reader.Read()
	if err == nil {
		err = kio.ByteWriter{Writer: os.Stdout}.Write(nodes)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
