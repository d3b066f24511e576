package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestWithOwner(t *testing.T) {
	dir, me := t.TempDir(), os.Geteuid()
	denied := fmt.Errorf("mkdir x: %w", fs.ErrPermission)
	want := fmt.Sprintf("%v: %q belongs to %s; if earlier runs with sudo made it: sudo chown -R %d %s", denied, dir, userName(uint32(me)), me+1, dir)
	for _, path := range []string{dir, filepath.Join(dir, "none/below")} {
		if got := withOwner(path, me+1, denied); got.Error() != want || !errors.Is(got, fs.ErrPermission) {
			t.Errorf("got  %v\nwant %s", got, want)
		}
	}
	if got := withOwner(dir, me, denied); got != denied { //nolint:errorlint // the same value
		t.Errorf("of one's own directory: %v", got)
	}
	if got := withOwner(dir, me+1, fs.ErrNotExist); got != fs.ErrNotExist { //nolint:errorlint // the same value
		t.Errorf("of another error: %v", got)
	}
	if got := userName(4000000000); got != "user 4000000000" {
		t.Error(got)
	}
}
