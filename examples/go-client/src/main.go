// Teller speaks mutual TLS with the certificates that the initializer leaves in /tls-config.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: teller server|client")
	}
	identity, peers, err := load(env("TLS_DIR", "/tls-config"))
	if err != nil {
		log.Fatal(err)
	}
	switch os.Args[1] {
	case "server":
		err = serve(identity, peers)
	case "client":
		err = ask(identity, peers, env("SERVER", "teller:8443"))
	default:
		err = fmt.Errorf("no program %q", os.Args[1])
	}
	if err != nil {
		log.Fatal(err)
	}
}

// load reads this workload's certificate and the CA that every member of the mesh is issued by.
func load(dir string) (tls.Certificate, *x509.CertPool, error) {
	identity, err := tls.LoadX509KeyPair(filepath.Join(dir, "certChain.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	ca, err := os.ReadFile(filepath.Join(dir, "mesh-ca.pem"))
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	peers := x509.NewCertPool()
	if !peers.AppendCertsFromPEM(ca) {
		return tls.Certificate{}, nil, errors.New("mesh-ca.pem holds no certificate")
	}
	return identity, peers, nil
}

func serve(identity tls.Certificate, peers *x509.CertPool) error {
	server := &http.Server{
		Addr:              env("LISTEN", ":8443"),
		ReadHeaderTimeout: 5 * time.Second,
		TLSConfig: &tls.Config{
			MinVersion:   tls.VersionTLS13,
			Certificates: []tls.Certificate{identity},
			ClientAuth:   tls.RequireAndVerifyClientCert,
			ClientCAs:    peers,
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "hello %s\n", r.TLS.PeerCertificates[0].Subject.CommonName)
		}),
	}
	return server.ListenAndServeTLS("", "")
}

func ask(identity tls.Certificate, peers *x509.CertPool, server string) error {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{identity},
		RootCAs:      peers,
	}}}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+server+"/", nil)
	if err != nil {
		return err
	}
	reply, err := client.Do(request)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(io.LimitReader(reply.Body, 4096))
	if err != nil {
		return err
	}
	fmt.Print(string(body))
	return nil
}

func env(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}
