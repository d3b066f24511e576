package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/build"
	"hookbuild/build/matrix"
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

// isOfBootableMedia reports whether build.sh reads a variable only for bootable-media.
func isOfBootableMedia(name string) bool {
	return strings.HasPrefix(name, "UBOOT_") || slices.Contains([]string{"BOARD", "BRANCH", "CARD_DEVICE", "WORKER_ID"}, name)
}

// environmentVariables returns the variables that are read from the environment only,
// because other programs set or read them, too.
func environmentVariables() []string {
	return []string{
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "REGISTRY_USERNAME", "REGISTRY_PASSWORD", "EKSA_REGISTRY_MIRROR_CA",
		"SSL_CERT_FILE", "SSL_CERT_DIR", "DOCKER_CONFIG", "DOCKER_AUTH_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR",
		"XDG_CONFIG_HOME", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "XDG_CACHE_HOME",
		"HOME", "TMPDIR", "PATH", "TERM", "NO_COLOR", "GITHUB_ACTIONS", "SUDO_USER", "SUDO_UID", "GITHUB_STEP_SUMMARY",
		"GOMEMLIMIT",
	}
}

// checkAssignment rejects a flavor's name that looks like a variable, which is written
// in capitals.
func checkAssignment(word string) error {
	key, _, found := strings.Cut(word, "=")
	switch {
	case !found:
		return nil
	case slices.Contains(environmentVariables(), strings.ToUpper(key)): // whose value may be a password
		return usagef("%s is read from the environment only; write it before the command: `%s=… hookbuild …`", key, key)
	}
	return usagef("%s: unknown variable; build.sh's and hookbuild's are listed in docs/reference.md, \"Environment variables\"", word)
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
// those that have none for some commands.
func commandsOf() map[string][]string {
	builds := []string{"all", "linuxkit", "qemu", "lock", "plan", "kit", "doctor"}
	and := func(more ...string) []string { return slices.Concat(builds, more) }
	kernel, containers, matrix, machine := []string{"kernel"}, []string{"containers"}, []string{"matrix"}, []string{"run", "qemu"}
	return map[string][]string{
		"HOOK_VERSION": builds, "USE_LATEST_BUILT_KERNEL": builds, "LINUXKIT_ISO": builds, "OUTPUT_TARBALL_FILELIST": builds, "FORCE_OUTPUT_ID": builds,
		"HOOK_KERNEL_OCI_BASE":        and("kernel", "matrix"),
		"HOOK_LK_CONTAINERS_OCI_BASE": and("containers"),
		"KERNEL_POINT_RELEASE":        and("kernel", "kernel-config", "kernel-config-shell", "matrix"),
		"USE_KERNEL_ID":               and("kernel", "kernel-config", "kernel-config-shell"),
		"ARMBIAN_BASE_ORAS_REF":       and("kernel", "matrix"), "ARMBIAN_KERNEL_VERSION": and("kernel", "matrix"),
		"SOURCE_DATE_EPOCH": and("kernel"),
		"DOCKER_ARCH": and("kernel", "kernel-config", "kernel-config-shell", "containers", "run", "verify", "inspect", "images", "embed", "extract-image",
			"push", "pull", "serve", "flavors", "init"),
		"DO_BUILD_LK_CONTAINERS": and("containers"),
		"DO_PUSH":                {"kernel", "containers"},
		"FORCE_BUILD_KERNEL":     kernel, "EXPORT_KERNEL_IMAGE": kernel, "EXPORT_KERNEL_IMAGE_DIR": kernel,
		"EXPORT_LK_CONTAINERS": containers, "EXPORT_LK_CONTAINERS_DIR": containers,
		"TINK_SERVER": machine, "MAC": machine, "TINK_TLS": machine, "TINK_GRPC_PORT": machine, "TINK_WORKER_IMAGE": {"run", "qemu", "verify"},
		"CI_TAGS": matrix, "CI_RUNNER": matrix, "CI_RUNNERS_SELF_HOSTED_TAG": matrix, "GITHUB_OUTPUT": matrix,
	}
}

// switches returns the variables that are yes or no, and what every other word
// counts as.
func switches() map[string]string {
	return map[string]string{
		"USE_LATEST_BUILT_KERNEL": "yes", "LINUXKIT_ISO": "yes",
		"DEBUG": "no", "FORCE_BUILD_KERNEL": "no", "DO_PUSH": "no", "DO_BUILD_LK_CONTAINERS": "no", "EXPORT_KERNEL_IMAGE": "no", "EXPORT_LK_CONTAINERS": "no",
		"OUTPUT_TARBALL_FILELIST": "no",
	}
}

// asksNothing reports whether a variable's value asks for what is done without it.
func asksNothing(name, value string) bool {
	switch {
	case name == "DO_BUILD_LK_CONTAINERS":
		return value == "" || truth(value)
	case switches()[name] != "":
		return value == "" || isNo(value)
	}
	return value == ""
}

// warnOfVariables warns of variables that do not do what their value says: arguments
// without effect on the command, and words that are neither yes nor no.
func (a *app) warnOfVariables() {
	if len(a.names) == 0 {
		return
	}
	commands := commandsOf()
	for _, name := range slices.Sorted(maps.Keys(a.variables)) {
		key := name
		if strings.HasPrefix(name, runnerPrefix) {
			key = "CI_RUNNER"
		}
		on := commands[key]
		if on == nil || asksNothing(name, a.variables[name]) || slices.Contains(on, a.names[0]) {
			continue
		}
		progress.Warnf(a.sink(), "%s has no effect on `hookbuild %s`; it has one on %s", a.assignment(name), a.typedCommand, commandList(on))
	}
	counts := switches()
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		switch {
		case !a.oddWord(name), name == "DEBUG" && !a.isArgument(name): // other programs read DEBUG too
		case counts[name] == "yes":
			progress.Warnf(a.sink(), "%s counts as yes, as every word does except no, n, 0, false and off", a.assignment(name))
		default:
			progress.Warnf(a.sink(), "%s counts as no, as every word does except yes, y, 1, true and on", a.assignment(name))
		}
	}
}

// commandList names the commands, or the first of many.
func commandList(names []string) string {
	const most = 7
	if len(names) > most {
		return "`hookbuild " + strings.Join(names[:most], "`, `hookbuild ") + "` and others"
	}
	return "`hookbuild " + strings.Join(names, "`, `hookbuild ") + "`"
}

// oddWord reports whether a variable is neither a word for yes nor one for no.
func (a *app) oddWord(name string) bool {
	value := a.given(name)
	return value != "" && !truth(value) && !isNo(value)
}

// checkVariables rejects KEY=VALUE words of a command that nothing reads, because a
// misspelled variable would silently change the build.
func checkVariables(command string, variables map[string]string) error {
	known := slices.Concat(knownVariables(), matrix.RunnerVariables())
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		if slices.Contains(known, name) {
			continue
		}
		if why := unusedVariables()[name]; why != "" {
			return usagef("%s has no effect: %s; leave it out", name, why)
		}
		if slices.Contains(environmentVariables(), name) { // whose value may be a password
			return usagef("%s is read from the environment only; write it before the command: `%s=… %s`", name, name, strings.TrimSpace("hookbuild "+command))
		}
		if isOfBootableMedia(name) {
			return usagef("%s is a variable of build.sh's bootable-media, which is not supported; leave it out", name)
		}
		if near := nearest.Word(name, known); near != "" {
			return usagef("%s=%s: unknown variable; did you mean %s?", name, variables[name], near)
		}
		return usagef("%s=%s: unknown variable; build.sh's and hookbuild's are listed in docs/reference.md, \"Environment variables\"", name, variables[name])
	}
	return nil
}

// truth reports whether value is one of the words for yes in build.sh's variables.
func truth(value string) bool {
	switch strings.ToLower(value) {
	case "yes", "y", "1", "true", "on":
		return true
	}
	return false
}

// isNo reports whether value is one of the words for no.
func isNo(value string) bool {
	switch strings.ToLower(value) {
	case "no", "n", "0", "false", "off":
		return true
	}
	return false
}

// switchedOn reports whether a variable is set. It is for variables that build.sh
// only compares with the empty string. Unlike there, a word for no counts as unset.
func (a *app) switchedOn(name string) bool {
	value := a.variable(name)
	return value != "" && !isNo(value)
}

// variablePath returns the path that a variable has. As in build.sh, which changes to
// its own directory, a relative one is relative to the checkout around the current
// directory.
func (a *app) variablePath(c *cli.Context, name string) string {
	path := a.variable(name)
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(checkoutAbove(c), path)
}

// checkoutAbove returns the directory of the checkout that is a parent of the current
// directory, "" if that is in none, is one itself, or another one was chosen.
func checkoutAbove(c *cli.Context) string {
	if c.String("hook-dir") != "" {
		return ""
	}
	return build.WorkspaceAbove(".")
}
