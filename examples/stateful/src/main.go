// Counter counts its own starts in the first eight bytes of a block device.
package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "check" {
		check()
		return
	}
	listen := flag.String("listen", ":8443", "address to answer on")
	data := flag.String("data", "/dev/counter", "block device or file")
	flag.Parse()

	starts, err := count(*data)
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{
		Addr:              *listen,
		ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "%s started %d times\n", os.Getenv("POD_NAME"), starts)
		}),
	}
	log.Fatal(server.ListenAndServe())
}

// count adds one to the number on the device and returns it.
func count(path string) (uint64, error) {
	device, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer device.Close()
	var cell [8]byte
	if _, err := device.ReadAt(cell[:], 0); err != nil && err != io.EOF {
		return 0, err
	}
	starts := binary.LittleEndian.Uint64(cell[:]) + 1
	binary.LittleEndian.PutUint64(cell[:], starts)
	if _, err := device.WriteAt(cell[:], 0); err != nil {
		return 0, err
	}
	return starts, device.Sync()
}

// check is the readiness probe: it asks the running server.
func check() {
	client := &http.Client{Timeout: 2 * time.Second}
	reply, err := client.Get("http://127.0.0.1:8443/")
	if err != nil {
		log.Fatal(err)
	}
	reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		log.Fatal(reply.Status)
	}
}
