// Command hookbuild builds a customised HookOS: a kernel and an initramfs that
// bare-metal machines boot over the network, with the action images on board.
//
// One file holds one command: it turns flags into the options of a room and
// prints what comes back. The faces that show progress are beside them.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], environment{
		getenv: os.Getenv, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
	})
	stop()
	os.Exit(code)
}
