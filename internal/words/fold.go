package words

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// Width returns the number of columns that s takes on a terminal.
func Width(s string) int { return ansi.StringWidth(s) }

// Fold breaks text into lines of at most width columns, at blanks where it can. A
// word that is wider than a line is broken, a path behind a slash. Lines after the first begin with indent.
// Without a width (0), it breaks only at line feeds.
func Fold(text string, width int, indent string) []string {
	var all []string
	for paragraph := range strings.SplitSeq(text, "\n") {
		first := ""
		if len(all) > 0 {
			first, paragraph = indent, strings.TrimLeft(paragraph, " ")
		}
		all = append(all, fold(paragraph, width, first, indent)...)
	}
	return all
}

// least is the smallest number of columns that text is fitted to.
const least = 8

// fold returns the lines of a paragraph. First and rest begin its lines.
func fold(text string, width int, first, rest string) []string {
	line, begun := first, false
	if width <= 0 {
		return []string{strings.TrimRight(line+text, " ")}
	}
	var lines []string
	end := func() { lines, line, begun = append(lines, strings.TrimRight(line, " ")), rest, false }
	for _, word := range pieces(text) {
		if begun && Width(line)+Width(strings.TrimRight(word, " ")) > width {
			end()
		}
		for room := max(least, width-Width(line)); Width(strings.TrimRight(word, " ")) > room; room = max(least, width-Width(line)) {
			head := ansi.Truncate(word, room, "")
			if i := strings.LastIndexByte(head, '/') + 1; i > len(head)/2 {
				head = head[:i]
			}
			line += head
			word = word[len(head):]
			end()
		}
		line, begun = line+word, true
	}
	end()
	return lines
}

// pieces splits text after its blanks.
func pieces(text string) []string {
	var all []string
	begin := 0
	for i := 1; i < len(text); i++ {
		if text[i-1] == ' ' && text[i] != ' ' && strings.TrimLeft(text[begin:i], " ") != "" {
			all, begin = append(all, text[begin:i]), i
		}
	}
	return append(all, text[begin:])
}
