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
)

// contextFile is what Docker keeps of a context in
// contexts/meta/<sha256 of its name>/meta.json.
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
		return endpoint{}, fmt.Errorf("there is none of that name: \"docker context ls\" lists them: %w", err)
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
		return endpoint{}, errors.New("it names no Docker Engine")
	}
	certs := filepath.Join(dir, "contexts", "tls", id, "docker")
	config, err := readTLS(certs, docker.SkipTLSVerify)
	return endpoint{docker.Host, config}, err
}

// tlsFromEnvironment reads what DOCKER_TLS_VERIFY and DOCKER_CERT_PATH say; as
// in Docker, certificates are used but not asked for without the former.
func tlsFromEnvironment(getenv func(string) string) (*tls.Config, error) {
	dir := getenv(client.EnvOverrideCertPath)
	if dir == "" {
		return nil, nil
	}
	return readTLS(dir, getenv(client.EnvTLSVerify) == "")
}

// readTLS makes a configuration of the ca.pem, cert.pem and key.pem in dir
// that are there; nil when none is.
func readTLS(dir string, skipVerify bool) (*tls.Config, error) {
	options := tlsconfig.Options{InsecureSkipVerify: skipVerify, ExclusiveRootPools: true}
	found := false
	for name, to := range map[string]*string{"ca.pem": &options.CAFile, "cert.pem": &options.CertFile, "key.pem": &options.KeyFile} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			*to, found = path, true
		}
	}
	if !found && !skipVerify {
		return nil, nil
	}
	return tlsconfig.Client(options)
}
