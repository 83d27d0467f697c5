// Shop is a small shop made of four programs in one binary: web, catalog, orders and shopper.
//
// It exists to have something real to make confidential: an HTTP front end, two gRPC services and
// a client that never stops. Addresses come from the environment, so that the programs talk either
// to each other directly or through a mesh on loopback without a change.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	programs := map[string]func(context.Context) error{
		"web":     runWeb,
		"catalog": runCatalog,
		"orders":  runOrders,
		"shopper": runShopper,
	}
	if len(os.Args) != 2 || programs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: shop web|catalog|orders|shopper")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := programs[os.Args[1]](ctx); err != nil {
		slog.Error("stopped", "program", os.Args[1], "err", err)
		os.Exit(1)
	}
}

// env reads a variable that has a default.
func env(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}
