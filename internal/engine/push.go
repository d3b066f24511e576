package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/client"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// Push pushes an image of the engine to the registry in its name, using the
// keychain's login for it. A nil keychain means the user's own.
func Push(ctx context.Context, engine *client.Client, ref string, keychain authn.Keychain, task *progress.Task) error {
	login, err := encodedLogin(ctx, ref, keychain)
	if err != nil {
		return err
	}
	stream, err := engine.ImagePush(ctx, ref, image.PushOptions{RegistryAuth: login})
	if err != nil {
		return fault.Mark(err, fault.Outside)
	}
	return errors.Join(follow(stream, task.Output), stream.Close())
}

func encodedLogin(ctx context.Context, ref string, keychain authn.Keychain) (string, error) {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return "", fault.Mark(err, fault.Invalid)
	}
	known, err := login(ctx, keychain, parsed.Context().Registry)
	if err != nil {
		return "", err
	}
	return registry.EncodeAuthConfig(registry.AuthConfig{
		Username: known.Username, Password: known.Password, IdentityToken: known.IdentityToken,
		RegistryToken: known.RegistryToken, ServerAddress: parsed.Context().RegistryStr(),
	})
}

// login returns the credentials for a registry, empty if none are known.
func login(ctx context.Context, keychain authn.Keychain, r name.Registry) (*authn.AuthConfig, error) {
	if keychain == nil {
		keychain = authn.DefaultKeychain
	}
	found, err := authn.Resolve(ctx, keychain, r)
	if err != nil {
		return nil, fmt.Errorf("finding the login for %q: %w", r.RegistryStr(), err)
	}
	known, err := authn.Authorization(ctx, found)
	if err != nil {
		return nil, fmt.Errorf("reading the login for %q: %w", r.RegistryStr(), err)
	}
	return known, nil
}

// follow reads the report of a long operation until it ends, and returns the
// error in it. It calls say for each layer that is done.
func follow(stream io.Reader, say func(line string)) error {
	dec := json.NewDecoder(stream)
	for {
		var m message
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fault.Mark(err, fault.Outside)
		}
		switch {
		case m.Error != nil:
			return fault.Mark(errors.New(m.Error.Message), fault.Outside)
		case m.Status != "" && m.Progress.Total == 0:
			say(joined(m.ID, m.Status))
		}
	}
}

func joined(id, status string) string {
	if id == "" {
		return status
	}
	return id + ": " + status
}
