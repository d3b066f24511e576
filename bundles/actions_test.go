package bundles

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hookbuild/internal/fault"
)

const plainTemplate = `version: "0.1"
name: ubuntu
tasks:
- name: "os-installation"
  worker: "{{.device_1}}"
  volumes: [/dev:/dev]
  actions:
  - name: stream
    image: quay.io/tinkerbell/actions/image2disk
    environment:
      DEST_DISK: {{ index .Hardware.Disks 0 }}
      IMG_URL: http://{{ .host }}/ubuntu.raw.gz
  {{- if .kexec }}
  - name: boot
    image: kexec:v1
  {{- else }}
  - name: boot
    image: {{ .registry }}/reboot
  {{- end }}
`

func indented(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n    ")
}

func TestActions(t *testing.T) {
	const override = "kind: TinkerbellMachineTemplate\nspec:\n  template:\n    spec:\n      templateOverride: |\n"
	plain := []string{
		"os-installation/stream quay.io/tinkerbell/actions/image2disk", "os-installation/boot kexec:v1", "os-installation/boot {{...}}/reboot",
	}
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"alone":     {plainTemplate, plain},
		"an object": {"apiVersion: tinkerbell.org/v1alpha1\nkind: Template\nspec:\n  data: |\n" + indented(plainTemplate), plain},
		"a list":    {"kind: List\nitems:\n- kind: Template\n  spec:\n   data: |\n" + indented(plainTemplate) + "\n- kind: Hardware\n", plain},
		"a cluster": {`apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: Cluster
metadata: {name: mine}
---
kind: TinkerbellMachineConfig
metadata: {name: cp}
spec: {osFamily: ubuntu, templateRef: {kind: TinkerbellTemplateConfig, name: mine}}
---
---
kind: TinkerbellTemplateConfig
metadata: {name: mine}
spec:
  template:
    tasks:
    - name: mine
      actions:
      - {name: stream-image, image: &i "127.0.0.1/embedded/image2disk:latest"}
      - {name: again, image: *i}
`, []string{"mine/stream-image 127.0.0.1/embedded/image2disk:latest", "mine/again 127.0.0.1/embedded/image2disk:latest"}},
		"EKS Anywhere's own": {"kind: TinkerbellMachineConfig\nmetadata: {name: cp}\nspec: {osFamily: ubuntu, templateRef: {}}\n", []string{
			"EKS Anywhere's own template of cp/image2disk 127.0.0.1/embedded/image2disk",
			"EKS Anywhere's own template of cp/writefile 127.0.0.1/embedded/writefile",
			"EKS Anywhere's own template of cp/reboot 127.0.0.1/embedded/reboot",
		}},
		"CAPT's machines":      {override + "        " + strings.ReplaceAll(strings.TrimSpace(plainTemplate), "\n", "\n        "), plain},
		"CAPT's one":           {"kind: TinkerbellMachine\nspec:\n  templateOverride: |\n" + indented(plainTemplate), plain},
		"v1alpha2":             {"apiVersion: tinkerbell.org/v1alpha2\nkind: Template\nspec:\n  actions:\n  - {name: one, image: a:1}\n", []string{"/one a:1"}},
		"v1alpha2's tasks":     {"kind: Workflow\nspec:\n  templateRef: {name: x}\n  tasks:\n  - {name: t, actions: [{name: one, image: a:1}]}\n", []string{"t/one a:1"}},
		"merged keys and none": {"x: &x {image: a:1}\ntasks:\n- actions:\n  - {<<: *x, name: one}\n  - {<<: [*x], name: two}\n  - {name: three}\n", []string{"/one a:1", "/two a:1", "/three "}},
		"given twice":          {"tasks:\n- actions:\n  - image: a\n    image: b\n", []string{"/ a", "/ b"}},
	} {
		all, err := parseActions([]byte(test.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, a := range all.All {
			got = append(got, a.Task+"/"+a.Name+" "+a.Image)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

func TestTemplatesAreNamedAndReferredTo(t *testing.T) {
	all, err := parseActions([]byte(`kind: TinkerbellMachineConfig
metadata: {name: cp}
spec: {templateRef: {kind: TinkerbellTemplateConfig, name: mine}}
---
kind: Workflow
metadata: {name: w}
spec: {templateRef: ubuntu}
---
kind: TinkerbellTemplateConfig
metadata: {name: mine}
`))
	if err != nil {
		t.Fatal(err)
	}
	refs := []Template{{3, "TinkerbellTemplateConfig", "mine", "TinkerbellMachineConfig cp"}, {7, "Template", "ubuntu", "Workflow w"}}
	if !slices.Equal(all.Refs, refs) || !slices.Equal(all.Templates, []Template{{9, "TinkerbellTemplateConfig", "mine", ""}}) || !all.Cluster {
		t.Errorf("got %+v", all)
	}
}

// TestLinesOfActions checks that lines count from the beginning of the file, in a
// template within an object too.
func TestLinesOfActions(t *testing.T) {
	text := "kind: Template\nspec:\n  data: |\n" + indented(plainTemplate)
	all, err := parseActions([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all.All {
		if line := strings.Split(text, "\n")[a.Line-1]; !strings.Contains(line, "image:") {
			t.Errorf("%s: the line is %q", a.Image, line)
		}
	}
}

func TestActionsRefused(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for i := range 9 {
		bomb += string(rune('b'+i)) + ": &" + string(rune('b'+i)) + " [" + strings.TrimSuffix(strings.Repeat("*"+string(rune('a'+i))+",", 10), ",") + "]\n"
	}
	for want, text := range map[string]string{
		"it is empty":    "\n",
		"not valid YAML": "tasks: [\n",
		"its objects are of kind Cluster; name a Tinkerbell template":   "kind: Cluster\n",
		"it has no actions: it has no tasks and no objects with a kind": "- a\n- b\n",
		"has neither a TinkerbellMachineConfig nor a TinkerbellTemplateConfig with actions, which say what its machines run; its objects are of kind Cluster, TinkerbellDatacenterConfig; add": "kind: Cluster\napiVersion: " + group + "/v1alpha1\n---\nkind: TinkerbellDatacenterConfig\n",
		"a cluster with a VSphereDatacenterConfig, not of bare metal": "kind: Cluster\napiVersion: " + group + "/v1alpha1\nspec: {datacenterRef: {kind: VSphereDatacenterConfig}}\n",
		"G, H, and others;":           "kind: A\n---\nkind: B\n---\nkind: C\n---\nkind: D\n---\nkind: E\n---\nkind: F\n---\nkind: G\n---\nkind: H\n---\nkind: I\n",
		"the template in line 3":      "kind: Template\nspec:\n  data: '['\n",
		"aliases expand":              bomb,
		"more than 10000 actions":     "tasks:\n- actions:\n" + strings.Repeat("  - {image: a}\n", maxActions+1),
		"it is a web page":            "<html>",
		"it has about":                "[" + strings.Repeat(",", maxNodes),
		"more than 16 MiB, the limit": strings.Repeat(" ", maxManifest) + "a: b",
	} {
		name := filepath.Join(t.TempDir(), "template.yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadActions(name)
		if err == nil || !strings.Contains(err.Error(), want) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("got %v; want %q", err, want)
		}
	}
}

func FuzzActions(f *testing.F) {
	f.Add(plainTemplate)
	f.Add("kind: Template\nspec:\n  data: |\n" + indented(plainTemplate))
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseActions([]byte(text))
		if (err == nil) != (all != nil) {
			t.Errorf("%v, %v", all, err)
		}
	})
}
