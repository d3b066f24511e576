// Package testneed lets a test require a tool or service that a machine may
// lack. If it is missing, the test is skipped with a message; if
// HOOKBUILD_TEST_REQUIRE lists it (CI lists everything), the test fails.
package testneed

import (
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// env names the variable that lists the requirements that must be available,
// separated by commas. "all" means everything.
const env = "HOOKBUILD_TEST_REQUIRE"

// Tool returns the path of a program, or ends the test.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(t, name, err.Error())
	}
	return path
}

// Root ends the test unless it runs as root.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "root", "this test runs as root only")
	}
}

// Unshare returns the command after which a program runs in a network namespace
// without interfaces. Root needs no user namespace, which a chroot forbids.
func Unshare() []string {
	if os.Geteuid() == 0 {
		return []string{"unshare", "-n"}
	}
	return []string{"unshare", "-rn"}
}

// Namespaces ends the test unless [Unshare] works.
func Namespaces(t testing.TB) {
	t.Helper()
	Tool(t, "unshare")
	alone := append(Unshare(), "true")
	if out, err := exec.CommandContext(t.Context(), alone[0], alone[1:]...).CombinedOutput(); err != nil {
		Missing(t, "namespaces", strings.TrimSpace(string(out)))
	}
}

// Docker returns the address of a Docker Engine's socket, or ends the test.
func Docker(t testing.TB) string {
	t.Helper()
	const socket = "/var/run/docker.sock"
	conn, err := net.Dial("unix", socket)
	if err != nil {
		Missing(t, "docker", err.Error())
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	return "unix://" + socket
}

// Missing ends the test for lack of need: it skips it, or fails it if [env]
// lists the need.
func Missing(t testing.TB, need, why string) {
	t.Helper()
	required := strings.Split(os.Getenv(env), ",")
	if slices.Contains(required, need) || slices.Contains(required, "all") {
		t.Fatalf("%s is required by %s: %s", need, env, why)
	}
	t.Skipf("this machine has no %s: %s", need, why)
}
