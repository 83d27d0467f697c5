// Kubelet is the part of a kubelet that `kubectl port-forward` talks to, through an API server: the streaming
// server of Kubernetes itself, in front of one pod that is a process of this machine.
//
//	kubelet LISTEN NAMESPACE/POD PORT ADDRESS
//
// It listens on LISTEN with a certificate of its own and forwards connections to PORT of the pod to ADDRESS.
// Any other pod or port is refused.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/kubelet/pkg/cri/streaming/portforward"
)

// What a kubelet has as defaults.
const (
	idle     = 4 * time.Hour
	creation = 30 * time.Second
)

// pod is where the one pod's port is.
type pod struct {
	name    string
	port    int32
	address string
}

func (p pod) PortForward(ctx context.Context, name string, _ types.UID, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	if name != p.name || port != p.port {
		return fmt.Errorf("nothing listens on port %d of %s", port, name)
	}
	var dialer net.Dialer
	connection, err := dialer.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return err
	}
	defer connection.Close()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		io.Copy(connection, stream)
		connection.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(stream, connection)
	stream.Close()
	<-sent
	return err
}

func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "kubelet"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func run(arguments []string) error {
	if len(arguments) != 4 {
		return errors.New("usage: kubelet LISTEN NAMESPACE/POD PORT ADDRESS")
	}
	port, err := strconv.ParseInt(arguments[2], 10, 32)
	if err != nil {
		return err
	}
	own, err := certificate()
	if err != nil {
		return err
	}
	served := pod{name: arguments[1], port: int32(port), address: arguments[3]}
	handler := http.NewServeMux()
	handler.HandleFunc("/portForward/{namespace}/{pod}", func(w http.ResponseWriter, r *http.Request) {
		options, err := portforward.NewV4Options(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		name := r.PathValue("namespace") + "/" + r.PathValue("pod")
		portforward.ServePortForward(w, r, served, name, "", options, idle, creation, portforward.SupportedProtocols)
	})
	// The streams of SPDY take over a connection of HTTP/1.1.
	configuration := &tls.Config{Certificates: []tls.Certificate{own}, NextProtos: []string{"http/1.1"}}
	listener, err := tls.Listen("tcp", arguments[0], configuration)
	if err != nil {
		return err
	}
	return http.Serve(listener, handler)
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}
