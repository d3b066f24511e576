package bundles

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestVectors checks the canonical form and the key against signatures that
// AWS made.
func TestVectors(t *testing.T) {
	data, err := os.ReadFile(sample("signature-vectors.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		PublicKeyDerBase64 string
		Vectors            []struct {
			Name, Canonical, SHA256, Signature string
			Valid                              bool
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	if file.PublicKeyDerBase64 != publicKey {
		t.Error("the key is not AWS's")
	}
	for _, v := range file.Vectors {
		t.Run(v.Name, func(t *testing.T) {
			// The canonical JSON is YAML too, and has the same canonical form.
			var doc map[string]any
			if err := json.Unmarshal([]byte(v.Canonical), &doc); err != nil {
				t.Fatal(err)
			}
			doc["metadata"].(map[string]any)["annotations"] = map[string]string{signatureAnnotation: v.Signature}
			text, err := json.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			b, err := Parse(text, v.Name)
			if err != nil {
				t.Fatal(err)
			}
			got, err := b.canonical()
			if err != nil {
				t.Fatal(err)
			}
			if same := string(got) == v.Canonical && fmt.Sprintf("%x", sha256.Sum256(got)) == v.SHA256; same != v.Valid {
				t.Errorf("canonical form\n%s\nwant\n%s (same: %v)", got, v.Canonical, v.Valid)
			}
			// The text of the last vector is the result of a naive reader. Read
			// correctly, it has a valid signature.
			if _, err := b.VerifySignature(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSignedBundle(t *testing.T) {
	b := parseSample(t, "signed.yaml")
	v, err := b.VerifySignature()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(v.SilentOn, "action images and worker") || slices.Contains(v.VouchesFor, "action images and worker") {
		t.Errorf("the parts not covered are wrong: %+v", v)
	}
	for name, change := range map[string]func(*Bundle){
		"number":  func(b *Bundle) { b.doc.Spec.Number++ },
		"version": func(b *Bundle) { b.doc.Spec.VersionsBundles[0].KubeVersion = "1.32" },
		"label":   func(b *Bundle) { b.doc.Metadata.Labels = map[string]string{"a": "b"} },
	} {
		changed := parseSample(t, "signed.yaml")
		change(changed)
		if _, err := changed.VerifySignature(); err == nil {
			t.Errorf("a changed %s was not noticed", name)
		}
	}
	// Parts that the signature does not cover may change.
	b.doc.Spec.VersionsBundles[0].Tinkerbell = &tinkerbell{}
	b.doc.Metadata.Annotations["other"] = "x"
	if _, err := b.VerifySignature(); err != nil {
		t.Error(err)
	}
}

func TestSignatureErrors(t *testing.T) {
	b := maker{}.parse(t)
	if _, err := b.VerifySignature(); !errors.Is(err, ErrUnsigned) {
		t.Errorf("%v, want ErrUnsigned", err)
	}
	for name, text := range map[string]string{"not base64": "%%%", "not DER": "AAAA", "another's": signedBy(t, b)} {
		b.doc.Metadata.Annotations = map[string]string{signatureAnnotation: text}
		_, err := b.VerifySignature()
		if err == nil || errors.Is(err, ErrUnsigned) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCanonicalEscapes checks that <, > and & are escaped, as in the signed bytes.
func TestCanonicalEscapes(t *testing.T) {
	b := maker{}.parse(t)
	b.doc.Metadata.Name = "<a&b>"
	got, err := b.canonical()
	if err != nil || !strings.Contains(string(got), `"name":"\u003ca\u0026b\u003e"`) {
		t.Errorf("%s, %v", got, err)
	}
}

// signedBy returns a signature with a key that is not AWS's, after checking that
// verify accepts it with that key.
func signedBy(t *testing.T, b *Bundle) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text, err := b.canonical()
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(text)
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	encoded := base64.StdEncoding.EncodeToString(signature)
	b.doc.Metadata.Annotations = map[string]string{signatureAnnotation: encoded}
	if err := b.verify(&key.PublicKey); err != nil {
		t.Fatal(err)
	}
	return encoded
}
