//go:build e2e

package profile_test

import (
	"archive/tar"
	"bytes"
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
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/test/lab"
	"hookbuild/test/testneed"
)

// consoles are the services of upstream's template that the profile changes, and that
// the miniature HookOS lacks: OpenNTPD, and a getty on the second serial port that treats
// INSECURE and getty.shadow as LinuxKit's does.
const consoles = `services:
  - name: ntpd
    image: %[1]stools:1
    capabilities: [ all ]
    net: host
    command: [ /usr/sbin/ntpd, -d, -f, /etc/ntpd.conf ]
  - name: getty
    image: %[1]stools:1
    capabilities: [ all ]
    pid: host
    net: host
    binds: [ /run:/run, /dev:/dev ]
    devices: [ { path: all, type: c } ]
    env: [ INSECURE=true ]
    command:
      - /bin/sh
      - -c
      - |
        if [ -f /hostroot/etc/getty.shadow ]; then cp /hostroot/etc/getty.shadow /etc/shadow; fi
        if [ "$INSECURE" = true ]; then free="-n -l /bin/sh"; fi
        while :; do setsid getty $free -L 115200 ttyS1 vt100; done
`

// TestConsoleInAMachine boots a HookOS whose profile sets a password for the console, a
// VLAN and a time server, and another one whose profile takes the console away. The wrong
// password is refused and the right one is not; a host answers in the VLAN; the machine
// asks the time server.
func TestConsoleInAMachine(t *testing.T) {
	testneed.Tool(t, lab.Emulator("amd64"))
	work := t.TempDir()
	l, checkout, base := openHook(t)
	pushTools(t, l, base+"tools:1")
	write(t, filepath.Join(work, "overlay.yaml"), fmt.Appendf(nil, consoles, base))
	// openssl passwd -6 -salt hookbuild right
	write(t, filepath.Join(work, "hash"), []byte("$6$hookbuild$5ILTKpQWgd2vfKZBBL4wvUE3e1mT1UxvFwk6yI5uwvDBTqLBLuWOnLiPdpFw4lCTLNNyPIrfdt7b6xKOeGG0Y.\n"))

	t.Run("password, VLAN and time server", func(t *testing.T) {
		const card, second = "52:54:00:12:34:56", "52:54:00:12:34:57"
		write(t, filepath.Join(work, "site.yaml"), fmt.Appendf(nil, `console: {login: password, password-hash-file: hash}
ntp: [192.0.2.123]
network:
  machines:
    - {mac: "%s", address: 10.0.2.77/24, gateway: %s}
    - {mac: "%s", vlan: 7, address: 198.51.100.5/24}
`, card, host, second))
		capture := filepath.Join(work, "frames.pcap")
		socket := filepath.Join(work, "console")
		far := neighbour(t, net.IPv4(198, 51, 100, 1).To4(), 7)
		said := make(chan string, 1)
		go func() { said <- logInOn(t.Context(), socket) }()
		text := bootConsole(t, l, work, checkout, base, `#!/bin/sh
n=0
until ping -c 1 -W 5 198.51.100.1 || [ $n -ge 20 ]; do n=$((n + 1)); done
n=0
until grep -q ":007B " /proc/net/udp || [ $n -ge 240 ]; do n=$((n + 1)); sleep 0.2; done
n=0
until [ -e /host_root/run/logged-in ] || [ $n -ge 240 ]; do n=$((n + 1)); sleep 0.5; done
`, "-netdev", "user,id=n", "-device", "virtio-net-pci,romfile=,netdev=n,mac="+card, "-object", "filter-dump,id=f,netdev=n,file="+capture,
			"-netdev", "socket,id=v,connect="+far, "-device", "virtio-net-pci,romfile=,netdev=v,mac="+second,
			"-chardev", "socket,id=c,path="+socket+",server=on,wait=off", "-serial", "chardev:c")
		if !strings.Contains(text, " 0% packet loss") {
			t.Error("no host answers in the VLAN")
		}
		if got, want := <-said, "wrong: refused; right: hello"; got != want {
			t.Errorf("the console says %q, want %q", got, want)
		}
		frames, err := os.ReadFile(capture)
		if err != nil {
			t.Fatal(err)
		}
		if !asksForTime(frames, net.IPv4(192, 0, 2, 123).To4()) {
			t.Error("the machine does not ask the time server")
		}
		if t.Failed() {
			t.Logf("%s", text[max(0, len(text)-8000):])
		}
	})
	t.Run("off", func(t *testing.T) {
		write(t, filepath.Join(work, "site.yaml"), []byte("console: {login: off}\n"))
		text := bootConsole(t, l, work, checkout, base, "#!/bin/sh\necho services: $(ls /host_root/containers/services)\nps | grep -q '[g]etty' || echo nobody logs in\n", "-serial", "null")
		if !strings.Contains(text, "nobody logs in") || !strings.Contains(text, "services: hook-bootkit hook-docker ntpd\r\n") {
			t.Errorf("the machine says\n%s", text[max(0, len(text)-8000):])
		}
	})
}

// bootConsole builds a HookOS with the overlay and the profile in work, boots it, and
// returns its console. The machine runs the script beside dockerd.
func bootConsole(t *testing.T, l *lab.Lab, work, checkout, base, script string, extra ...string) string {
	t.Helper()
	files := buildProfile(t, l, work, checkout, base, "overlay.yaml")
	check := filepath.Join(work, "check.cpio")
	writeCheck(t, check, script)
	text, err := lab.Boot(t.Context(), lab.Machine{
		Arch: "amd64", Kernel: files.kernel, Initramfs: []string{files.initramfs, check}, MemoryMB: 2048,
		Cmdline: "quiet loglevel=3 hookbuild.demo=poweroff tink_worker_image=docker.io/library/none:1", Timeout: 9 * time.Minute, Extra: extra,
	})
	if err != nil {
		t.Errorf("%v\n%s", err, text[max(0, len(text)-8000):])
	}
	return text
}

// pushTools pushes an image with Debian's busybox and OpenNTPD.
func pushTools(t *testing.T, l *lab.Lab, ref string) {
	t.Helper()
	debs, err := l.Packages(t.Context(), "amd64", "openntpd", "busybox-static")
	if err != nil {
		testneed.Missing(t, "apt", err.Error())
	}
	root := t.TempDir()
	for _, deb := range debs {
		name, _, _ := strings.Cut(filepath.Base(deb), "_")
		if slices.Contains([]string{"openntpd", "busybox-static", "libc6"}, name) {
			output(t, testneed.Tool(t, "dpkg-deb"), "-x", deb, root)
		}
	}
	for _, dir := range []string{"root", "run/openntpd", "var/lib/openntpd/db", "hostroot/etc"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../run", filepath.Join(root, "var/run")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "etc/passwd"), []byte("root:x:0:0:root:/root:/bin/sh\nntpd:x:100:100:ntpd:/var/run/openntpd:/bin/false\n"))
	write(t, filepath.Join(root, "etc/group"), []byte("root:x:0:\ntty:x:5:\nntpd:x:100:\n"))
	write(t, filepath.Join(root, "etc/ntpd.conf"), []byte("server 203.0.113.1\n"))
	write(t, filepath.Join(root, "etc/services"), []byte("ntp 123/udp\n"))
	for _, applet := range []string{"sh", "cp", "getty", "login", "setsid", "touch"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", applet)); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := errors.Join(w.AddFS(os.DirFS(root)), w.Close()); err != nil {
		t.Fatal(err)
	}
	push(t, ref, b.Bytes(), v1.Config{Cmd: []string{"/bin/sh"}, Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}})
}

// logInOn waits for the machine's second serial port and tries both passwords on it.
func logInOn(ctx context.Context, socket string) string {
	ctx, cancel := context.WithTimeout(ctx, 8*time.Minute)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	for err != nil && ctx.Err() == nil { // QEMU makes it when it starts
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
		conn, err = d.DialContext(ctx, "unix", socket)
	}
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	var seen []byte
	expect := func(words ...string) string {
		part := make([]byte, 256)
		for {
			for _, word := range words {
				if at := bytes.Index(seen, []byte(word)); at >= 0 {
					seen = seen[at+len(word):]
					return word
				}
			}
			n, err := conn.Read(part)
			if err != nil {
				return err.Error()
			}
			seen = append(seen, part[:n]...)
		}
	}
	try := func(password string) string {
		for _, step := range [][2]string{{"login: ", "root"}, {"assword: ", password}} {
			if got := expect(step[0]); got != step[0] {
				return got
			}
			if _, err := io.WriteString(conn, step[1]+"\r"); err != nil {
				return err.Error()
			}
		}
		return expect("incorrect", "# ")
	}
	result := "wrong: "
	switch got := try("wrong"); got {
	case "incorrect":
		result += "refused; right: "
	default:
		return result + got
	}
	if got := try("right"); got != "# " {
		return result + got
	}
	if _, err := io.WriteString(conn, "echo hel''lo; touch /run/logged-in\r"); err != nil {
		return result + err.Error()
	}
	return result + expect("hello")
}

// neighbour is a host on the wire of a machine's card, with an address in a VLAN, that
// answers ARP and pings. It returns the address to which QEMU connects the card.
func neighbour(t *testing.T, ip net.IP, vlan uint16) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		size := make([]byte, 4) // QEMU's frames have their length before them
		for {
			if _, err := io.ReadFull(conn, size); err != nil {
				return
			}
			frame := make([]byte, binary.BigEndian.Uint32(size))
			if _, err := io.ReadFull(conn, frame); err != nil {
				return
			}
			if !answer(frame, ip, vlan) {
				continue
			}
			if _, err := conn.Write(append(bytes.Clone(size), frame...)); err != nil {
				return
			}
		}
	}()
	return l.Addr().String()
}

// answer turns an ARP request or a ping to ip in the VLAN into its answer, and returns
// false for anything else.
func answer(frame []byte, ip net.IP, vlan uint16) bool {
	const tag, arp, ipv4 = 0x8100, 0x0806, 0x0800
	mac := net.HardwareAddr{0x52, 0x54, 0, 1, 2, 3}
	if len(frame) < 46 || binary.BigEndian.Uint16(frame[12:]) != tag || binary.BigEndian.Uint16(frame[14:])&0xfff != vlan {
		return false
	}
	body := frame[18:]
	switch binary.BigEndian.Uint16(frame[16:]) {
	case arp:
		if binary.BigEndian.Uint16(body[6:]) != 1 || !bytes.Equal(body[24:28], ip) {
			return false
		}
		copy(body[18:28], body[8:18]) // its sender is asked now
		binary.BigEndian.PutUint16(body[6:], 2)
		copy(body[8:], mac)
		copy(body[14:], ip)
	case ipv4:
		const icmp, request = 1, 8
		header := int(body[0]&15) * 4
		if body[9] != icmp || !bytes.Equal(body[16:20], ip) || len(body) < header+4 || body[header] != request {
			return false
		}
		copy(body[16:20], body[12:16])
		copy(body[12:16], ip)
		body[header] = 0
		sum := uint32(binary.BigEndian.Uint16(body[header+2:])) + request<<8
		binary.BigEndian.PutUint16(body[header+2:], uint16(sum+sum>>16))
	default:
		return false
	}
	copy(frame, frame[6:12])
	copy(frame[6:], mac)
	return true
}

// asksForTime reports whether a capture has an NTP client's request to the server.
func asksForTime(capture []byte, server net.IP) bool {
	const fileHeader, frameHeader, ethernet = 24, 16, 14
	for at := fileHeader; at+frameHeader <= len(capture); {
		size := int(binary.NativeEndian.Uint32(capture[at+8:]))
		at += frameHeader
		if size > len(capture)-at {
			return false
		}
		frame := capture[at : at+size]
		at += size
		const ipHeader, udp, udpHeader, ntp, client = 20, 17, 8, 123, 3
		if len(frame) < ethernet+ipHeader+udpHeader+1 || frame[ethernet] != 0x45 || frame[ethernet+9] != udp || !bytes.Equal(frame[ethernet+16:ethernet+20], server) {
			continue
		}
		datagram := frame[ethernet+ipHeader:]
		if binary.BigEndian.Uint16(datagram[2:]) == ntp && datagram[udpHeader]&7 == client {
			return true
		}
	}
	return false
}
