package fault

import (
	"context"
	"errors"
)

// Ended returns why ctx is done, nil if it is not: [context.Canceled] whatever
// cancelled it, the cause of a time limit where it has one. The cause of a
// cancellation, such as another member's failure in a group, is reported where it
// happened.
func Ended(ctx context.Context) error {
	if err := ctx.Err(); err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return context.Cause(ctx)
}
