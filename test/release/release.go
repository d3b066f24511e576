// Package release is a copy, in miniature and offline, of what EKS Anywhere's
// releases are fetched from: the list of releases, a bundle manifest of each
// layout, the HookOS files that they name, and the registry with their images.
//
//	s, err := release.Start(ctx, dir)
//	s.ReleasesURL()                 // for --releases-url
//	s.Mirror(ctx, release.Access{}) // a registry filled as "import images" fills it
//
// The images are indexes over amd64 and arm64 with a file or two. The HookOS
// files are initramfs with a worker embedded by package embed, as those that AWS
// publishes have one; they do not boot. Everything is of our own making, and
// the same from run to run but for the ports in it.
//
// Faults and access rules ([Access], [Service.Wrap]) stand before the servers.
package release

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Release is one release of the service.
type Release struct {
	Version string
	Number  int
	// Hub says that the actions are below tinkerbell/hub. Worker says that the
	// bundle names a tink-worker; without it the HookOS has tink-agent on board.
	Hub, Worker bool
}

// Releases lists what the service offers, the latest last: a release of each
// layout. The last but one is of a line that was maintained longer.
func Releases() []Release {
	return []Release{
		{Version: "v0.20.1", Number: 71, Hub: true, Worker: true},
		{Version: "v0.22.3", Number: 92, Hub: true, Worker: true},
		{Version: "v0.24.2", Number: 110, Worker: true},
		{Version: "v0.25.3", Number: 123},
		{Version: "v0.26.1", Number: 124},
	}
}

// Find returns the release of a version.
func Find(version string) (Release, error) {
	for _, r := range Releases() {
		if r.Version == version {
			return r, nil
		}
	}
	return Release{}, fmt.Errorf("the release service has no %s", version)
}

// Service is a running release service.
type Service struct {
	dir    string
	Images *Registry // what the bundles name, by digest
	assets *server

	mu   sync.Mutex
	wrap func(http.Handler) http.Handler
	hits map[string]int // requests for assets, by path
}

// Start makes the images and files below dir and serves them on loopback.
func Start(ctx context.Context, dir string) (_ *Service, err error) {
	s := &Service{dir: dir, hits: map[string]int{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.Images, err = NewRegistry(ctx, Access{}); err != nil {
		return nil, err
	}
	if s.assets, err = serve(ctx, http.HandlerFunc(s.serveAsset), nil); err != nil {
		return nil, err
	}
	if err := s.pushImages(ctx); err != nil {
		return nil, err
	}
	for _, r := range Releases() {
		if err := s.publish(ctx, r); err != nil {
			return nil, fmt.Errorf("publishing %s: %w", r.Version, err)
		}
	}
	return s, s.writeReleases()
}

// Close stops the servers.
func (s *Service) Close() error {
	var err error
	if s.Images != nil {
		err = s.Images.Close()
	}
	if s.assets != nil {
		err = errors.Join(err, s.assets.close())
	}
	return err
}

// URL is the address of a path of the service.
func (s *Service) URL(path string) string { return "http://" + s.assets.addr + path }

// ReleasesURL is where the list of releases is.
func (s *Service) ReleasesURL() string { return s.URL("/releases/eks-a/manifest.yaml") }

// BundleURL is where the bundle manifest of a release is.
func (s *Service) BundleURL(r Release) string {
	return s.URL(fmt.Sprintf("/releases/bundles/%d/manifest.yaml", r.Number))
}

// HookURL is where a file of a release's HookOS is, such as initramfs-x86_64.
func (s *Service) HookURL(r Release, name string) string { return s.URL(hookPath(r, name)) }

func hookPath(r Release, name string) string {
	return fmt.Sprintf("/releases/bundles/%d/artifacts/hook/%s/%s", r.Number, hookTag, name)
}

// File is the file behind a path of the service; what is written to it is
// served.
func (s *Service) File(path string) string { return filepath.Join(s.dir, filepath.FromSlash(path)) }

// Wrap puts a handler before the files, such as one that fails; nil takes it away.
func (s *Service) Wrap(wrap func(http.Handler) http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrap = wrap
}

// Requests returns how often a path was asked for by GET.
func (s *Service) Requests(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hits[path]
}

func (s *Service) serveAsset(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if r.Method == http.MethodGet {
		s.hits[r.URL.Path]++
	}
	wrap := s.wrap
	s.mu.Unlock()
	handler := http.FileServer(http.Dir(s.dir))
	if wrap != nil {
		handler = wrap(handler)
	}
	handler.ServeHTTP(w, r)
}

func (s *Service) writeReleases() error {
	all := Releases()
	var text strings.Builder
	fmt.Fprintf(&text, "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Release\nmetadata:\n  creationTimestamp: \"2026-01-01T00:00:00Z\"\n  name: eks-anywhere\nspec:\n  latestVersion: %s\n  releases:\n", all[len(all)-1].Version)
	for _, r := range all {
		fmt.Fprintf(&text, "  - bundleManifestUrl: %s\n    date: 2026-01-%02d 00:00:00 +0000 UTC\n    number: %d\n    version: %s\n", s.BundleURL(r), r.Number%28+1, r.Number, r.Version)
	}
	text.WriteString("status: {}\n")
	return s.write("/releases/eks-a/manifest.yaml", text.String())
}

func (s *Service) write(path, text string) error {
	file := s.File(path)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// server is a web server on a free port of loopback.
type server struct {
	addr   string
	http   *http.Server
	served chan error
	once   sync.Once
}

func serve(ctx context.Context, h http.Handler, identity *identity) (*server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting a server: %w", err)
	}
	s := &server{addr: listener.Addr().String(), http: &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: silent()}, served: make(chan error, 1)}
	go func() {
		if identity == nil {
			s.served <- s.http.Serve(listener)
			return
		}
		s.http.TLSConfig = identity.config()
		s.served <- s.http.ServeTLS(listener, "", "")
	}()
	return s, nil
}

// close stops the server, the first time.
func (s *server) close() (err error) {
	s.once.Do(func() {
		err = s.http.Close()
		if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
	})
	return err
}
