package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of the times in /proc/PID/stat: USER_HZ is 100 on every
// architecture that Go runs on.
const tick = time.Second / 100

// process holds values of /proc/PID/stat; cpu includes the children that ended.
type process struct {
	pid, parent int
	cpu         time.Duration
}

// parseStat parses the line that proc(5) describes under /proc/PID/stat. The
// second field is the program's name in parentheses and may contain anything.
func parseStat(stat []byte) (p process, err error) {
	end := bytes.LastIndexByte(stat, ')')
	start := bytes.IndexByte(stat, ' ')
	if end < 0 || start < 0 {
		return p, fmt.Errorf("reading a process's figures: %q is not of the form of /proc/PID/stat", stat)
	}
	const state, utime, cstime = 3, 14, 17 // fields as numbered by proc(5)
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) <= cstime-state {
		return p, fmt.Errorf("reading a process's figures: %q is too short", stat)
	}
	number := func(s string) (n int) {
		n, e := strconv.Atoi(s)
		err = errors.Join(err, e)
		return n
	}
	p.pid, p.parent = number(string(stat[:start])), number(fields[1])
	for field := utime; field <= cstime; field++ {
		p.cpu += time.Duration(number(fields[field-state])) * tick
	}
	return p, err
}

// family returns a process and all its descendants.
func family(pid int) ([]process, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	members := map[int]bool{pid: true}
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if members[p.parent] && !members[p.pid] {
				members[p.pid], grown = true, true
			}
		}
	}
	var list []process
	for _, p := range all {
		if members[p.pid] {
			list = append(list, p)
		}
	}
	return list, nil
}

func processes() ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing the processes: %w", err)
	}
	var all []process
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if gone(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("listing the processes: %w", err)
		}
		p, err := parseStat(stat)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// gone reports whether a process ended while its figures were being read.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

// memoryOf returns a line of /proc/PID/status in bytes: "VmHWM", the peak of
// resident memory, or "VmRSS", its present size. It is 0 for a process that
// ended.
func memoryOf(pid int, line string) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if gone(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading a process's memory: %w", err)
	}
	return parseStatus(string(status), line)
}

func parseStatus(status, line string) (int64, error) {
	for l := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(l, line+":"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, nil // a process that is ending has none
}
