package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path"
	"strings"

	"hookbuild/netboot/hardware"
	"hookbuild/serve"
)

// artifactPath is the HTTP path of the kernel and initramfs.
const artifactPath = "/hook/"

// httpService serves scripts, programs and artifacts.
type httpService struct {
	*server
	listener net.Listener
	// files are the artifacts, or nil.
	files *serve.Files
}

func (s *server) listenHTTP() (service, error) {
	u, err := url.Parse(s.Plan.BinaryURL)
	if err != nil {
		return nil, fmt.Errorf("reading the URL %q: %w", s.Plan.BinaryURL, err)
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	addr := net.JoinHostPort(s.Plan.Address.String(), port)
	listener, err := net.Listen("tcp4", addr) //nolint:noctx // an address needs no look-up, so this does not wait
	if err != nil {
		return nil, listenError("HTTP", addr, "--http-port", err)
	}
	h := &httpService{server: s, listener: listener}
	if s.Artifacts != "" {
		if h.files, err = serve.Open(s.Artifacts, s.ReadTimeout, func(line string) { s.note("%s", line) }); err != nil {
			return nil, errors.Join(fmt.Errorf("serving %q: %w", s.Artifacts, err), listener.Close())
		}
	}
	return h, nil
}

func (h *httpService) serve(ctx context.Context) error {
	return serve.Run(ctx, serve.Options{Listener: h.listener, Handler: h, ReadTimeout: h.ReadTimeout, Note: func(line string) { h.note("%s", line) }})
}

// ServeHTTP implements [http.Handler].
func (h *httpService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.files != nil && strings.HasPrefix(r.URL.Path, artifactPath) {
		http.StripPrefix(strings.TrimSuffix(artifactPath, "/"), h.files).ServeHTTP(w, r)
		return
	}
	out := serve.Paced(w, h.ReadTimeout)
	why := h.route(out, r)
	h.note("HTTP %s: %s %s: %s%s", r.RemoteAddr, r.Method, r.URL.Path, out.Result(r), why)
}

// route answers a request. It returns what the log adds to the status.
func (h *httpService) route(w http.ResponseWriter, r *http.Request) (why string) {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
	case path.Base(r.URL.Path) == h.scriptName():
		return h.script(w, r)
	case strings.HasPrefix(r.URL.Path, h.binaryPath()):
		h.file(w, r, h.program(path.Base(r.URL.Path))) // also below a directory named after a MAC
	default:
		http.NotFound(w, r)
	}
	return ""
}

// scriptName returns the last element of the script's path.
func (s *server) scriptName() string { return path.Base(urlPath(s.Plan.ScriptURL)) }

func (s *server) binaryPath() string { return urlPath(s.Plan.BinaryURL) }

// urlPath returns the path of a URL of the plan, which may contain "${mac}".
func urlPath(u string) string {
	_, rest, _ := strings.Cut(u, "://")
	_, p, _ := strings.Cut(rest, "/")
	return "/" + p
}

// file sends a file, with support for ranges, which BMCs and iPXE use. For "" it
// answers 404.
func (h *httpService) file(w http.ResponseWriter, r *http.Request, name string) {
	f, err := os.Open(name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, name, info.ModTime(), f)
}

// script answers like Smee: with 404 and no body for a machine that is unknown by
// the MAC in the path and by its address. It returns why, for the log.
func (h *httpService) script(w http.ResponseWriter, r *http.Request) (why string) {
	m, asked, known := h.machine(r)
	if !known && !h.AnyMachine {
		w.WriteHeader(http.StatusNotFound)
		return ": " + asked + " is not a machine in hardware.csv"
	}
	w.Header().Set("Content-Type", "text/plain")
	if _, err := io.WriteString(w, h.ipxeScript(m, known)); err != nil {
		h.note("HTTP %s: sending the script: %v", r.RemoteAddr, err)
	}
	return ""
}

// machine returns the machine that asks, and the MAC or address by which it was looked
// for.
func (h *httpService) machine(r *http.Request) (m hardware.Machine, asked string, known bool) {
	if mac, ok := hardware.ParseMAC(path.Base(path.Dir(r.URL.Path))); ok {
		m, known = h.Plan.Machine(mac)
		return m, mac.String(), known
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return hardware.Machine{}, r.RemoteAddr, false
	}
	for m := range h.Plan.Machines {
		if m.IP == from.Addr().Unmap() {
			return m, m.IP.String(), true
		}
	}
	return hardware.Machine{}, from.Addr().Unmap().String(), false
}
