package main

import (
	"bytes"
	"strings"
	"sync"
	"time"
)

// watch follows the resident memory of a process and its messages. It samples:
// the exact peak is the kernel's, this shows when it occurred.
type watch struct {
	mu    sync.Mutex
	last  string // the last line that the process printed
	rest  []byte // of a line
	peak  int64
	at    time.Duration // since the start
	doing string        // the last line at the peak
	err   error
}

// Write takes what the process prints.
func (w *watch) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, p...)
	if end := bytes.LastIndexByte(w.rest, '\n'); end >= 0 {
		lines := strings.Split(string(w.rest[:end]), "\n")
		w.last, w.rest = lines[len(lines)-1], w.rest[end+1:]
	}
	return len(p), nil
}

// follow samples until ended is closed.
func (w *watch) follow(pid int, ended <-chan struct{}) {
	began := time.Now()
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for {
		select {
		case <-ended:
			return
		case <-every.C:
		}
		resident, err := memoryOf(pid, "VmRSS")
		if err != nil {
			w.err = err
			return
		}
		w.note(resident, time.Since(began))
	}
}

func (w *watch) note(resident int64, at time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if resident > w.peak {
		w.peak, w.at, w.doing = resident, at, strings.ReplaceAll(w.last, "|", `\|`)
	}
}
