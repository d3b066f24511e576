package embed

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hookbuild/test/testneed"
)

// engine is a real dockerd, working on a data root.
type engine struct {
	socket string
	docker string // the client
	stop   func() // ends dockerd, once
}

// startEngine starts the machine's dockerd on the data root, which must be a
// mount point (dockerd would otherwise make it one, and hide what is mounted
// below).
func startEngine(t *testing.T, dataRoot string) *engine {
	t.Helper()
	return startDockerd(t, testneed.Tool(t, "dockerd"), dataRoot, "--storage-driver=overlay2")
}

// startDockerd starts a dockerd on the data root, with the flags that isolate
// it from the machine's own, and further flags.
func startDockerd(t *testing.T, program, dataRoot string, flags ...string) *engine {
	t.Helper()
	dir := t.TempDir()
	e := &engine{socket: dir + "/docker.sock", docker: testneed.Tool(t, "docker")}
	log, err := os.Create(dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/daemon.json", []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	apart := []string{"--config-file", dir + "/daemon.json", "--data-root", dataRoot, "--exec-root", dir + "/exec",
		"--pidfile", dir + "/pid", "--host", "unix://" + e.socket, "--bridge=none", "--iptables=false"}
	cmd := exec.Command(program, append(apart, flags...)...)
	// dockerd 29 would refuse the machine's older client.
	cmd.Env = append(os.Environ(), "DOCKER_MIN_API_VERSION=1.24")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	e.stop = sync.OnceFunc(func() {
		err := cmd.Process.Signal(syscall.SIGTERM)
		if errors.Is(err, os.ErrProcessDone) {
			return
		}
		<-ended
	})
	t.Cleanup(e.stop)
	e.await(t, ended, log.Name())
	return e
}

func (e *engine) await(t *testing.T, ended <-chan error, log string) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		if exec.Command(e.docker, "--host", "unix://"+e.socket, "version").Run() == nil {
			return
		}
		select {
		case err := <-ended:
			said, readErr := os.ReadFile(log)
			t.Fatalf("dockerd ended: %v %v\n%s", err, readErr, said)
		case <-deadline:
			said, readErr := os.ReadFile(log)
			t.Fatalf("dockerd does not answer: %v\n%s", readErr, said)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// do runs the docker client.
func (e *engine) do(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(e.docker, append([]string{"--host", "unix://" + e.socket}, args...)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("docker %q: %v\n%s%s", args, err, out, errs.Bytes())
	}
	return string(out)
}

// images lists the engine's images: names, digests, ids and sizes.
func (e *engine) images(t *testing.T) []string {
	t.Helper()
	format := "{{.Id}} {{json .RepoTags}} {{json .RepoDigests}} {{.Size}} {{json .RootFS}}"
	ids := strings.Fields(e.do(t, "image", "ls", "--no-trunc", "--quiet"))
	list := strings.Split(strings.TrimSpace(e.do(t, append([]string{"image", "inspect", "--format", format}, ids...)...)), "\n")
	slices.Sort(list)
	return slices.Compact(list)
}

// saved returns the sha256 of an image's layers as "docker save" writes them.
func (e *engine) saved(t *testing.T, image string) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image.tar")
	e.do(t, "save", "--output", file, image)
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	sums, manifest := readSaved(t, f)
	var list []string
	for _, name := range manifest {
		list = append(list, "sha256:"+sums[name])
	}
	return list
}

func readSaved(t *testing.T, r io.Reader) (sums map[string]string, layers []string) {
	t.Helper()
	sums = map[string]string{}
	links := map[string]string{}
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeSymlink { // a layer that an earlier image has too
			links[h.Name] = filepath.Join(filepath.Dir(h.Name), h.Linkname)
			continue
		}
		var body bytes.Buffer
		sum := sha256.New()
		if _, err := io.Copy(io.MultiWriter(&body, sum), archive); err != nil {
			t.Fatal(err)
		}
		sums[h.Name] = hex.EncodeToString(sum.Sum(nil))
		if h.Name == "manifest.json" {
			var manifest []struct{ Layers []string }
			if err := json.Unmarshal(body.Bytes(), &manifest); err != nil {
				t.Fatal(err)
			}
			layers = manifest[0].Layers
		}
	}
	for from, to := range links {
		sums[from] = sums[to]
	}
	return sums, layers
}

// container starts a container and describes all files that it sees.
func (e *engine) container(t *testing.T, image string) string {
	t.Helper()
	id := strings.TrimSpace(e.do(t, "run", "--detach", "--network=none", image, "/bin/busybox", "sleep", "1000"))
	defer e.do(t, "rm", "--force", id)
	pid, err := strconv.Atoi(strings.TrimSpace(e.do(t, "inspect", "--format", "{{.State.Pid}}", id)))
	if err != nil {
		t.Fatal(err)
	}
	root := fmt.Sprintf("/proc/%d/root/", pid)
	var st unix.Stat_t
	if err := unix.Stat(root, &st); err != nil {
		t.Fatal(err)
	}
	line, err := describeFile(root, ".", &st)
	if err != nil {
		t.Fatal(err)
	}
	return line + "\n" + describe(t, root, madeByDocker)
}

// madeByDocker reports whether every container has its own file of that name.
func madeByDocker(name string) bool {
	switch name {
	case ".dockerenv", "dev", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab":
		return true
	}
	return false
}

// diffIDs returns an image's layers from its configuration.
func (e *engine) diffIDs(t *testing.T, image string) []string {
	t.Helper()
	var list []string
	body := e.do(t, "image", "inspect", "--format", "{{json .RootFS.Layers}}", image)
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatal(err)
	}
	return list
}
