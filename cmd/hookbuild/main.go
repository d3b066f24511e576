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

// memoryTarget is the heap size that the garbage collector aims at, unless
// GOMEMLIMIT sets another. What is in use at once is smaller, whatever the
// images' size; the window of the zstd encoder is not part of the heap.
const memoryTarget = 56 << 20

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
