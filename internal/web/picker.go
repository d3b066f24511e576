package web

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"sync"
)

// picker sends each request through the transport that has its host's TLS
// configuration. It does not check the certificates of insecure hosts.
type picker struct {
	limits   Limits
	insecure []string
	forHost  func(string) (*tls.Config, error)

	checked, unchecked *http.Transport

	mu    sync.Mutex
	hosts map[string]*http.Transport // nil for a host without its own configuration
}

func newPicker(l Limits, o Options) *picker {
	return &picker{
		limits: l, insecure: o.Insecure, forHost: o.ForHost,
		checked: newTransport(l, o.TLS), unchecked: newTransport(l, unverified(o.TLS)), hosts: map[string]*http.Transport{},
	}
}

// RoundTrip implements [http.RoundTripper].
func (p *picker) RoundTrip(r *http.Request) (*http.Response, error) {
	transport, err := p.transport(r)
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // a RoundTripper closes it, whatever happens
		}
		return nil, Final(err)
	}
	return transport.RoundTrip(r)
}

func (p *picker) transport(r *http.Request) (*http.Transport, error) {
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

// own returns the transport with the host's own configuration, nil where it has
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
		transport = newTransport(p.limits, config)
	}
	p.hosts[host] = transport
	return transport, nil
}
