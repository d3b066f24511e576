package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/mikelolasagasti/xz"

	"hookbuild/internal/fault"
)

const (
	keyBlock = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	// mostDict is the window of xz -9, which kernel.org uses.
	mostDict = 64 << 20
	// mostPlain limits the size of an unpacked archive; that of Linux 6.12 is
	// 1.5 GB.
	mostPlain = 16 << 30
)

// errVerify is wrapped by the errors about sources that are not what their
// maintainers signed.
var errVerify = errors.New("it is not what its maintainers signed; the download was discarded")

// readKeyring reads all armoured blocks of a file: gpg writes one, keyservers
// and editors write several.
func readKeyring(armoured []byte) (openpgp.EntityList, error) {
	var keys openpgp.EntityList
	blocks := strings.Split(string(armoured), keyBlock)
	for _, block := range blocks[1:] {
		decoded, err := armor.Decode(strings.NewReader(keyBlock + block))
		if err != nil {
			return nil, badKeys(err)
		}
		entities, err := openpgp.ReadKeyRing(decoded.Body)
		if err != nil {
			return nil, badKeys(err)
		}
		keys = append(keys, entities...)
	}
	if len(keys) == 0 {
		return nil, badKeys(errors.New("it holds no public key"))
	}
	return keys, nil
}

func badKeys(err error) error {
	return fault.Invalidf("reading the keyring for the kernel's signatures (kernel/keys.asc): %w", err)
}

func (o Options) pgpConfig() *packet.Config { return &packet.Config{Time: o.now} }

// wholeList rejects a truncated list of checksums, or a response that is not a
// list, before its signature is checked.
func wholeList(text []byte) error {
	if block, _ := clearsign.Decode(text); block == nil {
		return fmt.Errorf("sha256sums.asc is not clear-signed: %w", errVerify)
	}
	return nil
}

// signedSum checks the clear signature of sha256sums.asc and returns the
// archive's sha256 in it.
func signedSum(text []byte, archive string, keys openpgp.EntityList, o Options) (string, error) {
	block, _ := clearsign.Decode(text)
	if block == nil {
		return "", fmt.Errorf("sha256sums.asc is not clear-signed: %w", errVerify)
	}
	if _, err := block.VerifySignature(keys, o.pgpConfig()); err != nil {
		return "", signatureError("sha256sums.asc", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(block.Bytes))
	for lines.Scan() {
		sum, name, found := strings.Cut(lines.Text(), "  ")
		if found && name == archive && len(sum) == 64 {
			return sum, nil
		}
	}
	return "", fmt.Errorf("sha256sums.asc does not list %s: %w", archive, errors.Join(errVerify, lines.Err()))
}

func signatureError(what string, err error) error {
	switch {
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return fmt.Errorf("the signature of %s is by a key that is not in the keyring (update kernel/keys.asc): %w", what, errVerify)
	case errors.Is(err, pgperrors.ErrKeyExpired):
		return fmt.Errorf("the signature of %s is by a key that has expired (update kernel/keys.asc): %w", what, errVerify)
	}
	return fmt.Errorf("the signature of %s is bad (%w): %w", what, err, errVerify)
}

// checkSignature verifies the signature of the uncompressed archive. That takes
// a minute on one core for a kernel.
func checkSignature(archive string, signature []byte, keys openpgp.EntityList, o Options) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	plain, err := xz.NewReader(bufio.NewReaderSize(f, 1<<20), mostDict)
	if err != nil {
		return fmt.Errorf("unpacking it: %w: %w", err, errVerify)
	}
	bounded := io.LimitReader(plain, mostPlain)
	check := openpgp.CheckDetachedSignature
	if bytes.HasPrefix(signature, []byte("-----BEGIN")) {
		check = openpgp.CheckArmoredDetachedSignature
	}
	if _, err := check(keys, bounded, bytes.NewReader(signature), o.pgpConfig()); err != nil {
		return signatureError("the archive", err)
	}
	return nil
}
