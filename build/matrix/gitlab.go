package matrix

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"hookbuild/internal/fault"
	"hookbuild/internal/words"
)

// pipeline is a child pipeline of GitLab. Its jobs, by name, are keys of the
// document itself.
type pipeline struct {
	Stages []string       `yaml:"stages"`
	Jobs   map[string]job `yaml:",inline"`
}

type job struct {
	Stage     string    `yaml:"stage"`
	Tags      []string  `yaml:"tags,omitempty"`
	Needs     []string  `yaml:"needs"` // empty: the job waits for no other
	Script    []string  `yaml:"script"`
	Artifacts artifacts `yaml:"artifacts"`
}

type artifacts struct {
	Paths  []string `yaml:"paths"`
	Expire string   `yaml:"expire_in,omitempty"`
}

// WriteGitLab writes the kernels and HookOS as a child pipeline for GitLab. Only
// the variables CI_RUNNER... choose the tags of the runners, because labels of
// GitHub's runners mean nothing there. The jobs run hookbuild from PATH with the
// options args.
func (m Matrix) WriteGitLab(w io.Writer, env func(key string) string, args ...string) error {
	if len(m.Hooks) == 0 {
		return fault.Usagef("writing a pipeline for GitLab: no flavor has one of the tags, and GitLab refuses a pipeline without jobs; choose others with --tags")
	}
	p := pipeline{Stages: []string{"kernel", "hookos"}, Jobs: map[string]job{}}
	for _, k := range m.Kernels {
		p.Jobs[kernelJob(k.Kernel)] = job{
			Stage: "kernel", Tags: k.gitlabTags(env, "KERNEL"), Needs: []string{},
			Script:    []string{command(args, "kernel", k.Kernel, "--no-load", "--export", "kernel.tar")},
			Artifacts: artifacts{[]string{"kernel.tar"}, "1 day"},
		}
	}
	for _, h := range m.Hooks {
		out := "out/" + h.Kernel
		words, needs := []string{"all", h.Kernel, "--out", out}, []string{}
		if slices.ContainsFunc(m.Kernels, func(k Entry) bool { return k.Kernel == h.source }) {
			words = append(words, "--kernel", "image:docker-archive:kernel.tar")
			needs = append(needs, kernelJob(h.source))
		} else if h.KernelImage != "" {
			words = append(words, "--kernel", "image:"+h.KernelImage)
		}
		p.Jobs["hookos "+h.Kernel] = job{
			Stage: "hookos", Tags: h.gitlabTags(env, "LK"), Needs: needs,
			Script: []string{command(args, words...)}, Artifacts: artifacts{Paths: []string{out}},
		}
	}
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(p); err != nil {
		return fmt.Errorf("writing the pipeline: %w", err)
	}
	return enc.Close()
}

func kernelJob(id string) string { return "kernel " + id }

// gitlabTags returns the tags of the runner for a job of the entry.
func (e Entry) gitlabTags(env func(string) string, kind string) []string {
	typ := ""
	if kind == "KERNEL" {
		typ = strings.ToUpper(e.typ)
	}
	return strings.Fields(ownRunner(env, kind, typ, strings.ToUpper(e.DockerArch)))
}

// command returns the line of a shell that runs hookbuild.
func command(args []string, first ...string) string {
	line := "hookbuild"
	for _, word := range slices.Concat(first, args) {
		line += " " + words.Shell(word)
	}
	return line
}
