package size

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

var sizeText = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ?([kmgt]?)(i?)b?$`)

// Parse parses a number of bytes as people write it: "200000000", "200MB", "1.5
// G". Units are powers of 1000; those with an i, such as "190MiB", are powers
// of 1024.
func Parse(text string) (int64, error) {
	m := sizeText.FindStringSubmatch(strings.ToLower(strings.TrimSpace(text)))
	if m == nil || m[2] == "" && m[3] != "" {
		return 0, fmt.Errorf("%q is not a size; write it like 180MB or 170MiB", text)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size: %w", text, err)
	}
	if n < 1000 && !strings.ContainsAny(m[0], "kmgtb") { // more likely a forgotten unit than a number of bytes
		return 0, fmt.Errorf("%q has no unit; write it like 180MB or 170MiB", text)
	}
	base := 1000.0
	if m[3] != "" {
		base = 1024
	}
	n *= math.Pow(base, float64(strings.Index("kmgt", m[2])+1)*float64(len(m[2])))
	if n < 1 || n >= math.MaxInt64 {
		return 0, fmt.Errorf("the size %q is out of range; write it like 180MB or 170MiB", text)
	}
	return int64(n), nil
}
