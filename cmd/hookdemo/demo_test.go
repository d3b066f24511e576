package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"hookbuild/test/corpus"
	"hookbuild/test/corpus/expect"
	"hookbuild/test/lab"
)

func reportWith(images, run string) lab.Report {
	return lab.ParseConsole("hookos-demo: output of images:\n" + images + "\nhookos-demo: end of images, exit code 0\nhookos-demo: output of run:\n" + run + "\nhookos-demo: end of run, exit code 0\n")
}

func allImages() string {
	list := "REPOSITORY TAG IMAGE CREATED SIZE\n"
	for _, name := range corpus.Names() {
		list += fmt.Sprintf("%s   latest   0123   3 years ago   4MB\n", embeddedName(name))
	}
	return list
}

// TestJudge checks which reports of the machine are a success.
func TestJudge(t *testing.T) {
	well := expect.Well("tink-worker", "amd64") + ": 5 files"
	few := strings.ReplaceAll(allImages(), "embedded/kexec", "embedded/other")
	for name, c := range map[string]struct {
		images, run string
		wrong       string
	}{
		"all well":        {allImages(), well, ""},
		"an image lacks":  {few, well, "embedded/kexec"},
		"one too many":    {allImages() + "x latest 1 2 3\n", well, "x:latest"},
		"none":            {"REPOSITORY TAG\n", well, "lists []"},
		"a file is wrong": {allImages(), "corpus bad: 1 differences", "corpus bad"},
		"wrong machine":   {allImages(), strings.ReplaceAll(well, "amd64", "arm64"), "arm64"},
	} {
		r := reportWith(c.images, c.run)
		err := errors.Join(judgeImages(r), judgeRun(r, "amd64"))
		if (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if judgeImages(lab.ParseConsole("Kernel panic")) == nil {
		t.Error("a machine that never answered is a success")
	}
}

func TestStory(t *testing.T) {
	var out bytes.Buffer
	s := newStory(&out)
	at := time.Unix(0, 0)
	s.now = func() time.Time { at = at.Add(1500 * time.Millisecond); return at }
	if err := s.step("Do it", func() (string, error) { return "done", nil }); err != nil {
		t.Fatal(err)
	}
	if err := s.step("Fail", func() (string, error) { return "", errors.New("no") }); err == nil || err.Error() != "Fail: no" {
		t.Errorf("got %v", err)
	}
	w := s.prefixed("> ")
	for _, part := range []string{"a", "b\r\nc\n", "rest"} {
		if _, err := w.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	want := "\n== Do it\n   done, 1.5 s\n\n== Fail\n> ab\n> c\n> rest\n"
	if got := out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
