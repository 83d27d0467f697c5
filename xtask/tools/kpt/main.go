// Kpt is the `fn` half of kpt, built from its own packages.
//
// The released main package also links the commands of kpt's rollouts module, which cannot be
// fetched from every module proxy. `kpt fn` does not need them, so the tests build it without.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/kptdev/kpt/commands/fn"
	"github.com/kptdev/kpt/pkg/lib/errors"
	"github.com/kptdev/kpt/pkg/lib/errors/resolver"
	"github.com/kptdev/kpt/pkg/printer"
	"github.com/spf13/cobra"
)

func main() {
	root := &cobra.Command{Use: "kpt", SilenceUsage: true, SilenceErrors: true}
	root.PersistentFlags().BoolVar(&printer.TruncateOutput, "truncate-output", true, "cut long results")
	ctx := printer.WithContext(context.Background(), printer.New(root.OutOrStdout(), root.ErrOrStderr()))
	root.AddCommand(fn.GetCommand(ctx, "kpt"))
	if err := root.Execute(); err != nil {
		os.Exit(report(err))
	}
}

// report says what went wrong in kpt's own words and gives its exit code.
func report(err error) int {
	if resolved, ok := resolver.ResolveError(err); ok {
		if resolved.Message != "" {
			fmt.Fprintln(os.Stderr, resolved.Message)
		}
		return resolved.ExitCode
	}
	if inner, ok := err.(*errors.Error); ok {
		if cause, ok := errors.UnwrapErrors(inner); ok {
			err = cause
		}
	}
	fmt.Fprintln(os.Stderr, "Error:", err)
	return 1
}
