package fault

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
)

func TestKindOf(t *testing.T) {
	cause := errors.New("cause")
	for _, test := range []struct {
		err  error
		want Kind
	}{
		{cause, Failed},
		{Mark(cause, Outside), Outside},
		{fmt.Errorf("doing: %w", Mark(cause, Invalid)), Invalid},
		{Mark(fmt.Errorf("doing: %w", Mark(cause, Outside)), Invalid), Outside},
		{errors.Join(Mark(cause, Usage), cause), Usage},
		{Mark(fmt.Errorf("writing: %w", syscall.ENOSPC), Invalid), Failed},
	} {
		if got := KindOf(test.err); got != test.want {
			t.Errorf("%v: got %d, want %d", test.err, got, test.want)
		}
	}
	if Mark(nil, Invalid) != nil {
		t.Error("no error was marked")
	}
}
