// Package words shapes text that is shown to people: counts and sizes, lines and tables
// that fit a terminal, and text that came from elsewhere, which may have control
// characters.
package words

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Count returns n with what, in the plural unless n is 1: "1 file", "3 files".
// It knows only plurals in s, such as those of "key" and "entry".
func Count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if stem, ok := strings.CutSuffix(what, "y"); ok && !strings.HasSuffix(stem, "e") {
		what = stem + "ie"
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// Harmless returns text that may hold a remote party's words in a form that is
// safe on a terminal and in a CI log. Line feeds and tabs stay. Every other
// control character, direction override and invalid byte becomes a visible
// escape such as \x1b. Commands to a CI service ("::" at the start of a line and
// "##[" anywhere to GitHub's runner, "##vso[" to Azure's, "##teamcity[") are
// broken by a space.
func Harmless(text string) string {
	if !suspicious(text) {
		return text
	}
	var b strings.Builder
	for i, line := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(breakCommands(escape(line)))
	}
	return b.String()
}

// Line returns text as [Harmless] does, on one line: line feeds and tabs are
// escaped too.
func Line(text string) string {
	return Harmless(strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(text))
}

// suspicious reports whether text needs any change; most text does not.
func suspicious(text string) bool {
	return strings.Contains(text, "::") || strings.Contains(text, "##") || !utf8.ValidString(text) || strings.ContainsFunc(text, unsafeRune)
}

func unsafeRune(r rune) bool { return r != '\n' && r != '\t' && !shown(r) }

// shown reports whether a rune is displayed as itself and moves nothing else.
// The space characters of Unicode are.
func shown(r rune) bool { return unicode.IsPrint(r) || unicode.Is(unicode.Zs, r) }

func escape(line string) string {
	var b strings.Builder
	for i := 0; i < len(line); {
		r, size := utf8.DecodeRuneInString(line[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b.WriteString(`\x` + hexByte(line[i]))
		case unsafeRune(r):
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		default:
			b.WriteString(line[i : i+size])
		}
		i += size
	}
	return b.String()
}

func hexByte(b byte) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[b>>4], digits[b&15]})
}

// breakCommands keeps a line from being a command to a CI service. GitHub's
// runner skips blanks before "::" and looks for "##[" anywhere.
func breakCommands(line string) string {
	for _, start := range []string{"[", "vso[", "teamcity["} {
		line = strings.ReplaceAll(line, "##"+start, "## "+start)
	}
	rest := strings.TrimLeftFunc(line, unicode.IsSpace)
	if strings.HasPrefix(rest, "::") {
		return line[:len(line)-len(rest)] + ": " + rest[1:]
	}
	return line
}
