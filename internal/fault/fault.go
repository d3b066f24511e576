// Package fault marks errors with who can mend them, so that one place can
// choose the exit code.
package fault

import (
	"errors"
	"fmt"
	"syscall"
)

// Kind is the sort of a fault.
type Kind int

// The kinds, with the exit code of each.
const (
	Failed  Kind = 1 // the work failed
	Usage   Kind = 2 // the command line is wrong
	Invalid Kind = 3 // an input (file, manifest, template) is invalid
	Outside Kind = 4 // a registry, Docker or a web server failed
)

type marked struct {
	error
	kind Kind
}

func (m *marked) Unwrap() error { return m.error }

// Mark gives err the kind, or nil for nil. The innermost mark counts: it was
// set where the cause was known.
func Mark(err error, k Kind) error {
	if err == nil {
		return nil
	}
	return &marked{err, k}
}

// KindOf is the kind of the innermost mark in err's chain, [Failed] when it
// has none. A full disk is no one's input, whatever was being read.
func KindOf(err error) Kind {
	kind := Failed
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return kind
	}
	for {
		var m *marked
		if !errors.As(err, &m) {
			return kind
		}
		kind, err = m.kind, m.error
	}
}

// Failedf formats an error as [fmt.Errorf] does and marks it [Failed], which an outer mark does not change.
func Failedf(format string, args ...any) error { return Mark(fmt.Errorf(format, args...), Failed) }

// Usagef formats an error as [fmt.Errorf] does and marks it [Usage].
func Usagef(format string, args ...any) error { return Mark(fmt.Errorf(format, args...), Usage) }

// Invalidf formats an error as [fmt.Errorf] does and marks it [Invalid].
func Invalidf(format string, args ...any) error { return Mark(fmt.Errorf(format, args...), Invalid) }

// Outsidef formats an error as [fmt.Errorf] does and marks it [Outside].
func Outsidef(format string, args ...any) error { return Mark(fmt.Errorf(format, args...), Outside) }
