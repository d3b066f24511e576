package bundles

import (
	"os"
	"path/filepath"
	"testing"
)

const plant = "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Cluster\nmetadata: {name: plant}\nspec: {eksaVersion: v0.26.1}\n"

func readText(t *testing.T, text string) (*Cluster, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cluster.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return ReadCluster(file)
}

// TestHookURLs reads the addresses of a site's HookOS, also from what kubectl prints.
func TestHookURLs(t *testing.T) {
	const datacenter = "kind: TinkerbellDatacenterConfig\nspec: {hookImagesURLPath: \"http://192.0.2.1:8080\", hookIsoURL: \"http://192.0.2.1:8080/hook.iso\"}\n"
	list := "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: anywhere.eks.amazonaws.com/v1alpha1, kind: Cluster, metadata: {name: plant}, spec: {eksaVersion: v0.26.1}}\n" +
		"- {kind: TinkerbellDatacenterConfig, spec: {hookImagesURLPath: \"http://192.0.2.1:8080\", hookIsoURL: \"http://192.0.2.1:8080/hook.iso\"}}\n"
	for name, text := range map[string]string{"documents": plant + "---\n" + datacenter, "list": list} {
		c, err := readText(t, text)
		if err != nil {
			t.Fatal(err)
		}
		if c.HookImagesURL != "http://192.0.2.1:8080" || c.HookISOURL != "http://192.0.2.1:8080/hook.iso" || c.Version != "v0.26.1" {
			t.Errorf("%s: %+v", name, c)
		}
	}
	_, err := readText(t, plant+"---\nkind: TinkerbellDatacenterConfig\nspec:\n  hookImagesURLPath: 192.0.2.1:8080\n")
	wantError(t, err, "line 8: spec.hookImagesURLPath", "http://")
	if c, err := readText(t, plant+"---\nkind: TinkerbellDatacenterConfig\nspec: {}\n"); err != nil || c.HookImagesURL != "" {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestWorkflowsOfV1alpha2 reads the actions of objects that have no tasks.
func TestWorkflowsOfV1alpha2(t *testing.T) {
	all, err := parseActions([]byte("apiVersion: tinkerbell.org/v1alpha2\nkind: Workflow\nspec:\n  templateRef: {name: disk}\n---\n" +
		"apiVersion: tinkerbell.org/v1alpha2\nkind: Template\nmetadata: {name: disk}\nspec:\n  actions:\n  - {name: stream, image: 127.0.0.1/embedded/image2disk}\n"))
	if err != nil || len(all.All) != 1 || all.All[0].Image != "127.0.0.1/embedded/image2disk" || len(all.Refs) != 1 || all.Refs[0].Name != "disk" {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestSignatureVerdicts(t *testing.T) {
	signed := parseSample(t, "signed.yaml")
	if got := signed.Signature(); got != SignatureValid {
		t.Errorf("signed: %s", got)
	}
	signed.doc.Spec.Number++
	if got := signed.Signature(); got != SignatureWrong {
		t.Errorf("changed: %s", got)
	}
	if got := parseSample(t, "actions.yaml").Signature(); got != SignatureAbsent {
		t.Errorf("unsigned: %s", got)
	}
}
