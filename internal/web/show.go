package web

import (
	"net/url"
	"regexp"
	"strings"
)

// IsURL reports whether source is an http or https URL and not a path.
func IsURL(source string) bool {
	scheme, rest, found := strings.Cut(source, "://")
	return found && rest != "" && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https"))
}

// Show returns what may be shown of a URL: without user, password, query (where
// signed links have their secret) and fragment. Anything else, such as a path,
// is returned unchanged. Every URL in a message, log or manifest passes through
// Show.
func Show(source string) string {
	if !IsURL(source) {
		return source
	}
	u, err := url.Parse(source)
	if err != nil || u.Host == "" {
		return showBroken(source)
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// showBroken returns what may be shown of a URL that does not parse. It may
// show less than is safe.
func showBroken(source string) string {
	scheme, rest, _ := strings.Cut(source, "://")
	rest = rest[strings.LastIndex(rest, "@")+1:]
	if end := strings.IndexAny(rest, "?#"); end >= 0 {
		rest = rest[:end]
	}
	return strings.ToLower(scheme) + "://" + strings.ToValidUTF8(rest, "\uFFFD")
}

// ShowAll applies [Show] to every URL in a text, such as a library's message, and
// leaves out logins before other addresses. It leaves URLs without user, query and
// fragment as they are.
func ShowAll(text string) string { return withoutLogins(showURLs(text)) }

// withoutLogins leaves out the logins in addresses without a scheme, such as
// me:secret@registry.example/image. A tag before a digest is not a login.
func withoutLogins(text string) string {
	if !strings.Contains(text, "@") {
		return text
	}
	login := regexp.MustCompile(`[^\s"'` + "`" + `<>/@:=]+:[^\s"'` + "`" + `<>/@]+@([^\s"'` + "`" + `<>/@:]+)`)
	return login.ReplaceAllStringFunc(text, func(found string) string {
		host := found[strings.Index(found, "@")+1:]
		if strings.HasPrefix(host, "sha256") || strings.HasPrefix(host, "sha512") {
			return found
		}
		return host
	})
}

func showURLs(text string) string {
	if !strings.Contains(text, "://") || !strings.ContainsAny(text, "@?#") {
		return text
	}
	pattern := regexp.MustCompile(`(?i)\bhttps?://[^\s"'` + "`" + `<>]+`)
	return pattern.ReplaceAllStringFunc(text, func(found string) string {
		bare := strings.TrimRight(found, ".,;:)?")
		if !strings.ContainsAny(bare, "@?#") {
			return found
		}
		return Show(bare) + found[len(bare):]
	})
}

// shownError is an error whose text contains no secrets.
type shownError struct{ error }

// Error implements error.
func (e *shownError) Error() string { return ShowAll(e.error.Error()) }

// Unwrap returns the original error, which may contain secrets.
func (e *shownError) Unwrap() error { return e.error }

// Shown returns err in a form that may be shown. It omits the address that the
// HTTP library puts before its reasons, which is that of the last redirect.
func Shown(err error) error {
	if err == nil {
		return nil
	}
	if request, ok := err.(*url.Error); ok { //nolint:errorlint // only the outermost layer is the library's
		err = request.Err
	}
	return &shownError{err}
}
