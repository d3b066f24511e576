package progress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
)

// last keeps the last event.
type last struct{ event Event }

func (l *last) Report(e Event) { l.event = e }

func TestEnd(t *testing.T) {
	broken := errors.New("broken")
	cancelled := fmt.Errorf("pulling: %w", &net.OpError{Op: "dial", Err: context.Canceled})
	for _, test := range []struct {
		err  error
		want Kind
	}{
		{nil, Finished},
		{broken, Failed},
		{context.Canceled, Cancelled},
		{cancelled, Cancelled},
		{errors.Join(cancelled, context.Canceled), Cancelled},
		{errors.Join(cancelled, broken), Failed},
		{fmt.Errorf("%w; %w", broken, context.Canceled), Failed},
		{context.DeadlineExceeded, Failed},
	} {
		var seen last
		if got := Start(&seen, 0, "pull").End(test.err, ""); got != test.err { //nolint:errorlint // the very error
			t.Errorf("%v became %v", test.err, got)
		}
		if seen.event.Kind != test.want {
			t.Errorf("%v: got the event %d, want %d", test.err, seen.event.Kind, test.want)
		}
		if (seen.event.Err != nil) != (test.want == Failed) {
			t.Errorf("%v: the event has the error %v", test.err, seen.event.Err)
		}
	}
}
