package web

import (
	"strings"

	"hookbuild/internal/fault"
)

// pinPrefix begins a URL fragment that pins the content.
const pinPrefix = "sha256="

// Split splits a URL given by a user into the address and the required checksum
// of the content: "https://site/x.deb#sha256=HEX". The checksum is empty if
// the URL has none; a path is returned unchanged. A fragment is never sent to a
// server, so Split rejects any other fragment as a mistyped checksum.
func Split(source string) (address, sha256 string, err error) {
	address, fragment, found := strings.Cut(source, "#")
	if !IsURL(source) || !found {
		return source, "", nil
	}
	sum, pinned := strings.CutPrefix(fragment, pinPrefix)
	sum = strings.ToLower(sum)
	if !pinned || len(sum) != 64 || strings.Trim(sum, "0123456789abcdef") != "" {
		return "", "", fault.Usagef("reading the address %q: # must be followed by sha256= and 64 hexadecimal digits", Show(source))
	}
	return address, sum, nil
}

// IsPlain reports whether a URL is fetched without TLS.
func IsPlain(source string) bool {
	return IsURL(source) && strings.EqualFold(source[:5], "http:")
}
