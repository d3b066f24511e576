package verdict

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"hookbuild/internal/fault"
	"hookbuild/linuxkit/iso"
	"hookbuild/machine"
)

// Options specify what to boot and what must be seen.
type Options struct {
	// Machine is booted with its own disk, address, capture and command line;
	// its Cmdline is added to that.
	Machine machine.Machine
	// WorkerImage is the image that the machine is told to run as its worker.
	WorkerImage string
	// Images are the images on board, which dockerd in the machine must list.
	Images []Image
	// NoGetty says that no getty is on board, so a shell on the console is not waited
	// for, and the boot ends once the machine is quiet.
	NoGetty bool
	// Required are the names of the checks that must pass. The boot ends as
	// soon as they have.
	Required []string
	// Timeout limits the boot; it must be positive.
	Timeout time.Duration
	// Console receives the machine's console; it may be nil.
	Console io.Writer
}

// hostAddress is the host in QEMU's user network.
const hostAddress = "10.0.2.2"

// address returns the MAC address of the machine, from QEMU's range.
func address() net.HardwareAddr { return net.HardwareAddr{0x52, 0x54, 0x00, 0x48, 0x4f, 0x4b} }

// Boot boots the machine until everything required was seen, something failed,
// the machine ended or the time ran out. An error means that the machine could
// not be tried; a bad boot is in the report.
func Boot(ctx context.Context, o Options) (_ *Report, err error) {
	dir, err := os.MkdirTemp("", "hookbuild-boot-")
	if err != nil {
		return nil, fmt.Errorf("preparing a machine: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the worker: %w", err)
	}
	b := &boot{Options: o, start: time.Now()}
	b.reader, b.shell = newReader(b.elapsed), newShell(o.Images)
	b.reader.shell, b.shell.found.noGetty = b.shell, o.NoGetty
	m := &b.Machine
	m.MAC, m.Capture, m.Disk = address(), filepath.Join(dir, "frames.pcap"), filepath.Join(dir, "disk")
	m.Cmdline = b.cmdline(listener.Addr().(*net.TCPAddr).Port)
	var serving sync.WaitGroup
	serving.Go(func() { b.listen(listener, &serving) })
	err = errors.Join(makeDisk(m.Disk), b.prepareISO(filepath.Join(dir, "boot.iso")))
	var report *Report
	if err == nil {
		report, err = b.run(ctx)
	}
	err = errors.Join(err, listener.Close())
	serving.Wait()
	if err != nil {
		return nil, err
	}
	return report, nil
}

// cmdline returns the parameters that Tinkerbell sets, and others that make the
// kernel write all of its messages with their time and end the machine on a
// panic.
func (b *boot) cmdline(port int) string {
	id := address().String()
	words := []string{
		"ignore_loglevel", "printk.time=1", "panic=-1", "facility=onprem", "syslog_host=" + hostAddress,
		fmt.Sprintf("grpc_authority=%s:%d", hostAddress, port), "tinkerbell_tls=false", "tinkerbell_insecure_tls=true",
		"worker_id=" + id, "hw_addr=" + id, "tink_worker_image=" + b.WorkerImage,
	}
	if b.Machine.Cmdline != "" {
		words = append(words, b.Machine.Cmdline)
	}
	return strings.Join(words, " ")
}

// prepareISO writes a copy of the ISO image with the machine's kernel command line, as
// Tinkerbell's server sends it, and has the machine boot that.
func (b *boot) prepareISO(name string) (err error) {
	if b.Machine.ISO == "" {
		return nil
	}
	from, err := os.Open(b.Machine.ISO)
	if err != nil {
		return fmt.Errorf("preparing the machine's ISO image: %w", err)
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("preparing the machine's ISO image: %w", err)
	}
	const buffer = 1 << 20
	w := bufio.NewWriterSize(to, buffer)
	err = iso.CopyWithCmdline(w, bufio.NewReaderSize(from, buffer), b.Machine.KernelCmdline())
	if err = errors.Join(err, w.Flush(), to.Close()); err != nil {
		return fmt.Errorf("setting the kernel command line in a copy of %q: %w", b.Machine.ISO, err)
	}
	b.Machine.ISO = name
	return nil
}

// boot is a boot in progress.
type boot struct {
	Options
	start time.Time
	said  tail // QEMU's messages

	mu      sync.Mutex // guards the fields below
	reader  *reader
	shell   *shell
	network network
	skip    int64 // bytes of the capture from before the kernel, the firmware's
}

func (b *boot) elapsed() time.Duration { return time.Since(b.start) }

// Write implements io.Writer for the console.
func (b *boot) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.reader.Write(p)
	if b.Console != nil {
		return b.Console.Write(p)
	}
	return n, err
}

func (b *boot) run(ctx context.Context) (*Report, error) {
	running, stop := context.WithCancel(ctx)
	defer stop()
	cmd, err := b.Machine.Command(running)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = b, &b.said
	if b.shell.in, err = cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("booting %q: %w", b.Machine.Kernel, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("booting %q: %w", b.Machine.Kernel, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	end, alone, err := b.watch(ctx, ended)
	if !alone {
		stop()
		<-ended //nolint:errcheck // it says that QEMU was stopped, as requested
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, b.failed(filepath.Base(cmd.Path), err)
	}
	return b.report(end)
}

// errStopped is QEMU that stopped a machine and waits for someone to look at it.
var errStopped = errors.New("it stopped the machine")

// failed returns the error about QEMU, which ended with err or has err's fault.
func (b *boot) failed(program string, err error) error {
	text := strings.TrimSpace(b.said.String())
	if lines := aboutKVM(text); len(lines) > 0 && b.Machine.UsesKVM() {
		return fault.Outsidef("booting %q: KVM does not run this machine on this host; use the accelerator tcg (--accel tcg), which emulates the processor: %s: %w: %s",
			b.Machine.Kernel, program, err, strings.Join(lines, "; "))
	}
	return fault.Failedf("booting %q: %s: %w: %s", b.Machine.Kernel, program, err, text)
}

// aboutKVM returns the lines of QEMU's messages that are about KVM. The processor's
// registers may follow them.
func aboutKVM(text string) []string {
	return slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool { return !strings.Contains(strings.ToLower(line), "kvm") })
}

// stoppedByKVM reports whether QEMU's messages have one with which it stops the machine
// instead of ending (accel/kvm/kvm-all.c).
func stoppedByKVM(text string) bool {
	return slices.ContainsFunc([]string{"KVM internal error", "KVM: entry failed", "kvm run failed"}, func(s string) bool { return strings.Contains(text, s) })
}

// settle is how long a machine may run on after a failure: the lines after a
// panic say where it came from.
const settle = 2 * time.Second

// watch returns why it stopped watching, and whether QEMU ended by itself.
func (b *boot) watch(ctx context.Context, ended <-chan error) (end string, alone bool, err error) {
	const often = 200 * time.Millisecond
	ticker, timeout := time.NewTicker(often), time.NewTimer(b.Timeout)
	defer ticker.Stop()
	defer timeout.Stop()
	var over, met time.Time
	for {
		select {
		case err := <-ended:
			return "the machine ended", true, err
		case <-ctx.Done():
			return "", false, nil
		case <-timeout.C:
			return fmt.Sprintf("the time limit of %s was reached", b.Timeout), false, nil
		case now := <-ticker.C:
			if stoppedByKVM(b.said.String()) {
				return "", false, errStopped
			}
			patience := b.talk(now)
			checks, err := b.look()
			switch {
			case err != nil:
				return "", false, err
			case slices.ContainsFunc(checks, func(c Check) bool { return c.Status == Failed }):
				if over.IsZero() {
					over = now.Add(settle)
				}
				if now.After(over) {
					return "something failed", false, nil
				}
			case !slices.ContainsFunc(checks, Check.bad):
				if met.IsZero() {
					met = now
				}
				if now.Sub(met) >= patience {
					return "everything required was seen", false, nil
				}
			case b.stalled(checks):
				return Quiet, false, nil
			}
		}
	}
}

// stalled reports whether waiting on is of no use for the required checks that have not
// passed. Only a machine without a getty is given up: what its console and its network
// card do not show by themselves cannot be asked for.
func (b *boot) stalled(checks []Check) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return stalled(&b.reader.Console, b.network, b.shell, checks, b.elapsed())
}

func stalled(c *Console, n network, s *shell, checks []Check, now time.Duration) bool {
	const quiet = time.Minute
	asked := []string{Shell, Images, Run} // only a shell's answers decide these
	switch {
	case !s.found.noGetty || s.state != silent || !c.user.seen():
		return false
	case !slices.ContainsFunc(checks, func(c Check) bool { return c.bad() && !slices.Contains(asked, c.Name) }):
		return now-c.user.at >= 4*probePeriod
	}
	// A machine that has sent no frame has not called. A slow one is given longer.
	return n.Sent == 0 && now-c.latest >= max(quiet, c.user.at)
}

// talk types what is due at the machine's console once its programs write to it, and
// returns how long to wait for the answers after everything required was seen.
func (b *boot) talk(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.reader.Console.user.seen() {
		b.shell.step(now, string(b.reader.rest))
	}
	return b.shell.patience()
}

func (b *boot) report(end string) (*Report, error) {
	b.mu.Lock()
	b.reader.Flush()
	b.mu.Unlock()
	checks, err := b.look()
	if err != nil {
		return nil, err
	}
	r := &Report{
		Machine: b.Machine.String(), MemoryMB: cmp.Or(b.Machine.MemoryMB, 2048), UsedMB: b.shell.found.used, Seconds: b.elapsed().Seconds(), End: end, Checks: checks,
	}
	if len(r.Bad()) > 0 {
		r.Console = b.reader.Console.lastLines()
	}
	return r, nil
}

// look judges what was seen so far.
func (b *boot) look() ([]Check, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.network.Sent == 0 {
		if err := b.lookAtFrames(); err != nil {
			return nil, err
		}
	}
	return judge(&b.reader.Console, b.network, b.shell.found, len(b.Images), b.WorkerImage, b.Required), nil
}

// lookAtFrames looks for a frame from the machine. Frames captured before the
// kernel's first line are the firmware's.
func (b *boot) lookAtFrames() error {
	capture, err := os.ReadFile(b.Machine.Capture)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the captured frames: %w", err)
	}
	if !b.reader.Console.kernel.seen() {
		b.skip = int64(len(capture))
		return nil
	}
	if sentBy(capture, b.skip, b.Machine.MAC) {
		b.network.Sent = b.elapsed()
	}
	return nil
}

// sentBy reports whether a capture in pcap format has, at or after the offset,
// a complete frame whose source is mac. QEMU writes it in the host's byte
// order.
func sentBy(capture []byte, offset int64, mac net.HardwareAddr) bool {
	const fileHeader, frameHeader, source = 24, 16, 6
	for at := fileHeader; at+frameHeader <= len(capture); {
		size := int(binary.NativeEndian.Uint32(capture[at+8:]))
		frame := at + frameHeader
		if size < 0 || size > len(capture)-frame {
			return false
		}
		if int64(at) >= offset && size >= source+len(mac) && bytes.Equal(capture[frame+source:frame+source+len(mac)], mac) {
			return true
		}
		at = frame + size
	}
	return false
}

// makeDisk writes a disk with one partition, whose name the kernel prints when
// its driver has read the table.
func makeDisk(name string) error {
	const sector, size, first = 512, 1 << 30, 2048
	table := make([]byte, sector)
	entry := table[446:]
	entry[4] = 0x83 // Linux
	binary.LittleEndian.PutUint32(entry[8:], first)
	binary.LittleEndian.PutUint32(entry[12:], size/sector-first)
	table[510], table[511] = 0x55, 0xaa
	if err := os.WriteFile(name, table, 0o600); err != nil {
		return fmt.Errorf("writing the machine's disk: %w", err)
	}
	if err := os.Truncate(name, size); err != nil {
		return fmt.Errorf("writing the machine's disk: %w", err)
	}
	return nil
}

// tail keeps the last bytes written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	const most = 4 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-most):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
