// Command hookbuild builds a customised HookOS: a kernel and an initramfs that
// bare-metal machines boot over the network, with embedded action images.
//
// Each command has a file, which turns flags into the options of a package and
// prints the result. Package face shows progress.
package main

import (
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// memoryTarget is the heap size that the garbage collector aims at, unless
// GOMEMLIMIT sets another. The live heap is smaller, whatever the images' size;
// the zstd encoder's window is not part of the heap.
const memoryTarget = 40 << 20

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryTarget)
	}
	// The standard library logs what servers do wrong; what matters of it is also an
	// error. Standard error is the face's.
	log.SetOutput(io.Discard)
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], environment{
		getenv: os.Getenv, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
	})
	stop()
	os.Exit(code)
}
