package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"hookbuild/internal/initramfs"
	"hookbuild/test/corpus"
	"hookbuild/test/corpus/expect"
	"hookbuild/test/lab"
)

// embeddedName returns the name of an embedded image in EKS Anywhere's templates.
func embeddedName(image string) string { return "127.0.0.1/embedded/" + image }

// judge shows what the machine reported, and returns an error if it is wrong.
func (d *demo) judge(r lab.Report) error {
	return d.step("Check what the machine reported", func() (string, error) {
		d.figures(r)
		return "", errors.Join(judgeImages(r), judgeRun(r, d.arch), d.judgeAll(r))
	})
}

func (d *demo) figures(r lab.Report) {
	mounted, _ := r.Event("init.d", "001-images-mount.sh")
	ready, _ := r.Event("dockerd-ready", "")
	d.say("image store in place %.1f s after the kernel started, dockerd ready after %.1f s (emulated)", mounted.At.Seconds(), ready.At.Seconds())
	d.say("memory: %d MB of %d MB available with dockerd up; %d MB held by files", ready.KiB("MemAvailable")/1e6, ready.KiB("MemTotal")/1e6, ready.KiB("Shmem")/1e6)
	d.say("dockerd: %s", strings.TrimSpace(r.Sections["driver"].Output))
}

// judgeImages returns an error unless dockerd's list has exactly the seven names.
func judgeImages(r lab.Report) error {
	images, ok := r.Sections["images"]
	if !ok {
		return errors.New("the machine did not list its images; its console is above")
	}
	var got, want []string
	for line := range strings.Lines(images.Output) {
		if f := strings.Fields(line); len(f) > 2 && f[0] != "REPOSITORY" {
			got = append(got, f[0]+":"+f[1])
		}
	}
	for _, name := range corpus.Names() {
		want = append(want, embeddedName(name)+":latest")
	}
	slices.Sort(got)
	slices.Sort(want)
	if images.Exit != 0 || !slices.Equal(got, want) {
		return fmt.Errorf("`docker images` in the machine lists %q (exit code %d) instead of %q", got, images.Exit, want)
	}
	return nil
}

// judgeRun returns an error unless the worker reported that its files are unchanged.
func judgeRun(r lab.Report, arch string) error {
	run := r.Sections["run"]
	return judgeOutput(run.Output, run.Exit, corpus.Worker, arch)
}

func judgeOutput(output string, exit int, image, arch string) error {
	want := expect.Well(image, arch)
	if exit != 0 || !strings.Contains(output, want) {
		return fmt.Errorf("running %q in the machine printed %q (exit code %d) instead of %q", embeddedName(image), strings.TrimSpace(output), exit, want)
	}
	return nil
}

// judgeAll checks the images that the extra script ran.
func (d *demo) judgeAll(r lab.Report) error {
	if !d.all {
		return nil
	}
	var wrong []error
	check := r.Sections["check"]
	for _, name := range corpus.Names() {
		wrong = append(wrong, judgeOutput(check.Output, check.Exit, name, d.arch))
		if !strings.Contains(check.Output, "saved ok: "+embeddedName(name)+"\n") {
			wrong = append(wrong, fmt.Errorf("saving %q in the machine did not restore its layers", embeddedName(name)))
		}
	}
	return errors.Join(wrong...)
}

//go:embed check.sh
var checkScript string

// writeCheck writes an initramfs segment with a script that checks each image in the
// machine.
func writeCheck(ctx context.Context, name string, images []string, arguments string) (err error) {
	var embedded []string
	for _, image := range images {
		embedded = append(embedded, embeddedName(image))
	}
	script := fmt.Sprintf("#!/bin/sh\nimages='%s' arguments='%s'\n%s", strings.Join(embedded, " "), arguments, checkScript)
	e := initramfs.BytesFile("etc/hookbuild-lab/check.sh", []byte(script), initramfs.Epoch())
	e.Mode = 0o755
	var tree initramfs.Tree
	if err := tree.Add(e); err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	err = initramfs.WriteSegment(ctx, f, &tree, initramfs.SegmentOptions{Compression: initramfs.None})
	return errors.Join(err, f.Close())
}
