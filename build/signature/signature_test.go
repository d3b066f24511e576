package signature

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/internal/fault"
	"hookbuild/test/testneed"
)

const text = "the checksums\n"

// signer is a key of openssl.
type signer struct {
	t   *testing.T
	dir string
	// sign are the arguments that sign with it.
	sign []string
}

func newSigner(t *testing.T, generate, sign []string) signer {
	t.Helper()
	s := signer{t, t.TempDir(), sign}
	s.openssl(append(generate, "-out", "key.pem")...)
	s.openssl("pkey", "-in", "key.pem", "-pubout", "-out", "key.pub")
	return s
}

func (s signer) openssl(args ...string) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), testneed.Tool(s.t, "openssl"), args...)
	cmd.Dir = s.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// key is the public key.
func (s signer) key() Key {
	s.t.Helper()
	k, err := ReadKey(filepath.Join(s.dir, "key.pub"))
	if err != nil {
		s.t.Fatal(err)
	}
	return k
}

// of returns the signature of a message.
func (s signer) of(message string) []byte {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, "message"), []byte(message), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.openssl(s.sign...)
	made, err := os.ReadFile(filepath.Join(s.dir, "signature"))
	if err != nil {
		s.t.Fatal(err)
	}
	return made
}

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// envelope returns a bundle with a signed statement about the text.
func (s signer) envelope(kind, about string) []byte {
	sum := sha256.Sum256([]byte(about))
	payload := fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"00"}},{"name":"checksums.txt","digest":{"sha256":%q}}]}`, hex.EncodeToString(sum[:]))
	signed := fmt.Sprintf("DSSEv1 %d %s %d %s", len(kind), kind, len(payload), payload)
	return fmt.Appendf(nil, `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","dsseEnvelope":{"payloadType":%q,"payload":%q,"signatures":[{"sig":%q}]}}`,
		kind, base64Of([]byte(payload)), base64Of(s.of(signed)))
}

func dgst(hash string) []string {
	return []string{"dgst", "-" + hash, "-sign", "key.pem", "-out", "signature", "message"}
}

func TestKeysOfOpenSSL(t *testing.T) {
	ec := func(curve string) []string { return []string{"ecparam", "-genkey", "-noout", "-name", curve} }
	for name, c := range map[string]struct{ generate, sign []string }{
		"P-256":   {ec("prime256v1"), dgst("sha256")},
		"P-384":   {ec("secp384r1"), dgst("sha384")},
		"P-521":   {ec("secp521r1"), dgst("sha512")},
		"RSA":     {[]string{"genpkey", "-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2048"}, dgst("sha256")},
		"Ed25519": {[]string{"genpkey", "-algorithm", "ed25519"}, []string{"pkeyutl", "-sign", "-rawin", "-inkey", "key.pem", "-in", "message", "-out", "signature"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, other := newSigner(t, c.generate, c.sign), newSigner(t, c.generate, c.sign)
			bare := s.of(text)
			for form, signature := range map[string][]byte{
				"bare":     bare,
				"base64":   []byte(base64Of(bare) + "\n"),
				"bundle":   fmt.Appendf(nil, `{"messageSignature":{"messageDigest":{"algorithm":"SHA2_256"},"signature":%q}}`, base64Of(bare)),
				"older":    fmt.Appendf(nil, `{"base64Signature":%q,"cert":""}`, base64Of(bare)),
				"envelope": s.envelope("application/vnd.in-toto+json", text),
			} {
				if err := s.key().Verify([]byte(text), signature); err != nil {
					t.Errorf("%s: %v", form, err)
				}
				wantInvalid(t, form+" of another text", s.key().Verify([]byte(text+"x"), signature))
				wantInvalid(t, form+" by another key", other.key().Verify([]byte(text), signature))
			}
		})
	}
}

func wantInvalid(t *testing.T, what string, err error) {
	t.Helper()
	if fault.KindOf(err) != fault.Invalid {
		t.Errorf("%s: %v", what, err)
	}
}

func TestBundlesThatProveNothing(t *testing.T) {
	s := newSigner(t, []string{"ecparam", "-genkey", "-noout", "-name", "prime256v1"}, dgst("sha256"))
	changed := strings.Replace(string(s.envelope("application/vnd.in-toto+json", text)), `"sig":"`, `"sig":"AAAA`, 1)
	for want, signature := range map[string]string{
		"about other files":                   string(s.envelope("application/vnd.in-toto+json", "another")),
		`of type "text/plain"`:                string(s.envelope("text/plain", text)),
		"not one by this key over this file":  changed,
		"has no signature":                    `{"dsseEnvelope":{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[]}}`,
		"not a sigstore bundle with a signat": `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}`,
		"not a sigstore bundle: ":             `{"messageSignature":7}`,
	} {
		if err := s.key().Verify([]byte(text), []byte(signature)); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

// gpg runs gpg with a home of its own.
func gpg(t *testing.T, home string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), testneed.Tool(t, "gpg"), append([]string{"--homedir", home, "--batch", "--yes", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...)
	cmd.Dir = home
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out
}

func TestKeysOfGPG(t *testing.T) {
	// A socket's path may have about 100 bytes, and gpg-agent has one in its home.
	home, err := os.MkdirTemp("", "gpg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run(); err != nil {
			t.Log(err)
		}
		os.RemoveAll(home)
	})
	gpg(t, home, "--quick-generate-key", "one@example.com", "ed25519", "sign", "never")
	gpg(t, home, "--quick-generate-key", "two@example.com", "rsa2048", "sign", "never")
	if err := os.WriteFile(filepath.Join(home, "message"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	key := func(name string, args ...string) Key {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, gpg(t, home, append(args, name)...), 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := ReadKey(file)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	one, two := key("one@example.com", "--export", "--armor"), key("two@example.com", "--export")
	for _, form := range [][]string{{"--armor"}, {"--no-armor"}} {
		signed := gpg(t, home, append(form, "--local-user", "one@example.com", "--output", "-", "--detach-sign", "message")...)
		if err := one.Verify([]byte(text), signed); err != nil {
			t.Errorf("%v: %v", form, err)
		}
		wantInvalid(t, "another text", one.Verify([]byte(text+"x"), signed))
		wantInvalid(t, "another key", two.Verify([]byte(text), signed))
	}
	secret := filepath.Join(home, "secret.asc")
	if err := os.WriteFile(secret, gpg(t, home, "--export-secret-keys", "one@example.com"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKey(secret); err == nil || !strings.Contains(err.Error(), "it is a private key") {
		t.Errorf("a private key: %v", err)
	}
}

func TestWhatIsNoKey(t *testing.T) {
	for want, content := range map[string]string{
		"it is a private key": "-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----\n",
		"it has no key":       "hello\n",
		"asn1":                "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
	} {
		file := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadKey(file); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", content, err)
		}
	}
}

// FuzzVerify checks that nothing but a signature by the key passes.
func FuzzVerify(f *testing.F) {
	const public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n"
	k, err := parseKey([]byte(public))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"messageSignature":{"signature":"AAAA"}}`))
	f.Add([]byte(`{"dsseEnvelope":{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"sig":"AAAA"}]}}`))
	f.Add([]byte("AAAA\n"))
	f.Add([]byte("-----BEGIN PGP SIGNATURE-----\n"))
	f.Fuzz(func(t *testing.T, signature []byte) {
		if err := k.Verify([]byte(text), signature); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q passes, or is another fault: %v", signature, err)
		}
	})
}

// TestSignaturesOfCosign verifies what cosign 2.5.3 made of testdata/cosign/checksums.txt:
// sign-blob with and without --new-bundle-format and with --output-signature, and
// attest-blob.
func TestSignaturesOfCosign(t *testing.T) {
	const dir = "testdata/cosign"
	k, err := ReadKey(filepath.Join(dir, "cosign.pub"))
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) []byte {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	signed := read("checksums.txt")
	for _, name := range []string{"blob.sigstore.json", "attestation.sigstore.json", "older.json", "bare.sig"} {
		if err := k.Verify(signed, read(name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		wantInvalid(t, name, k.Verify([]byte(text), read(name)))
	}
}
