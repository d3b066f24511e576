// Package nearest finds the word that a mistyped one was probably meant to be.
package nearest

import (
	"slices"
	"strings"
)

// Word returns the candidate that is the fewest changes of a letter away from
// word. When all are more changes away than a third of its letters, it is the
// shortest one that begins with word, or "".
func Word(word string, candidates []string) string {
	best, fewest := "", len(word)/3+1
	for _, c := range candidates {
		if n := changes(word, c); n < fewest {
			best, fewest = c, n
		}
	}
	if best != "" || len(word) < 2 {
		return best
	}
	for _, c := range candidates {
		if strings.HasPrefix(c, word) && (best == "" || len(c) < len(best)) {
			best = c
		}
	}
	return best
}

// changes returns the optimal string alignment distance of a and b: the number
// of letters inserted, removed, replaced or swapped with their neighbour.
func changes(a, b string) int {
	var before []int // the row above the one above
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		above := slices.Clone(row)
		row[0] = i + 1
		for j := range len(b) {
			replaced := above[j]
			if a[i] != b[j] {
				replaced++
			}
			row[j+1] = min(replaced, above[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before = above
	}
	return row[len(b)]
}
