// Package web is the one HTTP client of hookbuild: for bundle manifests, kernel
// sources, packages, initramfs files and registries.
//
// Every request has limits: on connecting, on the wait for an answer, and on a
// body that stalls ([Limits]). A request that may succeed the next time is
// repeated with growing pauses, or the pause that the server asks for. A body
// that breaks goes on where it was ([Client.Open]). A server that answers over
// https may not send the client to plain HTTP, unless a digest protects the
// content ([Pinned]). What is shown of a URL is decided by [Show].
//
// Three things read through a [Client]:
//
//	Get       content that fits in memory, with a check that repeats the request
//	Open      a stream that survives broken connections
//	Download  a file on disk that an interrupted process can finish later
//
// [Client.Transport] is for libraries that bring their own requests, such as
// go-containerregistry; [Client.Through] adds what such a library made of it.
package web

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"hookbuild/internal/progress"
)

// Limits bound how long a client waits and how often it asks. A zero field has
// the default that its comment names.
type Limits struct {
	// Connect bounds a TCP connection and, separately, a TLS handshake: 15 s.
	Connect time.Duration
	// Header bounds the wait for an answer to a request: 30 s.
	Header time.Duration
	// Idle bounds the wait for the next [leastProgress] bytes of a body: 30 s.
	Idle time.Duration
	// Tries is how often a request is made in all: 15. With fewer, a line that
	// spoils every third answer would still break a build now and then.
	Tries int
	// Pause is the pause after the first failure: 500 ms. Each further one is
	// twice as long, up to eight times the first.
	Pause time.Duration
	// Patience bounds the time that failing requests for the same content may
	// take together, and the longest pause that a server can ask for: 2 min.
	Patience time.Duration
}

func (l Limits) withDefaults() Limits {
	for field, value := range map[*time.Duration]time.Duration{
		&l.Connect: 15 * time.Second, &l.Header: 30 * time.Second, &l.Idle: 30 * time.Second,
		&l.Pause: 500 * time.Millisecond, &l.Patience: 2 * time.Minute,
	} {
		if *field <= 0 {
			*field = value
		}
	}
	if l.Tries <= 0 {
		l.Tries = 15
	}
	return l
}

// Options configure a [Client]. The zero value is usable.
type Options struct {
	Limits Limits
	// TLS is the configuration of TLS, such as a site's own certificate
	// authorities; nil trusts those of the machine.
	TLS *tls.Config
	// ForHost returns the configuration for one host, with the port where the
	// URL has one; nil where TLS applies. It is asked once a host.
	ForHost func(host string) (*tls.Config, error)
	// Proxy returns the proxy for a URL, nil for none; a nil Proxy follows
	// HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
	Proxy func(*url.URL) (*url.URL, error)
	// Insecure lists hosts, with or without a port, whose certificates are not
	// checked.
	Insecure []string
	// Progress receives notes about servers that keep the client waiting.
	Progress progress.Sink
}

// Client makes HTTP requests. It is safe for concurrent use.
type Client struct {
	options Options
	limits  Limits
	sink    progress.Sink
	base    http.RoundTripper // limits and repeats
	http    *http.Client
}

// New returns a client.
func New(o Options) *Client {
	limits := o.Limits.withDefaults()
	sink := progress.Or(o.Progress)
	base := &repeater{limits, sink, &limiter{limits, sink, newPicker(limits, o)}}
	return &Client{options: o, limits: limits, sink: sink, base: base, http: &http.Client{Transport: base}}
}

func newTransport(l Limits, config *tls.Config) *http.Transport {
	dialer := &net.Dialer{Timeout: l.Connect, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        config.Clone(),
		TLSHandshakeTimeout:    l.Connect,
		ResponseHeaderTimeout:  l.Header,
		ExpectContinueTimeout:  time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           100,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 1 << 20,
		OnProxyConnectResponse: refusedByProxy,
	}
}

func unverified(config *tls.Config) *tls.Config {
	config = config.Clone()
	if config == nil {
		config = &tls.Config{}
	}
	config.InsecureSkipVerify = true
	return config
}

// Transport returns the client's limits and repeats as a [http.RoundTripper].
// Requests with a body are not repeated.
func (c *Client) Transport() http.RoundTripper { return c.base }

// WithLimits returns a client that has the same options and other limits.
func (c *Client) WithLimits(l Limits) *Client {
	o := c.options
	o.Limits = l
	return New(o)
}

// Through returns a client with the same limits that sends its requests through
// rt, which is expected to end in [Client.Transport].
func (c *Client) Through(rt http.RoundTripper) *Client {
	through := *c
	through.http = &http.Client{Transport: rt}
	return &through
}

// Engine returns a client for the API of a Docker Engine, whose answers and
// streams may take hours: only connecting is limited, and nothing is repeated.
func Engine(config *tls.Config, checkRedirect func(*http.Request, []*http.Request) error) *http.Client {
	transport := newTransport(Limits{}.withDefaults(), config)
	transport.ResponseHeaderTimeout = 0
	transport.ForceAttemptHTTP2 = false
	return &http.Client{Transport: transport, CheckRedirect: checkRedirect}
}

// IsAmong reports whether host, with or without a port, is among the hosts of a
// list, which may leave out the port.
func IsAmong(host string, list []string) bool {
	bare, _, err := net.SplitHostPort(host)
	return slices.Contains(list, host) || err == nil && slices.Contains(list, bare)
}
