package dhcpd

import "strings"

// token is a word, string or sign of dhcpd.conf.
type token struct {
	text   string
	quoted bool
	file   string
	line   int
}

// lex splits a configuration into tokens, without comments.
func lex(file, text string) []token {
	var list []token
	line := 1
	for i := 0; i < len(text); {
		c := text[i]
		n := 1
		switch {
		case c == '\n':
			line++
		case c == ' ' || c == '\t' || c == '\r':
		case c == '#':
			if n = strings.IndexByte(text[i:], '\n'); n < 0 {
				n = len(text) - i
			}
		case c == '"':
			n = stringEnd(text[i:])
			list = append(list, token{unquote(text[i : i+n]), true, file, line})
			line += strings.Count(text[i:i+n], "\n")
		case strings.HasPrefix(text[i:], "~~"):
			n = 2
			list = append(list, token{"~~", false, file, line})
		case strings.IndexByte("{};,()=~!", c) >= 0:
			list = append(list, token{string(c), false, file, line})
		default:
			n = strings.IndexAny(text[i:], " \t\r\n{};,()=~!\"#")
			if n < 0 {
				n = len(text) - i
			}
			list = append(list, token{text[i : i+n], false, file, line})
		}
		i += n
	}
	return list
}

// stringEnd returns the length of the string at the beginning of text.
func stringEnd(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

func unquote(s string) string {
	s = strings.TrimPrefix(s, `"`)
	s = strings.TrimSuffix(s, `"`)
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(s)
}
