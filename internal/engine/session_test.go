package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"google.golang.org/protobuf/encoding/protowire"
)

// logins is a keychain with a login for each of its registries.
type logins map[string]authn.AuthConfig

func (l logins) Resolve(r authn.Resource) (authn.Authenticator, error) {
	known, ok := l[r.RegistryStr()]
	switch {
	case !ok:
		return authn.Anonymous, nil
	case known.Username == "broken":
		return nil, errors.New("the store is locked")
	}
	return authn.FromConfig(known), nil
}

// question is a CredentialsRequest for a host.
func question(host string) []byte {
	return frame(protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), host))
}

// ask sends a message to a session as BuildKit does: over HTTP/2 without TLS. It
// returns the fields of the answer and the status of gRPC with its text.
func ask(t *testing.T, server *httptest.Server, method string, message []byte) (fields map[int]string, status string) {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+method, bytes.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if answer.ProtoMajor != 2 || answer.Header.Get("Content-Type") != "application/grpc" {
		t.Errorf("the answer is %s of type %q", answer.Proto, answer.Header.Get("Content-Type"))
	}
	text, err := url.PathUnescape(answer.Trailer.Get("Grpc-Message"))
	if err != nil {
		t.Fatal(err)
	}
	status = strings.TrimSpace(answer.Trailer.Get("Grpc-Status") + " " + text)
	if len(body) == 0 {
		return nil, status
	}
	payload, err := readMessage(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	fields = map[int]string{}
	err = eachField(payload, func(number protowire.Number, value []byte, n uint64) error {
		fields[int(number)] = string(value)
		if value == nil {
			fields[int(number)] = fmt.Sprint(n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return fields, status
}

func TestSessionAnswers(t *testing.T) {
	known := logins{
		"registry.example:5000": {Username: "ann", Password: "s3cret"},
		"index.docker.io":       {Username: "bob", Password: "hub"},
		"cloud.example":         {IdentityToken: "token"},
		"locked.example":        {Username: "broken"},
	}
	server := httptest.NewUnstartedServer(&answers{keychain: known})
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()

	for name, test := range map[string]struct {
		method  string
		message []byte
		fields  map[int]string
		status  string
	}{
		"user and password":   {credentialsMethod, question("registry.example:5000"), map[int]string{1: "ann", 2: "s3cret"}, "0"},
		"Docker Hub":          {credentialsMethod, question("registry-1.docker.io"), map[int]string{1: "bob", 2: "hub"}, "0"},
		"Docker Hub, short":   {credentialsMethod, question("docker.io"), map[int]string{1: "bob", 2: "hub"}, "0"},
		"identity token":      {credentialsMethod, question("cloud.example"), map[int]string{2: "token"}, "0"},
		"no login":            {credentialsMethod, question("other.example"), map[int]string{}, "0"},
		"health":              {healthMethod, frame(nil), map[int]string{1: "1"}, "0"},
		"store that fails":    {credentialsMethod, question("locked.example"), nil, "2 .*the store is locked"},
		"no registry's name":  {credentialsMethod, question("a b"), nil, `2 finding the login for "a b".*`},
		"no protocol buffer":  {credentialsMethod, frame([]byte{0xff}), nil, "2 reading a protocol buffer.*"},
		"compressed":          {credentialsMethod, []byte{1, 0, 0, 0, 0}, nil, "2 .*compressed.*"},
		"too long":            {credentialsMethod, []byte{0, 0xff, 0, 0, 0}, nil, "2 .*exceed 65536.*"},
		"cut off":             {credentialsMethod, []byte{0, 0, 0, 0, 9, 1}, nil, "2 .*unexpected EOF.*"},
		"no message":          {credentialsMethod, nil, nil, "2 .*EOF.*"},
		"method not provided": {"/moby.filesync.v1.Auth/VerifyTokenAuthority", frame(nil), nil, "12 .*VerifyTokenAuthority"},
	} {
		t.Run(name, func(t *testing.T) {
			fields, status := ask(t, server, test.method, test.message)
			if diff := cmp.Diff(test.fields, fields); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
			if !regexp.MustCompile("^(?s:" + test.status + ")$").MatchString(status) {
				t.Errorf("the status is %q, want %q", status, test.status)
			}
		})
	}
}

func FuzzSessionMessage(f *testing.F) {
	f.Add(question("registry.example"))
	f.Add([]byte{1, 0, 0, 0, 0})
	f.Fuzz(func(_ *testing.T, raw []byte) {
		message, err := readMessage(bytes.NewReader(raw))
		if err == nil {
			_, _ = (&answers{keychain: logins{}}).credentials(context.Background(), message)
		}
	})
}
