package squashfs

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"hookbuild/test/testneed"
	"hookbuild/test/treetest"
)

// benchDir returns the directory to pack: $HOOKBUILD_BENCH_DIR, or Go's own
// programs, libraries and sources, which exist wherever tests run.
func benchDir(b *testing.B) string {
	b.Helper()
	if dir := os.Getenv("HOOKBUILD_BENCH_DIR"); dir != "" {
		return dir
	}
	out, err := exec.Command(testneed.Tool(b, "go"), "env", "GOROOT").Output()
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// BenchmarkWrite packs a directory with hookbuild and with mksquashfs.
func BenchmarkWrite(b *testing.B) {
	dir := benchDir(b)
	tree := treetest.FromDir(b, dir)
	out := filepath.Join(b.TempDir(), "image")
	for name, o := range map[string]Options{"gzip": {}, "zstd": {Compression: Zstd}} {
		b.Run("hookbuild "+name, func(b *testing.B) {
			var stats Stats
			for b.Loop() {
				f, err := os.Create(out)
				if err != nil {
					b.Fatal(err)
				}
				if stats, err = Write(b.Context(), f, tree, o); err != nil {
					b.Fatal(err)
				}
				if err := f.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(stats.Content)
			b.ReportMetric(float64(stats.Size), "image-bytes")
		})
	}
	b.Run("mksquashfs gzip 6", func(b *testing.B) { benchMksquashfs(b, dir, out, "-comp", "gzip", "-Xcompression-level", "6") })
	b.Run("mksquashfs zstd 15", func(b *testing.B) { benchMksquashfs(b, dir, out, "-comp", "zstd", "-Xcompression-level", "15") })
}

func benchMksquashfs(b *testing.B, dir, out string, args ...string) {
	args = append([]string{dir, out, "-b", "128K", "-noappend", "-quiet", "-no-progress", "-processors", strconv.Itoa(runtime.GOMAXPROCS(0))}, args...)
	for b.Loop() {
		if out, err := exec.Command(testneed.Tool(b, "mksquashfs"), args...).CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
	info, err := os.Stat(out)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size()), "image-bytes")
}

// BenchmarkRead reads all files of an image.
func BenchmarkRead(b *testing.B) {
	tree := treetest.FromDir(b, filepath.Join(benchDir(b), "bin"))
	image := made(b, tree, Options{})
	for b.Loop() {
		if err := drain(image); err != nil {
			b.Fatal(err)
		}
	}
}
