package web

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"sync"
)

// picker sends each request through the transport with the host's TLS
// configuration. It does not check the certificates of insecure hosts.
type picker struct {
	limits   Limits
	insecure []string
	proxy    func(*url.URL) (*url.URL, error)
	forHost  func(string) (*tls.Config, error)

	checked, unchecked *http.Transport

	mu    sync.Mutex
	hosts map[string]*http.Transport // nil for a host without its own configuration
}

func newPicker(l Limits, o Options) *picker {
	p := &picker{limits: l, insecure: o.Insecure, proxy: o.Proxy, forHost: o.ForHost, hosts: map[string]*http.Transport{}}
	p.checked, p.unchecked = p.transport(o.TLS), p.transport(unverified(o.TLS))
	return p
}

// transport returns a new transport with this configuration.
func (p *picker) transport(config *tls.Config) *http.Transport {
	t := newTransport(p.limits, config)
	if p.proxy != nil {
		t.Proxy = func(r *http.Request) (*url.URL, error) { return p.proxy(r.URL) }
	}
	return t
}

// RoundTrip implements [http.RoundTripper].
func (p *picker) RoundTrip(r *http.Request) (*http.Response, error) {
	transport, err := p.pick(r)
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // a RoundTripper always closes the body
		}
		return nil, Final(err)
	}
	return transport.RoundTrip(r)
}

func (p *picker) pick(r *http.Request) (*http.Transport, error) {
	insecure := IsAmong(r.URL.Host, p.insecure)
	if r.URL.Scheme == "https" && p.forHost != nil {
		own, err := p.own(r.URL.Host, insecure)
		if own != nil || err != nil {
			return own, err
		}
	}
	if insecure {
		return p.unchecked, nil
	}
	return p.checked, nil
}

// own returns the transport with the host's own configuration, or nil if it has
// none.
func (p *picker) own(host string, insecure bool) (*http.Transport, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known, ok := p.hosts[host]; ok {
		return known, nil
	}
	config, err := p.forHost(host)
	if err != nil {
		return nil, fmt.Errorf("reading the certificates for %s: %w", host, err)
	}
	var transport *http.Transport
	if config != nil {
		if insecure {
			config = unverified(config)
		}
		transport = p.transport(config)
	}
	p.hosts[host] = transport
	return transport, nil
}
