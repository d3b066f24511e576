package linuxkit

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestMerge(t *testing.T) {
	var docs []*Document
	for _, text := range []string{
		"kernel:\n  image: a/k:1\n  cmdline: first\n  tar: none\ninit: [a/init:1]\nservices:\n  - {name: s, image: a/s:1}\n",
		"init: [a/more:1]\nonboot:\n  - {name: s, image: a/s:1}\nvolumes:\n  - {name: v}\n",
		"kernel:\n  cmdline: last\n  ucode: u.cpio\nservices:\n  - {name: t, image: a/t:1, binds: [\"v:/v\"]}\nfiles:\n  - {path: /f, contents: x}\n",
	} {
		d, err := Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, d)
	}
	merged, err := Merge(docs...)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(merged)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"kernel":{"image":"a/k:1","cmdline":"last","tar":"none","ucode":"u.cpio"},"init":["a/init:1","a/more:1"],` +
		`"onboot":[{"name":"s","image":"a/s:1"}],"onshutdown":null,` +
		`"services":[{"name":"s","image":"a/s:1"},{"name":"t","image":"a/t:1","binds":["v:/v"]}],` +
		`"files":[{"path":"/f","directory":false,"contents":"x","optional":false}],"volumes":[{"name":"v"}]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if len(docs[0].Init) != 1 || docs[0].Kernel.Cmdline != "first" {
		t.Error("the first document changed")
	}
	if _, err := Merge(docs[0], docs[0]); err == nil || !strings.Contains(err.Error(), `"s" is also the name of the service`) {
		t.Errorf("a service twice: %v", err)
	}
}
