package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
)

// The kernel measures a process's peak memory from its fork, so a program
// started by a large process seems to be as large. Programs are therefore
// started by a second run of this program, which is small: a launcher. It
// reports on the program through a pipe.

// launchVariable makes this program a launcher; its value is the number of the
// file to which reports go.
const launchVariable = "HOOKBUILD_BENCH_LAUNCH"

// report is what a launcher reports: first the process it started, then, after
// its end, the resident memory of the largest process, in bytes.
type report struct {
	PID  int   `json:"pid,omitempty"`
	Peak int64 `json:"peak,omitempty"`
}

// launcher returns the command that runs args by a launcher, and the file from
// which to read the launcher's reports. started must be called after the
// command was started.
func launcher(cmd *exec.Cmd, args []string) (reports *os.File, started func() error, err error) {
	own, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("finding this program: %w", err)
	}
	reports, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	const first = 3 // behind the standard files
	cmd.Path, cmd.Args = own, append([]string{own}, args...)
	cmd.Env = append(cmd.Env, launchVariable+"="+strconv.Itoa(first+len(cmd.ExtraFiles)))
	cmd.ExtraFiles = append(cmd.ExtraFiles, w)
	return reports, w.Close, nil
}

// launched reports whether this process is a launcher. If it is, it has run the
// program, and code is the exit code.
func launched() (code int, yes bool) {
	number, err := strconv.Atoi(os.Getenv(launchVariable))
	if err != nil {
		return 0, false
	}
	syscall.CloseOnExec(number)
	if err := launch(os.NewFile(uintptr(number), "reports"), os.Args[1:]); err != nil {
		var ended *exec.ExitError
		if errors.As(err, &ended) && ended.ExitCode() > 0 {
			return ended.ExitCode(), true
		}
		fmt.Fprintln(os.Stderr, err)
		return 127, true
	}
	return 0, true
}

// launch runs a program with this process's standard files. It leaves signals
// to the program, which gets them too, being in the same process group.
func launch(reports io.Writer, args []string) error {
	if err := os.Unsetenv(launchVariable); err != nil {
		return err
	}
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGTERM)
	cmd := exec.Command(args[0], args[1:]...) //nolint:gosec,noctx // the benchmark names what it measures, and ends it itself
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	out := json.NewEncoder(reports)
	if err := out.Encode(report{PID: cmd.Process.Pid}); err != nil {
		return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	err := cmd.Wait()
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return errors.Join(err, errors.New("the system does not tell a process's memory"))
	}
	return errors.Join(out.Encode(report{Peak: usage.Maxrss << 10}), err) // Linux counts in KiB
}
