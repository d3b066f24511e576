// Package web is the only HTTP client of hookbuild: for bundle manifests,
// kernel sources, packages, initramfs files and registries.
//
// Every request has limits: on connecting, on the wait for an answer, and on a
// stalled body ([Limits]). A request that may succeed later is repeated with
// growing pauses, or after the pause that the server asks for. A transfer that
// breaks is resumed ([Client.Open]). A server that answers over https may not
// redirect to plain HTTP, unless a digest protects the content ([pinned]).
// [Show] decides what is shown of a URL.
//
// Three functions read through a [Client]:
//
//	Get       content that fits in memory, with a check that repeats the request
//	Open      a stream that survives broken connections
//	Download  a file on disk that a later process can finish
//
// [Client.Transport] is for libraries that make their own requests, such as
// go-containerregistry; [Client.Through] adds such a library's wrapping of it.
package web

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"hookbuild/internal/progress"
)

// Limits bound how long a client waits and how often it tries. A zero field
// means the default that its comment states.
type Limits struct {
	// Connect bounds a TCP connection and, separately, a TLS handshake: 15 s.
	Connect time.Duration
	// Header bounds the wait for an answer to a request: 30 s.
	Header time.Duration
	// Idle bounds the wait for the next [leastProgress] bytes of a body: 30 s.
	Idle time.Duration
	// Tries is the total number of tries of a request: 15. With fewer, a line
	// that breaks every third answer would still fail a build now and then.
	Tries int
	// Pause is the pause after the first failure: 500 ms. It doubles after each
	// further one, up to eight times the first.
	Pause time.Duration
	// Patience bounds the total time of failing requests for the same content,
	// and the longest pause that a server may ask for: 2 min.
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
	// TLS is the TLS configuration, such as a site's own certificate
	// authorities; nil means those of the machine.
	TLS *tls.Config
	// ForHost returns the configuration for one host, with the port if the URL
	// has one; nil means that TLS applies. It is called once per host.
	ForHost func(host string) (*tls.Config, error)
	// Proxy returns the proxy for a URL, or nil for none; a nil Proxy follows
	// HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
	Proxy func(*url.URL) (*url.URL, error)
	// Insecure lists hosts, with or without a port, whose certificates are not
	// checked.
	Insecure []string
	// Instead, a kit, answers every request in the place of the network; nil uses
	// the network.
	Instead http.RoundTripper
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
	var network http.RoundTripper = newPicker(limits, o)
	if o.Instead != nil {
		network = o.Instead
	}
	base := &repeater{limits, sink, &limiter{limits, sink, network}}
	return &Client{options: o, limits: limits, sink: sink, base: base, http: &http.Client{Transport: base}}
}

// Local reports whether [Options.Instead] answers in the place of the network.
func (c *Client) Local() bool { return c.options.Instead != nil }

// Doing returns what a request for a thing does, for progress: "fetch THING" from the
// network, else "read THING from the kit".
func (c *Client) Doing(fetch, thing string) string {
	if c.Local() {
		return "read " + thing + " from the kit"
	}
	return fetch + " " + thing
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

// Transport returns a [http.RoundTripper] with the client's limits and retries.
// Requests with a body are not retried.
func (c *Client) Transport() http.RoundTripper { return c.base }

// WithLimits returns a client with the same options but other limits.
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
// streams may take hours: only connecting is limited, and nothing is retried.
func Engine(config *tls.Config, checkRedirect func(*http.Request, []*http.Request) error) *http.Client {
	transport := newTransport(Limits{}.withDefaults(), config)
	transport.ResponseHeaderTimeout = 0
	transport.ForceAttemptHTTP2 = false
	return &http.Client{Transport: transport, CheckRedirect: checkRedirect}
}

// IsLoopback reports whether a host without a port is this machine, by its name or
// address.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// IsAmong reports whether host, with or without a port, is in list, whose
// entries may omit the port.
func IsAmong(host string, list []string) bool {
	bare, _, err := net.SplitHostPort(host)
	return slices.Contains(list, host) || err == nil && slices.Contains(list, bare)
}
