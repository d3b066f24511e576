package kerneltest

import (
	"os"
	"testing"
)

func TestCloudKernel(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		path := CloudKernel(t, arch)
		if again := CloudKernel(t, arch); again != path {
			t.Errorf("the second call gives %q, the first gave %q", again, path)
		}
		info, err := os.Stat(path)
		if err != nil || info.Size() < 1<<20 {
			t.Errorf("%s: %v, %d bytes", path, err, info.Size())
		}
	}
}
