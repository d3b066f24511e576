package check

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A checker that is killed was interrupted, or has reached its time limit. It has not
// refused the file.
func TestCheckerThatDoesNotEnd(t *testing.T) {
	dir := t.TempDir()
	started, program := filepath.Join(dir, "started"), filepath.Join(dir, "checker")
	if err := errors.Join(
		syscall.Mkfifo(started, 0o600),
		os.WriteFile(program, []byte("#!/bin/sh\necho > "+started+"\nexec sleep 600\n"), 0o700),
	); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		if _, err := os.ReadFile(started); err != nil { // ends when the checker has started
			t.Error(err)
		}
	}()
	findings, why, err := selfCheck(ctx, time.Hour, []string{program})
	if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "signal") || len(findings) > 0 || why != "" {
		t.Errorf("interrupted: %v, %q, %v", findings, why, err)
	}
	findings, why, err = selfCheck(t.Context(), time.Second, []string{program})
	if err == nil || !strings.Contains(err.Error(), program+": it has not ended within its time limit of 1s") || len(findings) > 0 || why != "" {
		t.Errorf("without an end: %v, %q, %v", findings, why, err)
	}
}
