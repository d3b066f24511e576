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
	"runtime/debug"
	"syscall"
)

// memoryTarget is what the garbage collector keeps the program near, whatever
// the images' size, where GOMEMLIMIT does not say otherwise. What is in use at
// once is below that; the rest would be garbage that waits.
const memoryTarget = 144 << 20

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryTarget)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], environment{
		getenv: os.Getenv, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
	})
	stop()
	os.Exit(code)
}
