package engine

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/moby/buildkit/session/auth"
	"google.golang.org/grpc"
)

// credentials answers BuildKit's questions for logins, as the service
// moby.filesync.v1.Auth of a session. Only user names and secrets are given;
// BuildKit gets its tokens with them by itself.
type credentials struct {
	auth.UnimplementedAuthServer
	keychain authn.Keychain
}

// Register implements [session.Attachable].
func (c *credentials) Register(server *grpc.Server) { auth.RegisterAuthServer(server, c) }

// Credentials implements [auth.AuthServer]. No login is an empty answer.
func (c *credentials) Credentials(ctx context.Context, r *auth.CredentialsRequest) (*auth.CredentialsResponse, error) {
	host := r.GetHost()
	if host == "registry-1.docker.io" || host == "docker.io" {
		host = name.DefaultRegistry // what logins to Docker Hub are kept under
	}
	registry, err := name.NewRegistry(host, name.WeakValidation)
	if err != nil {
		return nil, fmt.Errorf("finding the login for %q: %w", host, err)
	}
	known, err := login(ctx, c.keychain, registry)
	if err != nil {
		return nil, err
	}
	if known.IdentityToken != "" {
		return &auth.CredentialsResponse{Secret: known.IdentityToken}, nil
	}
	return &auth.CredentialsResponse{Username: known.Username, Secret: known.Password}, nil
}
