//go:build e2e

// A second engine needs an image and a storage of its own, so this test is for
// go test -tags e2e.

package container

import (
	"context"
	"strings"
	"testing"
	"time"

	"hookbuild/internal/fault"
	"hookbuild/test/enginetest"
	"hookbuild/test/kerneltest"
)

// TestRemoteEngine works on a second engine over TCP with TLS, which goes away in
// the middle: the error says what to do, and the next run continues.
func TestRemoteEngine(t *testing.T) {
	base := kerneltest.Base(t)
	r := enginetest.New(t)
	t.Setenv("DOCKER_CERT_PATH", r.Certs)
	t.Setenv("DOCKER_TLS_VERIFY", "1")
	r.Start(t)
	r.Load(t, base)
	said := &record{t: t}
	connect := func() *Builder {
		t.Helper()
		b, err := Open(t.Context(), Options{Engine: r.Host(), Image: base, LogDir: t.TempDir(), Progress: said})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
		return b
	}
	source := Source{Archive: sourceTar(t, time.Now(), "Kbuild", "a.c"), SHA256: "cab1e123beef4567"}
	target := Target{Flavor: "test-remote", Arch: "x86_64", Source: source}
	b := connect()
	lost := job{target: target, step: "unpack", script: unpackScript, image: base, prepare: func(ctx context.Context, id string) error {
		r.Stop(t)
		return b.sendArchive(ctx, id, source)
	}}
	err := b.run(t.Context(), lost)
	if err == nil || fault.KindOf(err) != fault.Outside || !strings.Contains(err.Error(), "the connection to the Docker engine "+r.Host()+" was lost") || !strings.Contains(err.Error(), "run this again when it answers") {
		t.Errorf("an engine that went away: %v", err)
	}
	if _, err := Open(t.Context(), Options{Engine: r.Host()}); err == nil || fault.KindOf(err) != fault.Outside || !strings.Contains(err.Error(), r.Host()) {
		t.Errorf("an engine that does not answer: %v", err)
	}
	r.Start(t)
	b = connect()
	if err := b.ensureSource(t.Context(), target, base); err != nil {
		t.Fatalf("after the engine came back: %v", err)
	}
	if got, _ := b.fileIn(t, target, "/src/linux/a.c"); !strings.Contains(got, "COMMAND_LINE_SIZE") {
		t.Errorf("the source on the other engine is %q", got)
	}
	t.Setenv("DOCKER_CERT_PATH", "")
	if _, err := Open(t.Context(), Options{Engine: r.Host()}); err == nil {
		t.Error("the engine lets a client in without a certificate")
	}
}
