package dockerhost

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/docker/docker/client"
	"github.com/docker/go-connections/tlsconfig"
	"github.com/opencontainers/go-digest"

	"hookbuild/internal/fault"
)

// contextFile is a context as Docker stores it in contexts/meta/<sha256 of its
// name>/meta.json.
type contextFile struct {
	Endpoints map[string]struct {
		Host          string
		SkipTLSVerify bool
	}
}

func readContext(dir, name string) (endpoint, error) {
	id := digest.FromString(name).Encoded()
	data, err := os.ReadFile(filepath.Join(dir, "contexts", "meta", id, "meta.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return endpoint{}, fmt.Errorf("there is no context of that name; \"docker context ls\" lists them: %w", err)
	}
	if err != nil {
		return endpoint{}, err
	}
	var file contextFile
	if err := json.Unmarshal(data, &file); err != nil {
		return endpoint{}, err
	}
	docker, ok := file.Endpoints["docker"]
	if !ok || docker.Host == "" {
		return endpoint{}, errors.New("it does not name a Docker Engine")
	}
	certs := filepath.Join(dir, "contexts", "tls", id, "docker")
	config, err := readTLS(certs, docker.SkipTLSVerify)
	return endpoint{docker.Host, config}, err
}

// tlsFromEnvironment reads DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, whose default
// is Docker's configuration directory. As in Docker, certificates are presented
// but not verified unless the former is set.
func tlsFromEnvironment(getenv func(string) string, configDir string) (*tls.Config, error) {
	dir, verify := getenv(client.EnvOverrideCertPath), getenv(client.EnvTLSVerify) != ""
	switch {
	case dir == "" && !verify:
		return nil, nil
	case dir == "":
		dir = configDir
	}
	config, err := readTLS(dir, !verify)
	if config == nil && err == nil { // what the user believes to be protected must not go in the clear
		err = fault.Invalidf("DOCKER_TLS_VERIFY is set, and %q has none of ca.pem, cert.pem and key.pem; set DOCKER_CERT_PATH", dir)
	}
	return config, err
}

// readTLS returns a configuration from those of ca.pem, cert.pem and key.pem
// that exist in dir, or nil if none do.
func readTLS(dir string, skipVerify bool) (*tls.Config, error) {
	options := tlsconfig.Options{InsecureSkipVerify: skipVerify, ExclusiveRootPools: true}
	found := false
	for name, to := range map[string]*string{"ca.pem": &options.CAFile, "cert.pem": &options.CertFile, "key.pem": &options.KeyFile} {
		path := filepath.Join(dir, name)
		switch _, err := os.Stat(path); {
		case err == nil:
			*to, found = path, true
		case !errors.Is(err, fs.ErrNotExist): // without it the engine would be asked in another way
			return nil, err
		}
	}
	if !found && !skipVerify {
		return nil, nil
	}
	return tlsconfig.Client(options)
}
