package bundles

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/mod/semver"

	"hookbuild/internal/fault"
)

const (
	// signatureAnnotation is the annotation with the signature: base64 of ASN.1 DER
	// ECDSA.
	signatureAnnotation = group + "/signature"
	// publicKey is AWS's key for bundles of v0.22.0 and later: base64 of its DER
	// SubjectPublicKeyInfo (aws/eks-anywhere, pkg/constants).
	publicKey = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEFZU/Z6VVMU9HioT7rGkPdJg3frC2xyQZhWFIrz5HeZEfeQ2nAdnJMLrs2Qr3V9xVrJrHA54wnIHDoPGbEhojqg=="
)

// ErrUnsigned is wrapped by the error about a bundle without a signature. AWS
// signs since v0.22.0.
var ErrUnsigned = errors.New("it has no signature (AWS signs bundles since v0.22.0; those changed by hand have none)")

// IsSignedRelease reports whether AWS publishes the manifest of the bundle's release
// with a signature, so that one without was changed or is not AWS's.
func (b *Bundle) IsSignedRelease() bool {
	return semver.IsValid(b.Release()) && semver.Compare(b.Release(), "v0.22.0") >= 0
}

// Verification describes what a valid signature covers.
type Verification struct {
	// VouchesFor and SilentOn describe parts of the manifest for users: those that
	// the signature covers, and those that anybody can have changed.
	VouchesFor, SilentOn []string
}

// VerifySignature verifies AWS's signature as EKS Anywhere does. It returns an error
// if it is absent (see [ErrUnsigned]) or wrong. The signature covers no image
// or file that goes into a HookOS, see [Verification].
func (b *Bundle) VerifySignature() (Verification, error) {
	key, err := parseKey(publicKey)
	if err == nil {
		err = b.verify(key)
	}
	if err != nil {
		return Verification{}, fault.Invalidf("verifying the signature of %s: %w", b, err)
	}
	return Verification{
		VouchesFor: []string{"bundle number", "EKS Anywhere CLI versions", "Kubernetes versions", "end of standard support", "EKS Distro node images and tools"},
		SilentOn:   []string{"action images and worker", "HookOS files", "every other controller image", "EKS Distro manifest URL", "annotations"},
	}, nil
}

// Verdict is what is known of a bundle's signature.
type Verdict string

// The verdicts.
const (
	SignatureValid  Verdict = "valid"
	SignatureAbsent Verdict = "absent"
	SignatureWrong  Verdict = "wrong"
)

// Signature returns the verdict on the bundle's signature, see
// [Bundle.VerifySignature].
func (b *Bundle) Signature() Verdict {
	_, err := b.VerifySignature()
	switch {
	case err == nil:
		return SignatureValid
	case errors.Is(err, ErrUnsigned):
		return SignatureAbsent
	}
	return SignatureWrong
}

func (b *Bundle) verify(key *ecdsa.PublicKey) error {
	text := b.doc.Metadata.Annotations[signatureAnnotation]
	if text == "" {
		return ErrUnsigned
	}
	signature, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return fmt.Errorf("decoding annotation %q: %w", signatureAnnotation, err)
	}
	signed, err := b.canonical()
	if err != nil {
		return err
	}
	digest := sha256.Sum256(signed)
	if !ecdsa.VerifyASN1(key, digest[:], signature) {
		return errors.New("it is not AWS's signature of this text: the manifest was changed; download it again from its bundleManifestUrl")
	}
	return nil
}

// canonical returns the bytes that are signed: the object's JSON with sorted keys and
// no spaces, without the fields that are excluded from the signature. The list of
// these is fixed, because the manifest's own list could be changed by anybody.
func (b *Bundle) canonical() ([]byte, error) {
	typed, err := json.Marshal(b.doc)
	if err != nil {
		return nil, fmt.Errorf("encoding the signed text: %w", err)
	}
	var generic any
	if err := json.Unmarshal(typed, &generic); err != nil {
		return nil, fmt.Errorf("sorting the signed text: %w", err)
	}
	sorted, err := json.Marshal(generic)
	if err != nil {
		return nil, fmt.Errorf("encoding the signed text: %w", err)
	}
	return sorted, nil
}

func parseKey(text string) (*ecdsa.PublicKey, error) {
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("decoding the public key: %w", err)
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("reading the public key: %w", err)
	}
	ec, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the public key is a %T, not an ECDSA key", key)
	}
	return ec, nil
}
