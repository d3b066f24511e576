package web

import (
	"strings"

	"hookbuild/internal/fault"
)

// pinPrefix begins the fragment that pins a URL's content.
const pinPrefix = "sha256="

// Split parts a URL that a user gave into the address to ask and the checksum
// that the content must have: "https://site/x.deb#sha256=HEX". The checksum is
// empty without one; a path is returned as it is. A fragment is never
// sent to a server, so any other one is refused as a mistyped checksum.
func Split(source string) (address, sha256 string, err error) {
	address, fragment, found := strings.Cut(source, "#")
	if !IsURL(source) || !found {
		return source, "", nil
	}
	sum, pinned := strings.CutPrefix(fragment, pinPrefix)
	sum = strings.ToLower(sum)
	if !pinned || len(sum) != 64 || strings.Trim(sum, "0123456789abcdef") != "" {
		return "", "", fault.Usagef("reading the address %q: after # there must be sha256= and 64 hexadecimal digits", Show(source))
	}
	return address, sum, nil
}

// IsPlain reports whether a URL is fetched without TLS.
func IsPlain(source string) bool {
	return IsURL(source) && strings.EqualFold(source[:5], "http:")
}
