package verdict

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	keptLines   = 40
	longestLine = 4 << 10
)

// sight is something seen on the console, and when.
type sight struct {
	at   time.Duration
	text string
}

func (s *sight) seen() bool { return s.text != "" }

// note stores the first of several sights.
func (s *sight) note(at time.Duration, text string) {
	if !s.seen() {
		*s = sight{at, text}
	}
}

// Console reads a machine's serial console line by line. It keeps what [judge]
// needs and the last lines, so that its size stays bounded.
type Console struct {
	kernel, init, user, disk, nic, memory sight
	panicked, unpacking, exhausted        sight
	latest                                time.Duration // when it had a line
	last                                  []string
}

// patterns match lines of the kernel and of LinuxKit's init. A kernel's line
// begins with its time in brackets, because the command line has printk.time=1.
type patterns struct {
	kernel, init, ours, disk, nic, memory, panicked, unpacking, exhausted, escapes *regexp.Regexp
}

func newPatterns() patterns {
	const ours = `^\[ *\d+\.\d+\](?:\[[^]]*\])? *`
	return patterns{
		ours:   regexp.MustCompile(ours),
		kernel: regexp.MustCompile(ours + `(Linux version \S+)`),
		init:   regexp.MustCompile(ours + `(Run /\S+ as init process)`),
		memory: regexp.MustCompile(ours + `Memory: \d+K/(\d+)K available`),
		// The partition that makeDisk writes, or the size that SCSI and virtio
		// drivers print.
		disk:      regexp.MustCompile(ours + `(.*(?:\bsd[a-z]: sd[a-z]1\b|\bvd[a-z]: vd[a-z]1\b|\bnvme\d+n\d+: p1\b|\[[sv]d[a-z]\] \d+ \d+-byte logical blocks).*)`),
		nic:       regexp.MustCompile(ours + `((?:e1000e|igb|vmxnet3|virtio_net) \S+?:? (?:eth\d|en[a-z]\S*|added PHC on \S+|renamed from|\(unnamed net_device\)).*)`),
		panicked:  regexp.MustCompile(ours + `(Kernel panic - not syncing: .*)`),
		unpacking: regexp.MustCompile(ours + `(Initramfs unpacking failed: .*)`),
		exhausted: regexp.MustCompile(`((?:Initramfs unpacking failed: write error|Out of memory: Killed process|System is deadlocked on memory|.*[Nn]o space left on device).*)`),
		// Escape sequences of terminals, of which firmware writes many.
		escapes: regexp.MustCompile("\x1b(?:\\[[0-9;?=]*[A-Za-z]|[()][A-Z0-9]|[=>78cM])"),
	}
}

// reader splits a console into lines.
type reader struct {
	Console Console
	now     func() time.Duration
	rest    []byte
	p       patterns
	shell   *shell // takes part in the conversation; may be nil
}

// newReader returns a reader that timestamps its lines with now.
func newReader(now func() time.Duration) *reader { return &reader{now: now, p: newPatterns()} }

// Write implements io.Writer. It never fails.
func (r *reader) Write(b []byte) (int, error) {
	for _, c := range b {
		if c != '\n' {
			r.rest = append(r.rest, c)
		}
		if c == '\n' || len(r.rest) >= longestLine {
			r.Flush()
		}
	}
	return len(b), nil
}

// Flush treats the text since the last line end, such as a prompt, as a line.
func (r *reader) Flush() {
	line := r.p.escapes.ReplaceAllString(string(r.rest), "")
	line = strings.Map(func(c rune) rune {
		if c < ' ' && c != '\t' || c == 0x7f {
			return -1
		}
		return c
	}, strings.ToValidUTF8(line, "?"))
	r.rest = r.rest[:0]
	if line = strings.TrimRight(line, " \t"); line == "" {
		return
	}
	if r.shell != nil && !r.p.ours.MatchString(line) && r.shell.line(r.now(), line) {
		return
	}
	r.Console.line(r.p, r.now(), line)
}

func (c *Console) line(p patterns, at time.Duration, line string) {
	c.latest, c.last = at, append(c.last, line)
	if over := len(c.last) - keptLines; over > 0 {
		c.last = slices.Delete(c.last, 0, over)
	}
	for _, look := range []struct {
		pattern *regexp.Regexp
		sight   *sight
	}{
		{p.kernel, &c.kernel}, {p.init, &c.init}, {p.memory, &c.memory}, {p.disk, &c.disk}, {p.nic, &c.nic},
		{p.panicked, &c.panicked}, {p.unpacking, &c.unpacking}, {p.exhausted, &c.exhausted},
	} {
		if found := look.pattern.FindStringSubmatch(line); found != nil {
			look.sight.note(at, found[1])
		}
	}
	if c.init.seen() && !p.ours.MatchString(line) {
		c.user.note(at, line)
	}
}

// lastLines returns the last lines.
func (c *Console) lastLines() []string { return slices.Clone(c.last) }

func (c *Console) judgeKernel() Check {
	switch {
	case c.panicked.seen() && !c.init.seen():
		return failed(Kernel, c.panicked)
	case c.kernel.seen():
		return passed(Kernel, c.kernel.at, "%s", c.kernel.text)
	}
	return notSeen(Kernel, "the serial console has no line `Linux version`")
}

func (c *Console) judgeInit() Check {
	switch {
	case c.unpacking.seen():
		return failed(Init, c.unpacking)
	case c.panicked.seen() && c.init.seen():
		return failed(Init, c.panicked)
	case c.user.seen():
		return passed(Init, c.user.at, "%s; its programs write: %s", c.init.text, shortened(c.user.text))
	case c.init.seen():
		return notSeen(Init, c.init.text+", and nothing after it on the serial console")
	}
	return notSeen(Init, "the serial console has no line `Run /init as init process`")
}

func (c *Console) judgeMemory(f found) Check {
	switch {
	case c.exhausted.seen():
		return failed(Memory, c.exhausted)
	case c.user.seen() && f.total > 0:
		return passed(Memory, c.user.at, "of %d MiB that the kernel has, %d are used; nothing reported a lack of memory", f.total, f.used)
	case c.user.seen() && c.memory.seen():
		return passed(Memory, c.user.at, "init runs, and nothing reported a lack of memory; the kernel found %s KiB", c.memory.text)
	}
	return notSeen(Memory, "init was not seen running")
}

func (c *Console) judgeDisk(f found) Check {
	switch {
	case f.disk.seen():
		return passed(Disk, f.disk.at, "%s", f.disk.text)
	case c.disk.seen():
		return passed(Disk, c.disk.at, "console: %s", c.disk.text)
	}
	return notSeen(Disk, "no line of the console names the disk or its partition")
}

func shortened(line string) string {
	const most = 80
	if runes := []rune(line); len(runes) > most {
		return fmt.Sprintf("%s...", string(runes[:most]))
	}
	return line
}
