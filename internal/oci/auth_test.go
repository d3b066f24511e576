package oci

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"hookbuild/internal/fault"
)

// wantPassword asks for a password as a registry does.
func wantPassword(w http.ResponseWriter, r *http.Request) bool {
	if user, password, _ := r.BasicAuth(); user == "me" && password == "secret" {
		return false
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="lab"`)
	w.WriteHeader(http.StatusUnauthorized)
	return true
}

func TestBasicAuth(t *testing.T) {
	l := newLab(t)
	src := l.push("image:v1", imageOf(t, amd64, gzipLayer(t, tarOf(t, "a=1"))))
	l.setTrouble(wantPassword)
	err := l.fetch(src)
	mentions(t, err, src, "401", "docker login "+l.host)
	if fault.KindOf(err) != fault.Outside {
		t.Errorf("kind %d", fault.KindOf(err))
	}
	l.client = l.clientWith(func(o *Options) { o.Keychain = keychain{"me", "secret"} })
	if err := l.fetch(src); err != nil {
		t.Errorf("with the password: %v", err)
	}
}

type keychain struct{ user, password string }

func (k keychain) Resolve(authn.Resource) (authn.Authenticator, error) {
	return &authn.Basic{Username: k.user, Password: k.password}, nil
}

// The credentials that docker login leaves in its configuration are found
// without being asked for.
func TestDockerLoginCredentials(t *testing.T) {
	l := newLab(t)
	src := l.push("image:v1", imageOf(t, amd64))
	l.setTrouble(wantPassword)
	dockerConfig(t, fmt.Sprintf(`{"auths":{%q:{"auth":"bWU6c2VjcmV0"}}}`, l.host)) // me:secret
	l.client = l.clientWith(func(o *Options) { o.Keychain = nil })
	if err := l.fetch(src); err != nil {
		t.Error(err)
	}
}

// The cloud registries provide their passwords through a program that Docker's
// configuration names.
func TestCredentialHelper(t *testing.T) {
	l := newLab(t)
	src := l.push("image:v1", imageOf(t, amd64))
	l.setTrouble(wantPassword)
	helpers := t.TempDir()
	script := "#!/bin/sh\necho '{\"Username\":\"me\",\"Secret\":\"secret\"}'\n"
	if err := os.WriteFile(filepath.Join(helpers, "docker-credential-lab"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", helpers+":"+os.Getenv("PATH"))
	for helper, ok := range map[string]bool{"lab": true, "missing": false} {
		dockerConfig(t, fmt.Sprintf(`{"credHelpers":{%q:%q}}`, l.host, helper))
		l.client = l.clientWith(func(o *Options) { o.Keychain = nil })
		err := l.fetch(src)
		if (err == nil) != ok {
			t.Errorf("%s: %v", helper, err)
		}
		if !ok {
			mentions(t, err, l.host, "docker-credential-missing", "config.json")
		}
	}
}

// The store of the configuration counts only for hosts without a helper.
func TestHelperOfTheHostBeforeTheStore(t *testing.T) {
	l := newLab(t)
	src := l.push("ns/image:v1", imageOf(t, amd64))
	l.setTrouble(wantPassword)
	helpers := t.TempDir()
	for name, script := range map[string]string{
		"good":   "echo '{\"Username\":\"me\",\"Secret\":\"secret\"}'",
		"broken": "echo 'not implemented'; exit 1",
		"none":   "echo 'credentials not found in native keychain'; exit 1",
	} {
		if err := os.WriteFile(filepath.Join(helpers, "docker-credential-"+name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", helpers+":"+os.Getenv("PATH"))
	for config, word := range map[string]string{
		fmt.Sprintf(`{"credsStore":"broken","credHelpers":{%q:"good"}}`, l.host): "",
		fmt.Sprintf(`{"credsStore":"good","credHelpers":{%q:"none"}}`, l.host):   "401",
		fmt.Sprintf(`{"credsStore":"good","credHelpers":{%q:"broken"}}`, l.host): "not implemented",
		`{"credsStore":"good"}`: "",
		`{"credsStore":"broken","credHelpers":{"other.example":"good"}}`: "not implemented",
	} {
		dockerConfig(t, config)
		l.client = l.clientWith(func(o *Options) { o.Keychain = nil })
		err := l.fetch(src)
		if word == "" && err != nil {
			t.Errorf("%s: %v", config, err)
		}
		if word != "" {
			mentions(t, err, word, l.host)
		}
	}
}

// A login page, of a proxy that wants its own password, is not a token.
func TestWebPages(t *testing.T) {
	page := func(path string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, path) {
				fmt.Fprint(w, "\n<!DOCTYPE html><html>Sign in</html>")
				return true
			}
			if path == "/token" {
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="lab"`, r.Host))
				w.WriteHeader(http.StatusUnauthorized)
			}
			return path == "/token"
		}
	}
	for _, path := range []string{"/token", "/manifests/"} {
		l := newLab(t)
		src := l.push("image:v1", imageOf(t, amd64))
		l.setTrouble(page(path))
		err := l.fetch(src)
		mentions(t, err, src, l.host+" answered with a web page", "HTTPS_PROXY")
		if n := l.count("GET", path); fault.KindOf(err) != fault.Outside || n != 1 {
			t.Errorf("%s: asked %d times, kind %d", path, n, fault.KindOf(err))
		}
	}
}

// A registry may hide private images from clients without an account.
func TestNotFoundThatALoginMayCure(t *testing.T) {
	l := newLab(t)
	mentions(t, l.fetch(l.host+"/ns/none:v1"), "404", "check the name and the tag", "if it is private", "docker login "+l.host)
	l.client = l.clientWith(func(o *Options) { o.Keychain = keychain{"me", "secret"} })
	err := l.fetch(l.host + "/ns/none:v1")
	mentions(t, err, "404", "check the name and the tag")
	if strings.Contains(err.Error(), "docker login") {
		t.Errorf("with an account: %v", err)
	}
}

// tokenServer issues tokens to clients that know the password. The registry
// accepts each token a limited number of times.
func tokenServer(l *lab, uses int32) func(http.ResponseWriter, *http.Request) bool {
	var given, left atomic.Int32
	var stumbled atomic.Bool
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			user, password, _ := r.BasicAuth()
			switch {
			case user != "me" || password != "secret" || r.URL.Query().Get("scope") == "":
				w.WriteHeader(http.StatusUnauthorized)
			case stumbled.CompareAndSwap(false, true):
				w.WriteHeader(http.StatusBadGateway)
			default:
				left.Store(uses)
				fmt.Fprintf(w, `{"token":"t%d"}`, given.Add(1))
			}
			return true
		}
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if token == fmt.Sprintf("t%d", given.Load()) && left.Add(-1) >= 0 {
			return false
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="lab"`, l.host))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
}

func TestBearerTokens(t *testing.T) {
	l := newLab(t)
	src := l.push("image:v1", imageOf(t, amd64, gzipLayer(t, tarOf(t, "a=1")), gzipLayer(t, tarOf(t, "b=2"))))
	l.setTrouble(tokenServer(l, 2)) // the second request after a login needs another token
	l.client = l.clientWith(func(o *Options) { o.Keychain, o.Jobs = keychain{"me", "secret"}, 1 })
	if err := l.fetch(src); err != nil {
		t.Error(err)
	}
	if n := l.count("/token"); n < 3 {
		t.Errorf("%d requests for tokens", n)
	}
	l.renew(func(o *Options) { o.Keychain = keychain{"me", "wrong"} })
	err := l.fetch(src)
	mentions(t, err, src, "401", "docker login "+l.host)
	if fault.KindOf(err) != fault.Outside || strings.Contains(err.Error(), "wrong") {
		t.Errorf("kind %d: %v", fault.KindOf(err), err)
	}
}
