package worker_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/build/worker"
)

// program builds a stripped program of a Go module, which has the module's name
// in it and nothing else that tells.
func program(t *testing.T, module, dir string) string {
	t.Helper()
	root := t.TempDir()
	for file, content := range map[string]string{
		"go.mod": "module " + module + "\n\ngo 1.21\n", dir + "/main.go": "package main\n\nfunc main() {}\n",
	} {
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(root, "program")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, "./"+dir)
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-mod=mod", "GOPROXY=off")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return out
}

func started(path string) *v1.ConfigFile {
	return &v1.ConfigFile{Config: v1.Config{Entrypoint: []string{path}}}
}

// TestRealPrograms looks at programs that Go built.
func TestRealPrograms(t *testing.T) {
	for module, want := range map[string]struct {
		dir  string
		kind worker.Kind
	}{
		"github.com/tinkerbell/tink":       {"cmd/tink-worker", worker.TinkWorker},
		"github.com/tinkerbell/tinkerbell": {"cmd/agent", worker.TinkAgent},
		"example.org/other":                {"cmd/agent", worker.Unknown},
	} {
		file := program(t, module, want.dir)
		open := func(string) (io.ReadCloser, error) { return os.Open(file) }
		found, err := worker.Examine(worker.Image{Config: started("/run"), Open: open})
		if err != nil || found.Kind != want.kind {
			t.Errorf("%s: %v, %v", module, found, err)
		}
		if want.kind != worker.Unknown && !strings.Contains(found.Because, module) {
			t.Errorf("%s: %s", module, found)
		}
	}
}

func TestExamine(t *testing.T) {
	content := func(text string) func(string) (io.ReadCloser, error) {
		return func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
	}
	far := strings.Repeat("x", 1<<20-10) // the trace lies across two reads
	absent := func(string) (io.ReadCloser, error) { return nil, fs.ErrNotExist }
	labelled := func(key, value string) *v1.ConfigFile {
		c := started("/start")
		c.Config.Labels = map[string]string{key: value}
		return c
	}
	const old, now = "/proto.WorkflowService/GetWorkflowContexts", "/proto.WorkflowService/GetAction"
	for name, test := range map[string]struct {
		image   worker.Image
		kind    worker.Kind
		because string
	}{
		"old methods":             {worker.Image{Config: started("/x"), Open: content(far + old)}, worker.TinkWorker, "its program /x calls GetWorkflowContexts"},
		"new methods":             {worker.Image{Config: started("/x"), Open: content(now)}, worker.TinkAgent, "calls GetAction"},
		"version":                 {worker.Image{Config: started("/x"), Open: content(old + "mod\tgithub.com/tinkerbell/tink\tv0.12.2\t")}, worker.TinkWorker, "module version v0.12.2"},
		"content before its name": {worker.Image{Config: started("/tink-worker"), Open: content(now)}, worker.TinkAgent, "calls GetAction"},
		"both methods":            {worker.Image{Config: started("/x"), Open: content(old + now)}, worker.Unknown, "do not tell"},
		"compressed program":      {worker.Image{Config: started("/tink-agent"), Open: content("UPX!")}, worker.TinkAgent, "its program is /tink-agent"},
		"cmd":                     {worker.Image{Config: &v1.ConfigFile{Config: v1.Config{Cmd: []string{"/usr/bin/tink-worker"}}}, Open: absent}, worker.TinkWorker, "its program is /usr/bin/tink-worker"},
		"title":                   {worker.Image{Config: labelled("org.opencontainers.image.title", "tink-worker")}, worker.TinkWorker, "its label org.opencontainers.image.title"},
		"source":                  {worker.Image{Config: labelled("org.opencontainers.image.source", "https://github.com/tinkerbell/tinkerbell")}, worker.TinkAgent, "image.source"},
		"repository":              {worker.Image{Config: started("/start"), Names: []string{"public.ecr.aws/eks-anywhere/tinkerbell/tink/tink-worker:v0.12.2-eks-a-110"}}, worker.TinkWorker, "it comes from public.ecr.aws"},
		"bundle":                  {worker.Image{Config: started("/start"), Bundle: "bundle 110 (EKS Anywhere v0.24.2)", OfBundle: worker.TinkWorker, Names: []string{"r.example/tink-agent:v1"}}, worker.TinkWorker, "it is the worker of bundle 110 (EKS Anywhere v0.24.2)"},
		"name at boot":            {worker.Image{Config: started("/start"), Names: []string{"127.0.0.1/embedded/tink-worker:latest"}}, worker.Unknown, "do not tell"},
		"nothing":                 {worker.Image{}, worker.Unknown, "its labels, its bundle and its source names do not tell which program it is"},
	} {
		found, err := worker.Examine(test.image)
		if err != nil || found.Kind != test.kind || !strings.Contains(found.Because, test.because) {
			t.Errorf("%s: %v, %v", name, found, err)
		}
	}
	broken := errors.New("broken")
	if _, err := worker.Examine(worker.Image{Config: started("/x"), Open: func(string) (io.ReadCloser, error) { return nil, broken }}); !errors.Is(err, broken) {
		t.Errorf("an unreadable program: %v", err)
	}
}
