// Reads certificates as an application in Go does, and says what it finds.
//
//	x509 SECONDS certChain.pem key.pem CA.pem...
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 4 {
		return fmt.Errorf("usage: x509 SECONDS certChain.pem key.pem CA.pem...")
	}
	seconds, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(args[1], args[2])
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return err
	}
	between := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		between.AddCert(certificate)
	}
	fmt.Println("subject", leaf.Subject)
	fmt.Println("dns", leaf.DNSNames)
	fmt.Println("ip", leaf.IPAddresses)
	fmt.Println("uri", leaf.URIs)
	for _, file := range args[3:] {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(text) {
			return fmt.Errorf("%s: no certificate", file)
		}
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			chains, err := leaf.Verify(x509.VerifyOptions{
				Roots:         roots,
				Intermediates: between,
				CurrentTime:   time.Unix(seconds, 0),
				KeyUsages:     []x509.ExtKeyUsage{usage},
			})
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			if usage == x509.ExtKeyUsageServerAuth {
				fmt.Println("under", filepath.Base(file), len(chains[0]))
			}
		}
	}
	return nil
}
