package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hookbuild/build"
	"hookbuild/build/artifact"
	"hookbuild/build/survey"
	"hookbuild/build/verify"
	"hookbuild/doctor"
	"hookbuild/internal/cache"
	"hookbuild/internal/words"
	"hookbuild/machine/verdict"
	"hookbuild/test/lab/site"
)

// TestTablesFitTheTerminal compares what commands print on terminals of 40 and 80
// columns with testdata/tables.
func TestTablesFitTheTerminal(t *testing.T) {
	var plans []build.Forecast
	if err := json.Unmarshal([]byte(readFile(t, "testdata/plan.json")), &plans); err != nil {
		t.Fatal(err)
	}
	const digest = "sha256:468b6660b26d7b72ae7471f508820b98af628a556b183c1d34d10b7ccae09aa2"
	checks := []doctor.Check{
		{Name: "memory", Status: doctor.OK, Found: "15.6 GB, of which 12.1 GB are free"},
		{Name: "docker", Status: doctor.Fail, Found: "reaching the Docker Engine at unix:///var/run/docker.sock: no such file", Remedy: "install Docker: https://docs.docker.com/engine/install/", Breaks: "kernel and kernel-config", Commands: []string{"kernel-config-shell"}},
	}
	proof := &verify.Report{Artifacts: []artifact.File{{Name: "initramfs-latest-lts-x86_64", Size: 180_000_000}}, Signature: "checksums.txt.sig"}
	boot := &verdict.Report{Machine: "q35", MemoryMB: 2048, Seconds: 41.5, End: "all checks passed"}
	diff := &survey.Diff{From: "out/hook/initramfs-latest-lts-x86_64", To: "new/hook/initramfs-latest-lts-x86_64", Images: []survey.ImageChange{{Name: "127.0.0.1/embedded/cexec:latest", Old: digest, New: digest, Layers: &survey.LayerChange{Kept: 2, Added: []string{digest}, Removed: []string{digest}}}}}
	for name, write := range map[string]func(w io.Writer, width int) error{
		"plan":    table((&app{}).planTable(&plans[0])),
		"flavors": table(flavorTable([]flavorRow{{ID: "hook-latest-lts-amd64", Arch: "amd64", Kernel: "6.12.y", Template: "hook", Tags: []string{"standard", "lts"}, Default: true}, {ID: "armbian-uefi-x86-edge", Arch: "amd64", Kernel: "kernel-x86-edge", Template: "hook", Tags: []string{"armbian"}}})),
		"cache":   table(usageTable([]cache.Usage{{Kind: "layers", Files: 12, Bytes: 48_000_000, Used: time.Now(), Unused: time.Now().Add(-50 * time.Hour)}})),
		"doctor":  func(w io.Writer, width int) error { return printChecks(w, proseWidth(width), checks) },
		"doctor-commands": func(w io.Writer, width int) error {
			return newChecked().judge([]string{"all", "inspect", "verify", "kernel-config-shell", "push", "pull", "serve"}, checks).print(w, proseWidth(width))
		},
		"verify":  table(provenTable(proof)),
		"boot":    func(w io.Writer, width int) error { return printBoot(w, width, boot) },
		"diff":    diff.WriteText,
		"drivers": (&findings{table: "the table of Linux 6.12", Devices: []deviceReport{{id: "8086:1592", name: "Ethernet Controller E810-C for QSFP", Count: 2, Needs: true, Note: "no driver is known"}}}).print,
	} {
		for _, width := range []int{40, 80} {
			var out strings.Builder
			if err := write(&out, width); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(out.String()) {
				if n := words.Width(strings.TrimSuffix(line, "\n")); n > width {
					t.Errorf("%s: %d columns on a terminal of %d: %q", name, n, width, line)
				}
			}
			golden := filepath.Join("testdata", "tables", fmt.Sprintf("%s-%d.txt", name, width))
			if *update {
				site.WriteFile(t, golden, out.String())
				t.Error("wrote " + golden)
			}
			if want := readFile(t, golden); out.String() != want {
				t.Errorf("%s on a terminal of %d columns:\n%s\nwant\n%s", name, width, &out, want)
			}
		}
	}
}

func table(t *words.Table) func(io.Writer, int) error {
	return func(w io.Writer, width int) error {
		_, err := io.WriteString(w, t.Text(width))
		return err
	}
}
