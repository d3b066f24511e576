package remaster

import "testing"

// TestTagOfCommit chooses among the forms of tags that upstream used.
func TestTagOfCommit(t *testing.T) {
	const commit = "58b84f7d2c1a49e6b7d0c3f5a8e1b2d4c6f70819"
	for name, test := range map[string]struct {
		tags []string
		want string
	}{
		"the abbreviated commit":    {[]string{"latest", "58b84f7", "v0.19.3"}, "58b84f7"},
		"a version that ends in it": {[]string{"v0.0.0-58b84f7d", "v0.19.3"}, "v0.0.0-58b84f7d"},
		"Go's pseudo-version":       {[]string{"58b84f7", "v0.19.4-0.20250801101010-58b84f7d2c1a"}, "v0.19.4-0.20250801101010-58b84f7d2c1a"},
		"git describe":              {[]string{"v0.19.3-14-g58b84f7d"}, "v0.19.3-14-g58b84f7d"},
		"other commits":             {[]string{"58b84f8", "v0.19.3-cc10c6f2", "sha256-58b84f7d2c1a49e6b7d0c3f5a8e1b2d4c6f70819.sig"}, ""},
		"too short":                 {[]string{"58b84f"}, ""},
		"none":                      {nil, ""},
	} {
		if got := tagOfCommit(test.tags, commit); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
