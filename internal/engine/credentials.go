package engine

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	"google.golang.org/protobuf/encoding/protowire"
)

// credentials answers moby.filesync.v1.CredentialsRequest. It returns only user
// name and secret; BuildKit uses them to get its own tokens. The answer is
// empty if there is no login.
func (a *answers) credentials(ctx context.Context, question []byte) ([]byte, error) {
	var host string
	err := eachField(question, func(number protowire.Number, value []byte, _ uint64) error {
		if number == 1 {
			host = string(value)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if host == "registry-1.docker.io" || host == "docker.io" {
		host = name.DefaultRegistry // the key of logins to Docker Hub
	}
	registry, err := name.NewRegistry(host, name.WeakValidation)
	if err != nil {
		return nil, fmt.Errorf("finding the login for %q: %w", host, err)
	}
	known, err := login(ctx, a.keychain, registry)
	if err != nil {
		return nil, err
	}
	user, secret := known.Username, known.Password
	if known.IdentityToken != "" {
		user, secret = "", known.IdentityToken
	}
	var answer []byte
	for number, text := range []string{1: user, 2: secret} {
		if text != "" {
			answer = protowire.AppendString(protowire.AppendTag(answer, protowire.Number(number), protowire.BytesType), text)
		}
	}
	return answer, nil
}
