// Package trust reads the certificates that a site adds to the system's:
// certificate authorities in files, and the directories in which Docker looks
// for those of a registry.
package trust

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hookbuild/internal/bounded"
	"hookbuild/internal/fault"
)

// authorities returns the system's certificate authorities and those in the
// PEM files.
func authorities(files []string) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("reading the system's certificate authorities: %w", err)
	}
	for _, name := range files {
		data, err := bounded.ReadFile(name, bounded.Small)
		if err != nil {
			return nil, fault.Invalidf("reading certificate authorities: %w; give a file with certificates in PEM form", err)
		}
		if err := addTo(pool, data); err != nil {
			return nil, fault.Invalidf("reading certificate authorities from %q: %w", name, err)
		}
	}
	return pool, nil
}

// addTo adds the certificates in a PEM text to pool. A text without one, or with
// one that cannot be read, is an error; blocks of other types are skipped.
func addTo(pool *x509.CertPool, data []byte) error {
	found := 0
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		found++
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("certificate %d: %w; export it again in PEM form", found, err)
		}
		pool.AddCert(certificate)
	}
	if found == 0 {
		return errors.New("it has no certificate; give one in PEM form (-----BEGIN CERTIFICATE-----)")
	}
	return nil
}

// Store finds certificates. The zero value has the system's authorities alone.
type Store struct {
	// Files are PEM files of authorities that are trusted for every host.
	Files []string
	// Dirs are directories in which files are found as Docker finds them: in
	// DIR/HOST[:PORT], *.crt are authorities, and each *.cert is a client's
	// certificate whose key is in the *.key of the same name. All are read.
	Dirs []string
	// Hosts are authorities in PEM form that are trusted for one host[:port].
	Hosts map[string][]byte
	// Unverified are host[:port] whose certificates are not checked.
	Unverified []string
}

// TLS returns the configuration for hosts that have none of their own; nil is
// the system's.
func (s Store) TLS() (*tls.Config, error) {
	if len(s.Files) == 0 {
		return nil, nil
	}
	pool, err := authorities(s.Files)
	if err != nil {
		return nil, err
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// ForHost returns the configuration for a host, with the port where its URL has
// one; nil where the host has none of its own. Without a port, the port is 443: the
// token server of a registry at HOST:443 is often at HOST.
func (s Store) ForHost(host string) (*tls.Config, error) {
	var dirs []string
	var texts [][]byte
	unverified := false
	for _, name := range spellings(host) {
		dirs = append(dirs, s.dirsOf(name)...)
		unverified = unverified || slices.Contains(s.Unverified, name)
		if text := s.Hosts[name]; text != nil {
			texts = append(texts, text)
		}
	}
	if len(texts) == 0 && len(dirs) == 0 && !unverified {
		return nil, nil
	}
	pool, err := authorities(s.Files)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12, InsecureSkipVerify: unverified}
	for _, text := range texts {
		if err := addTo(pool, text); err != nil {
			return nil, fault.Invalidf("the certificate authority of %s: %w", host, err)
		}
	}
	for _, dir := range dirs {
		if err := read(config, dir); err != nil {
			return nil, err
		}
	}
	return config, nil
}

// spellings returns the names that a host[:port] has in URLs of https.
func spellings(host string) []string {
	const port = ":443"
	if bare, ok := strings.CutSuffix(host, port); ok {
		return []string{host, bare}
	}
	if _, _, err := net.SplitHostPort(host); err == nil || host == "" {
		return []string{host}
	}
	return []string{host, host + port}
}

// dirsOf returns the directories that exist for a host.
func (s Store) dirsOf(host string) []string {
	if host == "" || strings.ContainsAny(host, `/\`) || host == "." || host == ".." {
		return nil
	}
	var dirs []string
	for _, dir := range s.Dirs {
		dir = filepath.Join(dir, host)
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) { // read tells of other errors
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// DockerDirs returns the directories of a user of Docker: the system's and,
// where home is not empty, the user's own.
func DockerDirs(home string) []string {
	dirs := []string{"/etc/docker/certs.d"}
	if home != "" {
		dirs = append(dirs, filepath.Join(home, ".docker", "certs.d"))
	}
	return dirs
}

// read adds the certificates in a directory to config.
func read(config *tls.Config, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fault.Invalidf("%w", err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		switch filepath.Ext(name) {
		case ".crt":
			err = readAuthority(config.RootCAs, path)
		case ".cert":
			err = readClient(config, path, names)
		case ".key":
			if cert := strings.TrimSuffix(name, ".key") + ".cert"; !slices.Contains(names, cert) {
				err = fault.Invalidf("%q is a key without its certificate; add %q", path, cert)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func readAuthority(pool *x509.CertPool, path string) error {
	data, err := bounded.ReadFile(path, bounded.Small)
	if err != nil {
		return fault.Invalidf("%w", err)
	}
	if err := addTo(pool, data); err != nil {
		return fault.Invalidf("%q: %w", path, err)
	}
	return nil
}

func readClient(config *tls.Config, path string, names []string) error {
	key := strings.TrimSuffix(path, ".cert") + ".key"
	if !slices.Contains(names, filepath.Base(key)) {
		return fault.Invalidf("%q is a client's certificate without its key; add %q, or name a certificate authority *.crt", path, filepath.Base(key))
	}
	pair, err := tls.LoadX509KeyPair(path, key)
	if err != nil {
		return fault.Invalidf("%q and its key: %w", path, err)
	}
	config.Certificates = append(config.Certificates, pair)
	return nil
}
