// Report prepares a table and writes the nightly report; both are one-shot.
package main

import (
	"fmt"
	"log"
	"os"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: report prepare|nightly")
	}
	table := os.Getenv("TABLE")
	if table == "" {
		table = "sales_by_day"
	}
	switch os.Args[1] {
	case "prepare":
		fmt.Printf("table %s is ready\n", table)
	case "nightly":
		fmt.Printf("%s: report of %s written\n", time.Now().UTC().Format(time.DateOnly), table)
	default:
		log.Fatalf("no job %q", os.Args[1])
	}
}
