// Package nearest finds the word that a mistyped one may have been meant to be.
package nearest

import "slices"

// Word gives the candidate that takes the fewest changes of one letter to
// come from word; "" when all take more than a third of its letters.
func Word(word string, candidates []string) string {
	best, fewest := "", len(word)/3+1
	for _, c := range candidates {
		if n := changes(word, c); n < fewest {
			best, fewest = c, n
		}
	}
	return best
}

// changes is the Levenshtein distance.
func changes(a, b string) int {
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
		}
	}
	return row[len(b)]
}
