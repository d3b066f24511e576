package lab_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/cache"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
	"hookbuild/linuxkit/containers"
	"hookbuild/test/lab"
	"hookbuild/test/testneed"
)

const checkout = "../../testdata/hook"

// facts is run by the machine's init. What it prints differs between a system
// that started as LinuxKit does and any other.
const facts = `#!/bin/sh
fact() { echo "fact: $*"; }
fact links $(stat -c %h /facts/one /facts/two)
fact whiteout $(stat -c %F /facts/whiteout)
fact setuid $(stat -c %a:%u:%g /facts/setuid)
fact root $(sed -n 's|^\([^ ]*\) / \([^ ]*\) \(r[ow]\).*|\1 \2 \3|p' /proc/mounts)
for at in /run /tmp /var; do
	fact size $at $(($(stat -f -c '%b * %S' $at) * 100 / ($(awk '/MemTotal/ { print $2 }' /proc/meminfo) * 1024)))%
done
touch /facts/new 2>/dev/null || fact read-only
mkdir -p /run/place && mount -o bind /facts /run/place && mount -o remount,rw /run/place && touch /run/place/new && fact remounted
fact groups $(sed -n 's|^[^ ]* /sys/fs/cgroup \([^ ]*\) .*|\1|p' /proc/mounts) $(sed -n 's|.* / / .*\(shared\).*|\1|p' /proc/self/mountinfo)
poweroff
sleep 60
`

const still = `#!/bin/sh
for of in softlockup_panic watchdog_thresh; do
	echo "fact: $of $(cat /proc/sys/kernel/$of)"
done
echo "Kernel panic - not syncing: softlockup: hung tasks"
poweroff
sleep 60
`

func TestInitStartsAsLinuxKits(t *testing.T) {
	console, err := lab.Boot(t.Context(), machineThatRuns(t, facts))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"links 1 1", "whiteout regular empty file", "setuid 4755:12:34", "root rootfs tmpfs ro",
		"size /run 10%", "size /tmp 10%", "size /var 50%", "read-only", "remounted", "groups cgroup2 shared",
	}
	if diff := cmp.Diff(want, factsOf(console)); diff != "" {
		t.Errorf("%s\n%s", diff, console)
	}
}

// TestStillMachineBootsAgain boots a machine that says what a kernel says whose
// processors stood still: how to make one stand still is not known.
func TestStillMachineBootsAgain(t *testing.T) {
	machine := machineThatRuns(t, still)
	var seen strings.Builder
	machine.Console = &seen
	last, err := lab.Boot(t.Context(), machine)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"softlockup_panic 1", "watchdog_thresh 60"}, factsOf(last)); diff != "" {
		t.Errorf("%s\n%s", diff, last)
	}
	if n := strings.Count(seen.String(), "fact: softlockup_panic"); n != 2 || !strings.Contains(seen.String(), "booting again") {
		t.Errorf("the machine booted %d times, not twice:\n%s", n, seen.String())
	}
}

// machineThatRuns returns a machine whose init runs a script.
func machineThatRuns(t *testing.T, script string) lab.Machine {
	t.Helper()
	testneed.Tool(t, lab.Emulator("amd64"))
	l := openLab(t)
	kernel, err := l.Vmlinuz(t.Context(), "amd64")
	if err != nil {
		testneed.Missing(t, "debian", err.Error())
	}
	tree := initImage(t, l)
	addFacts(t, tree, script)
	file := filepath.Join(t.TempDir(), "initramfs")
	if err := writeSegment(t.Context(), file, tree); err != nil {
		t.Fatal(err)
	}
	return lab.Machine{Arch: "amd64", Kernel: kernel, Initramfs: []string{file}, MemoryMB: 384, Cmdline: "quiet loglevel=3", Timeout: 3 * time.Minute}
}

func openLab(t *testing.T) *lab.Lab {
	t.Helper()
	testneed.Tool(t, "apt-get")
	testneed.Tool(t, "dpkg-deb")
	l, err := lab.Open("")
	if err != nil {
		t.Fatal(err)
	}
	l.Log = t.Logf
	return l
}

// initImage returns the files of the init image, by way of a registry.
func initImage(t *testing.T, l *lab.Lab) *initramfs.Tree {
	t.Helper()
	images, err := l.Images(t.Context(), "amd64", os.DirFS(checkout))
	if err != nil {
		testneed.Missing(t, "debian", err.Error())
	}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	base := strings.TrimPrefix(server.URL, "http://") + "/hook/"
	if err := images.Push(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	list, err := containers.List(t.Context(), os.DirFS(checkout), base, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	store, err := cache.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	client := oci.NewClient(oci.Options{Cache: store})
	for _, c := range list {
		if c.Name != "hook-linuxkit-init" {
			continue
		}
		image, err := client.Image(t.Context(), c.Reference, v1.Platform{OS: "linux", Architecture: "amd64"})
		if err != nil {
			t.Fatal(err)
		}
		tree, err := image.Tree(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return tree
	}
	t.Fatal("the checkout names no init image")
	return nil
}

// addFacts adds files to a tree, and the script for its init.
func addFacts(t *testing.T, tree *initramfs.Tree, text string) {
	t.Helper()
	epoch := initramfs.Epoch()
	script := initramfs.BytesFile("etc/init.d/001-facts.sh", []byte(text), epoch)
	script.Mode = 0o755
	setuid := initramfs.BytesFile("facts/setuid", []byte("x"), epoch)
	setuid.Mode, setuid.UID, setuid.GID = 0o4755, 12, 34
	for _, e := range []initramfs.Entry{
		script, setuid, initramfs.BytesFile("facts/one", []byte("x"), epoch),
		{Path: "facts/two", Type: initramfs.HardLink, Target: "facts/one"},
		{Path: "facts/whiteout", Type: initramfs.CharDevice},
	} {
		if err := tree.Add(e); err != nil {
			t.Fatal(err)
		}
	}
}

func writeSegment(ctx context.Context, name string, tree *initramfs.Tree) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(initramfs.WriteSegment(ctx, f, tree, initramfs.SegmentOptions{Compression: initramfs.Zstd}), f.Close())
}

func factsOf(console string) []string {
	var all []string
	for line := range strings.Lines(console) {
		if _, fact, ok := strings.Cut(strings.TrimSpace(line), "fact: "); ok {
			all = append(all, fact)
		}
	}
	return all
}
