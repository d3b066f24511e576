package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/internal/nearest"
	"hookbuild/internal/progress"
)

// knownVariables returns the variables that build.sh's users set, and two common
// ones at the end that hookbuild reads too.
func knownVariables() []string {
	return []string{
		"DEBUG", "HOOK_VERSION", "HOOK_KERNEL_OCI_BASE", "HOOK_LK_CONTAINERS_OCI_BASE", "CACHE_DIR",
		"USE_LATEST_BUILT_KERNEL", "FORCE_BUILD_KERNEL", "KERNEL_POINT_RELEASE", "FORCE_OUTPUT_ID", "USE_KERNEL_ID",
		"DO_PUSH", "DO_BUILD_LK_CONTAINERS", "EXPORT_KERNEL_IMAGE", "EXPORT_KERNEL_IMAGE_DIR",
		"EXPORT_LK_CONTAINERS", "EXPORT_LK_CONTAINERS_DIR", "DOCKER_ARCH", "LINUXKIT_ISO", "OUTPUT_TARBALL_FILELIST",
		"ARMBIAN_KERNEL_VERSION", "ARMBIAN_BASE_ORAS_REF", "TINK_SERVER", "MAC", "TINK_WORKER_IMAGE", "TINK_TLS", "TINK_GRPC_PORT",
		"CI_TAGS", "CI_RUNNERS_SELF_HOSTED_TAG", "CI_RUNNER",
		"GITHUB_OUTPUT", "SOURCE_DATE_EPOCH",
	}
}

// runnerPrefix is the prefix of the variables that choose CI's runners by kind and
// architecture.
const runnerPrefix = "CI_RUNNER_"

// unusedVariables returns the variables of build.sh that have no effect here, and why.
func unusedVariables() map[string]string {
	return map[string]string{
		"LINUXKIT_VERSION":             "hookbuild assembles HookOS itself, without the linuxkit tool",
		"LINUXKIT_VERSION_DEFAULT":     "hookbuild assembles HookOS itself, without the linuxkit tool",
		"SKOPEO_IMAGE":                 "hookbuild asks registries itself, without skopeo",
		"DOCKER_BUILDX_PROGRESS_TYPE":  "--progress says how progress is shown",
		"SHELLCHECK_VERSION":           "./build.sh checks its own scripts",
		"SHELLFMT_VERSION":             "./build.sh checks its own scripts",
		"ARMBIAN_KERNEL_BASE_ORAS_REF": "ARMBIAN_BASE_ORAS_REF names where Armbian's kernels are",
	}
}

// isArgument reports whether a variable is one of the KEY=VALUE arguments.
func (a *app) isArgument(name string) bool {
	_, is := a.variables[name]
	return is
}

// assignment returns how a variable is set, for messages: KEY=VALUE, and where that is
// from, unless it is an argument.
func (a *app) assignment(name string) string {
	text := name + "=" + a.variable(name)
	switch {
	case a.isArgument(name):
		return text
	case a.getenv(name) != "":
		return text + " (in the environment)"
	case a.siteVariable(name) != "":
		return text + " (in " + a.site.Path + ")"
	}
	return text
}

// origin returns what sets an option that a variable may set too, for messages.
func (a *app) origin(c *cli.Context, flag, variable string) string {
	if c.IsSet(flag) || a.variable(variable) == "" {
		return fmt.Sprintf("--%s %q", flag, c.String(flag))
	}
	return a.assignment(variable)
}

// commandsOf returns the commands for which build.sh's variables have an effect, of
// those that have one for a few commands.
func commandsOf() map[string][]string {
	builds := []string{"all", "linuxkit", "qemu", "lock", "plan", "kit", "doctor"}
	kernel, containers := []string{"kernel"}, []string{"containers"}
	return map[string][]string{
		"HOOK_VERSION": builds, "USE_LATEST_BUILT_KERNEL": builds, "LINUXKIT_ISO": builds, "OUTPUT_TARBALL_FILELIST": builds,
		"DO_BUILD_LK_CONTAINERS": append(builds[:len(builds):len(builds)], containers...),
		"DO_PUSH":                {"kernel", "containers"},
		"FORCE_BUILD_KERNEL":     kernel, "EXPORT_KERNEL_IMAGE": kernel, "EXPORT_KERNEL_IMAGE_DIR": kernel,
		"EXPORT_LK_CONTAINERS": containers, "EXPORT_LK_CONTAINERS_DIR": containers,
	}
}

// warnOfVariables warns of variables that do not do what their value says: arguments
// without effect on the command, and words that are neither yes nor no.
func (a *app) warnOfVariables() {
	if len(a.names) == 0 {
		return
	}
	commands := commandsOf()
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		value := a.given(name)
		if !a.isArgument(name) || value == "" || isNo(value) || slices.Contains(commands[name], a.names[0]) {
			continue
		}
		progress.Warnf(a.sink(), "%s has no effect on `hookbuild %s`; it has one on `hookbuild %s`", a.assignment(name), a.typedCommand, strings.Join(commands[name], "`, `hookbuild "))
	}
	for _, name := range []string{"USE_LATEST_BUILT_KERNEL", "LINUXKIT_ISO"} {
		if a.oddWord(name) {
			progress.Warnf(a.sink(), "%s counts as yes, as every word does except no, n, 0, false and off", a.assignment(name))
		}
	}
	for _, name := range []string{"FORCE_BUILD_KERNEL", "DO_PUSH", "DO_BUILD_LK_CONTAINERS", "EXPORT_KERNEL_IMAGE", "EXPORT_LK_CONTAINERS", "OUTPUT_TARBALL_FILELIST"} {
		if a.oddWord(name) {
			progress.Warnf(a.sink(), "%s counts as no, as every word does except yes, y, 1, true and on", a.assignment(name))
		}
	}
}

// oddWord reports whether a variable is neither a word for yes nor one for no.
func (a *app) oddWord(name string) bool {
	value := a.given(name)
	return value != "" && !truth(value) && !isNo(value)
}

// checkVariables rejects KEY=VALUE words that nothing reads, because a misspelled
// variable would silently change the build.
func checkVariables(variables map[string]string) error {
	known := knownVariables()
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		if slices.Contains(known, name) || strings.HasPrefix(name, runnerPrefix) {
			continue
		}
		if why := unusedVariables()[name]; why != "" {
			return usagef("%s has no effect: %s; leave it out", name, why)
		}
		if near := nearest.Word(name, known); near != "" {
			return usagef("%s=%s: unknown variable; did you mean %s?", name, variables[name], near)
		}
		return usagef("%s=%s: unknown variable; build.sh's and hookbuild's are listed in docs/reference.md, \"Environment variables\"", name, variables[name])
	}
	return nil
}
