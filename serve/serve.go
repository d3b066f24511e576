// Package serve sends the artifacts of a build over HTTP, for hookImagesURLPath
// and hookIsoURL: whole or in ranges, each client from one consistent set of
// files while builds replace them.
//
//	directory -> set (files held open) -> Files (http.Handler) -> Run (listener, limits)
//	contents that do not change ------->
//
// The server disconnects clients that stop reading, or read slower than a minimum. The
// package writes no files and serves no path with a slash.
package serve

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"hookbuild/internal/fault"
	"hookbuild/internal/words"
)

// DefaultReadTimeout is how long a client may neither send nor receive anything.
const DefaultReadTimeout = 30 * time.Second

// Options configure a server.
type Options struct {
	// Listener accepts the clients; Run closes it.
	Listener net.Listener
	Handler  http.Handler
	// Cert and Key are the files for HTTPS. They are "" for HTTP.
	Cert, Key string
	// ReadTimeout limits the time for a request's header. The default is
	// [DefaultReadTimeout].
	ReadTimeout time.Duration
	// Note receives a line for each connection that ends before a request, such as
	// one that TLS refuses. It may be nil.
	Note func(string)
}

// noted passes what the HTTP server logs to a function.
type noted func(string)

// Write implements [io.Writer]. The logger calls it once for each message.
func (note noted) Write(b []byte) (int, error) {
	if note != nil {
		note(words.Line(strings.TrimSpace(string(b))))
	}
	return len(b), nil
}

// mostHeader limits a request's header. It is more than any firmware sends.
const mostHeader = 16 << 10

// Run serves until ctx is done, and then returns nil. It aborts downloads that are
// under way.
func Run(ctx context.Context, o Options) error {
	if o.ReadTimeout == 0 {
		o.ReadTimeout = DefaultReadTimeout
	}
	server := &http.Server{
		Handler: o.Handler, ReadHeaderTimeout: o.ReadTimeout, ReadTimeout: o.ReadTimeout, IdleTimeout: o.ReadTimeout, MaxHeaderBytes: mostHeader,
		ErrorLog:    log.New(noted(o.Note), "", 0),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	var err error
	if o.Cert != "" {
		err = server.ServeTLS(o.Listener, o.Cert, o.Key)
	} else {
		err = server.Serve(o.Listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serving HTTP on %s: %w", o.Listener.Addr(), err)
}

// Listen opens the address on which Run serves.
func Listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr) //nolint:noctx // it waits for nothing but the look-up of a local name
	if err != nil {
		if !strings.Contains(addr, ":") {
			return nil, fault.Usagef("listening on %q: the port is missing; write HOST:PORT, or :PORT for every address", addr)
		}
		return nil, fault.Failedf("listening on %s: %w; choose another address with --listen", addr, err)
	}
	return l, nil
}
