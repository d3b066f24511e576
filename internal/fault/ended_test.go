package fault

import (
	"context"
	"errors"
	"testing"
)

func TestEnded(t *testing.T) {
	if err := Ended(t.Context()); err != nil {
		t.Errorf("a context that is not done ended by %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("a sibling failed"))
	if err := Ended(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want a cancellation", err)
	}
	late := errors.New("it has not answered")
	limited, stop := context.WithTimeoutCause(t.Context(), 0, late)
	defer stop()
	if err := Ended(limited); !errors.Is(err, late) {
		t.Errorf("got %v, want the time limit's cause", err)
	}
}
