// Package signature verifies detached signatures of small files with a public key
// that the user has: those of cosign and of everything that signs like openssl
// (ECDSA, Ed25519, RSA), and OpenPGP's.
//
// Deliberately left out: certificates of Sigstore's authority and its log, which
// need that project's roots of trust. cosign and gh verify those.
package signature

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"

	"hookbuild/internal/bounded"
	"hookbuild/internal/fault"
)

// Key is a public key, or a ring of OpenPGP keys.
type Key struct {
	public crypto.PublicKey
	ring   openpgp.EntityList
}

// ReadKey reads a public key in PEM form, or OpenPGP keys, with or without armor.
func ReadKey(name string) (Key, error) {
	text, err := bounded.ReadFile(name, bounded.Small)
	var k Key
	if err == nil {
		k, err = parseKey(text)
	}
	if err != nil {
		return k, fault.Invalidf("reading the key %q: %w", name, err)
	}
	return k, nil
}

func parseKey(text []byte) (k Key, err error) {
	const wanted = "give a public key in PEM form (-----BEGIN PUBLIC KEY-----), or what `gpg --export` writes"
	if bytes.Contains(text, []byte("PRIVATE KEY")) {
		return k, errors.New("it is a private key; " + wanted)
	}
	if block, _ := pem.Decode(text); block != nil && block.Type == "PUBLIC KEY" {
		k.public, err = x509.ParsePKIXPublicKey(block.Bytes)
		return k, err
	}
	read := openpgp.ReadKeyRing
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----")) {
		read = openpgp.ReadArmoredKeyRing
	}
	if k.ring, err = read(bytes.NewReader(text)); err != nil || len(k.ring) == 0 {
		return k, errors.New("it has no key; " + wanted)
	}
	for _, e := range k.ring {
		if e.PrivateKey != nil {
			return k, errors.New("it is a private key; " + wanted)
		}
	}
	return k, nil
}

// IsPGP reports whether the key verifies OpenPGP's signatures, and no others.
func (k Key) IsPGP() bool { return k.public == nil }

// Verify returns an error unless signature is one of text by the key. A key in PEM
// form verifies a sigstore bundle, of the text itself or of an in-toto statement that
// has the text's digest among its subjects; cosign's older bundle; or a bare
// signature, which may be in base64.
func (k Key) Verify(text, signature []byte) error {
	if k.IsPGP() {
		return k.verifyPGP(text, signature)
	}
	if bytes.HasPrefix(bytes.TrimSpace(signature), []byte("{")) {
		return k.verifyBundle(text, signature)
	}
	if decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(signature))); err == nil {
		signature = decoded
	}
	return k.verifyBare(text, signature)
}

func (k Key) verifyPGP(text, signature []byte) error {
	check := openpgp.CheckDetachedSignature
	if bytes.HasPrefix(bytes.TrimSpace(signature), []byte("-----BEGIN")) {
		check = openpgp.CheckArmoredDetachedSignature
	}
	if _, err := check(k.ring, bytes.NewReader(text), bytes.NewReader(signature), nil); err != nil {
		return fault.Invalidf("the OpenPGP signature is not one by this key: %w", err)
	}
	return nil
}

// bundle is what of a sigstore bundle (dev.sigstore.bundle.v1) a key can verify, and
// what cosign wrote before there were such bundles.
type bundle struct {
	Message *struct {
		Signature []byte `json:"signature"`
	} `json:"messageSignature"`
	Envelope *struct {
		Type       string `json:"payloadType"`
		Payload    []byte `json:"payload"`
		Signatures []struct {
			Sig []byte `json:"sig"`
		} `json:"signatures"`
	} `json:"dsseEnvelope"`
	Older []byte `json:"base64Signature"`
}

func (k Key) verifyBundle(text, signature []byte) error {
	var b bundle
	if err := json.Unmarshal(signature, &b); err != nil {
		return fault.Invalidf("the signature is not a sigstore bundle: %w", err)
	}
	switch {
	case b.Message != nil:
		return k.verifyBare(text, b.Message.Signature)
	case b.Envelope != nil:
		e := b.Envelope
		signed := fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(e.Type), e.Type, len(e.Payload), e.Payload)
		err := fault.Invalidf("the envelope has no signature")
		for _, one := range e.Signatures {
			if err = k.verifyBare(signed, one.Sig); err == nil {
				return isSubject(text, e.Type, e.Payload)
			}
		}
		return err
	case b.Older != nil:
		return k.verifyBare(text, b.Older)
	}
	return fault.Invalidf("the signature is JSON, and not a sigstore bundle with a signature")
}

// isSubject returns an error unless an in-toto statement is about the text.
func isSubject(text []byte, kind string, payload []byte) error {
	var statement struct {
		Subject []struct {
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
	}
	if kind != "application/vnd.in-toto+json" {
		return fault.Invalidf("what is signed is of type %q, not an in-toto statement", kind)
	}
	if err := json.Unmarshal(payload, &statement); err != nil {
		return fault.Invalidf("reading the in-toto statement: %w", err)
	}
	short, long := sha256.Sum256(text), sha512.Sum512(text)
	for _, s := range statement.Subject {
		if s.Digest["sha256"] == hex.EncodeToString(short[:]) || s.Digest["sha512"] == hex.EncodeToString(long[:]) {
			return nil
		}
	}
	return fault.Invalidf("what is signed is an in-toto statement about other files")
}

// verifyBare verifies a signature as sigstore makes them: over SHA-256 of the message,
// for larger curves over SHA-384 or SHA-512, for Ed25519 over the message or its
// SHA-512.
func (k Key) verifyBare(message, signature []byte) error {
	hash := crypto.SHA256
	var valid bool
	switch public := k.public.(type) {
	case *ecdsa.PublicKey:
		switch public.Curve.Params().BitSize {
		case 384:
			hash = crypto.SHA384
		case 521:
			hash = crypto.SHA512
		}
		valid = ecdsa.VerifyASN1(public, sum(hash, message), signature)
	case ed25519.PublicKey:
		prehashed := &ed25519.Options{Hash: crypto.SHA512}
		valid = ed25519.Verify(public, message, signature) || ed25519.VerifyWithOptions(public, sum(crypto.SHA512, message), signature, prehashed) == nil
	case *rsa.PublicKey:
		valid = rsa.VerifyPKCS1v15(public, hash, sum(hash, message), signature) == nil
	default:
		return fault.Invalidf("the key is of a kind that makes no signatures (%T); use ECDSA, Ed25519 or RSA", k.public)
	}
	if !valid {
		return fault.Invalidf("the signature is not one by this key over this file")
	}
	return nil
}

func sum(hash crypto.Hash, message []byte) []byte {
	h := hash.New()
	_, _ = h.Write(message) // never fails
	return h.Sum(nil)
}
