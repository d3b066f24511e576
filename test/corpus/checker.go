package corpus

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// BuildChecker returns a function for [Options.Checker] that compiles the
// checking program into dir. It needs the go command and this module's source.
func BuildChecker(dir string) func(ctx context.Context, arch string) (string, error) {
	return func(ctx context.Context, arch string) (string, error) {
		out, err := filepath.Abs(filepath.Join(dir, "check-"+arch))
		if err != nil {
			return "", err
		}
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w -buildid=", "-o", out, "hookbuild/test/corpus/check")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=-buildvcs=false")
		if said, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("compiling the program that checks images for %s: %w: %s", arch, err, said)
		}
		return out, nil
	}
}
