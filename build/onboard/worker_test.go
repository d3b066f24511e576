package onboard

import (
	"testing"

	"hookbuild/build/worker"
)

func TestOriginSaysNothingTwice(t *testing.T) {
	for because, want := range map[string]string{
		"it is the worker of bundle 110":  "the worker is from bundle 110; it is tink-worker",
		"its program is /usr/bin/tink-it": "the worker is from bundle 110; it is tink-worker: its program is /usr/bin/tink-it",
	} {
		if got := origin("bundle 110", worker.Finding{Kind: worker.TinkWorker, Because: because}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
