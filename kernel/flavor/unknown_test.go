package flavor

import (
	"strings"
	"testing"
)

// TestHalfANameIsSuggestedWhole checks that a flavor without its architecture is known.
func TestHalfANameIsSuggestedWhole(t *testing.T) {
	if _, err := Upstream().Find("hook-latest-lts"); err == nil || !strings.Contains(err.Error(), "did you mean hook-latest-lts-amd64?") {
		t.Errorf("the error is %v", err)
	}
}
