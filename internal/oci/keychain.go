package oci

import (
	"context"
	"os"
	"path/filepath"

	"github.com/docker/cli/cli/config"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// DockerKeychain returns a keychain with the credentials of docker login (or
// podman login) and of the credential helpers set up there.
//
// If the configuration names a helper for the registry's host, only that helper
// is asked, as docker does. Go-containerregistry's own keychain first looks for
// the whole repository, for which there is no helper: it then asks the default
// store, and returns its failure.
func DockerKeychain() authn.Keychain { return dockerKeychain{} }

type dockerKeychain struct{}

// Resolve implements [authn.Keychain].
func (k dockerKeychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(context.Background(), target)
}

// ResolveContext implements [authn.ContextKeychain].
func (k dockerKeychain) ResolveContext(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	dir := configDir()
	if _, err := os.Stat(filepath.Join(dir, config.ConfigFileName)); err != nil {
		return authn.Resolve(ctx, authn.DefaultKeychain, target) // podman's, or none
	}
	file, err := config.Load(dir)
	if err != nil {
		return nil, err
	}
	for _, host := range hostKeys(target.RegistryStr()) {
		if file.CredentialHelpers[host] == "" {
			continue
		}
		found, err := file.GetAuthConfig(host)
		if err != nil {
			return nil, err
		}
		found.ServerAddress = ""
		login := authn.AuthConfig{
			Username: found.Username, Password: found.Password, Auth: found.Auth,
			IdentityToken: found.IdentityToken, RegistryToken: found.RegistryToken,
		}
		if login == (authn.AuthConfig{}) {
			return authn.Anonymous, nil
		}
		return authn.FromConfig(login), nil
	}
	return authn.Resolve(ctx, authn.DefaultKeychain, target)
}

// configDir is [config.Dir], which caches its first result.
func configDir() string {
	if dir := os.Getenv(config.EnvOverrideConfigDir); dir != "" {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".docker")
}

// hostKeys returns the names of a registry in Docker's configuration.
func hostKeys(host string) []string {
	if host == name.DefaultRegistry {
		return []string{authn.DefaultAuthKey, name.DefaultRegistry, "docker.io"}
	}
	return []string{host}
}
