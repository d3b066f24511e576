package verdict

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"hookbuild/internal/words"
)

// Image is an image that the initramfs has on board.
type Image struct {
	ID string // as `docker images --no-trunc` prints it
	// Names are the names under which dockerd lists it, without those by digest.
	Names []string
}

// shell types commands at the machine's serial console, as a person would, and reads
// their output. Upstream's template starts a getty there that logs root in. Each
// command is framed by two lines with its number, which the console's echo of the
// command does not have: it shows the quotes in them.
type shell struct {
	in     io.Writer
	images []Image // what the machine should list

	found  found
	asks   []question
	number int       // of the question that was typed last
	typed  time.Time // when
	state  shellState
	lines  []string // the answer so far
	code   int
	end    *regexp.Regexp
	run    int // the image to run next
	tries  int // of the current question
}

type shellState int

const (
	silent    shellState = iota // nobody has answered
	idle                        // the next question may be typed
	waiting                     // for the first line of the answer
	answering                   // the lines that come are the answer
	done                        // everything was asked
)

// found is what the shell's commands said.
type found struct {
	shell    sight  // a shell answered
	noGetty  bool   // none is on board
	login    bool   // somebody asks for a name or a password
	nic      sight  // the card and its drivers
	disk     sight  // the disk and its drivers
	total    int    // MiB of memory that the kernel has, 0 if not known
	used     int    // MiB
	dockerd  sight  // it answered
	noDocker string // why it did not
	listed   sight  // every image is listed
	lacking  sight  // some are not
	ran      sight  // a container was started
	refused  sight  // none could be
}

// question is a command and what takes its answer: it returns whether to ask again.
type question struct {
	command func(*shell) string
	take    func(s *shell, at time.Duration) (again bool)
}

const (
	mark = "hookbuild''-" // as it is typed, and echoed
	said = "hookbuild-"   // as the shell prints it

	probePeriod  = 5 * time.Second
	retryPeriod  = 3 * time.Second
	answerPeriod = 90 * time.Second // for one command on an emulated machine
	mostLines    = 2000             // of an answer
	listTries    = 3                // before an image that is not listed is lacking
)

func newShell(images []Image) *shell {
	s := &shell{images: images, end: regexp.MustCompile(`^(.*)` + said + `end-(\d+) (\d+)$`)}
	s.asks = []question{{hardwareCommand, takeHardware}, {imagesCommand, takeImages}, {runCommand, takeRun}, {memoryCommand, takeMemory}}
	return s
}

// hardwareCommand returns a command that keeps the kernel's messages, except for
// errors, from the console, and prints the drivers of each network card and disk: those
// of its device and of the devices that it is attached to.
func hardwareCommand(*shell) string {
	const drivers = `p=$(readlink -f $d/device); w=; while [ "${p#/sys/}" != "$p" ]; do [ -e $p/driver ] && w="$w $(basename $(readlink $p/driver))"; p=${p%/*}; done`
	return `echo N > /sys/module/printk/parameters/ignore_loglevel; echo 4 > /proc/sys/kernel/printk; ` +
		`for d in /sys/class/net/* /sys/block/*; do [ -e $d/device ] || continue; ` + drivers + `; echo "driver $d$w"; done`
}

func takeHardware(s *shell, at time.Duration) bool {
	for _, line := range s.lines {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "driver" {
			continue
		}
		name := words[1][strings.LastIndex(words[1], "/")+1:]
		text := name + " has the driver " + strings.Join(words[2:], ", on ")
		switch {
		case strings.HasPrefix(words[1], "/sys/class/net/"):
			s.found.nic.note(at, text)
		case strings.HasPrefix(name, "sr"): // the ISO image
		default:
			s.found.disk.note(at, text)
		}
	}
	return false
}

// imagesCommand asks dockerd for its images. In upstream's HookOS `docker` is an alias
// that runs it where dockerd is.
func imagesCommand(*shell) string {
	return `docker images --no-trunc --format 'image {{.ID}} {{.Repository}}:{{.Tag}}'`
}

func takeImages(s *shell, at time.Duration) bool {
	const notFound = 127
	if s.code != 0 {
		s.found.noDocker = fmt.Sprintf("`docker images` in the machine ends with %d: %s", s.code, lastOf(s.lines))
		return s.code != notFound // dockerd may not be up yet
	}
	s.found.noDocker = ""
	s.found.dockerd.note(at, "`docker images` in the machine answers")
	var lacking []string
	for _, image := range s.images {
		for _, name := range image.Names {
			if line := "image " + image.ID + " " + name; !slices.Contains(s.lines, line) {
				lacking = append(lacking, name)
			}
		}
	}
	switch {
	case len(lacking) > 0 && s.tries < listTries: // another program's line may have torn the list
		return true
	case len(lacking) > 0:
		s.found.lacking.note(at, "`docker images` in the machine does not list "+strings.Join(lacking, ", ")+" with the embedded image's ID")
	case len(s.images) > 0:
		s.found.listed.note(at, fmt.Sprintf("`docker images` in the machine lists every embedded image (%d)", len(s.images)))
	}
	return false
}

// runCommand starts a container of the next image, without a network.
func runCommand(s *shell) string {
	if s.run >= len(s.images) || s.found.noDocker != "" {
		return "true"
	}
	return "docker run -d --pull never --network none " + words.Shell(s.images[s.run].Names[0])
}

func takeRun(s *shell, at time.Duration) bool {
	if s.run >= len(s.images) || s.found.noDocker != "" {
		return false
	}
	name := s.images[s.run].Names[0]
	if s.code == 0 {
		s.found.ran.note(at, "`docker run` in the machine starts a container of "+name)
		return false
	}
	if s.run++; s.run < len(s.images) {
		return true
	}
	s.found.refused.note(at, fmt.Sprintf("no embedded image runs; `docker run %s` in the machine ends with %d: %s", name, s.code, lastOf(s.lines)))
	return false
}

func memoryCommand(*shell) string { return `grep -E '^Mem(Total|Available):' /proc/meminfo` }

func takeMemory(s *shell, _ time.Duration) bool {
	sizes := map[string]int{}
	for _, line := range s.lines {
		if words := strings.Fields(line); len(words) == 3 {
			if n, err := strconv.Atoi(words[1]); err == nil {
				sizes[words[0]] = n >> 10
			}
		}
	}
	if total := sizes["MemTotal:"]; total > 0 {
		s.found.total, s.found.used = total, total-sizes["MemAvailable:"]
	}
	return false
}

func lastOf(lines []string) string {
	if len(lines) == 0 {
		return "no output"
	}
	return shortened(lines[len(lines)-1])
}

// step types what is due. Rest is the text after the console's last line end.
func (s *shell) step(now time.Time, rest string) {
	since := now.Sub(s.typed)
	switch s.state {
	case silent:
		text := strings.ToLower(strings.TrimSpace(rest))
		if strings.HasSuffix(text, "login:") || strings.HasSuffix(text, "password:") {
			s.found.login = true
		} else if since >= probePeriod {
			s.ask(now, "true")
		}
	case idle:
		if s.tries == 0 || since >= retryPeriod {
			s.tries++
			s.ask(now, s.asks[0].command(s))
		}
	case waiting, answering:
		if since >= answerPeriod {
			const interrupt = "\x03"
			s.write(interrupt)
			s.state = idle
		}
	case done:
	}
}

func (s *shell) ask(now time.Time, command string) {
	s.number++
	s.typed, s.lines = now, nil
	if s.state != silent {
		s.state = waiting
	}
	s.write(fmt.Sprintf("echo %sbegin-%d; %s; echo %send-%d $?\r", mark, s.number, command, mark, s.number))
}

// write types a text. It fails only for a machine that has ended, which is noticed
// elsewhere.
func (s *shell) write(text string) { _, _ = io.WriteString(s.in, text) }

// patience is how long a machine of which everything required was seen is given to
// answer what else is asked.
func (s *shell) patience() time.Duration {
	switch {
	case s.state == done, s.state == silent && (s.found.login || s.found.noGetty):
		return 0
	case s.state == silent:
		return 4 * probePeriod
	}
	return answerPeriod
}

// line takes a line of the console, and reports whether it belongs to the
// conversation.
func (s *shell) line(at time.Duration, line string) bool {
	if (s.state == silent || s.state == waiting) && strings.HasSuffix(line, said+"begin-"+strconv.Itoa(s.number)) {
		if s.state == silent {
			s.found.shell.note(at, "a shell on the serial console answers")
			s.found.login = false
		}
		s.state, s.lines = answering, nil
		return true
	}
	if s.state != answering {
		return strings.Contains(line, mark)
	}
	end := s.end.FindStringSubmatch(line)
	if end == nil || end[2] != strconv.Itoa(s.number) {
		if len(s.lines) < mostLines {
			s.lines = append(s.lines, line)
		}
		return true
	}
	if end[1] != "" {
		s.lines = append(s.lines, end[1])
	}
	s.code, _ = strconv.Atoi(end[3]) // digits only
	s.answer(at)
	return true
}

// answer takes a complete answer. The first one is the probe's.
func (s *shell) answer(at time.Duration) {
	s.state = idle
	if s.tries == 0 || s.asks[0].take(s, at) {
		return
	}
	s.asks, s.tries = s.asks[1:], 0
	if len(s.asks) == 0 {
		s.state = done
	}
}
