package main

import (
	"maps"
	"slices"
	"strings"

	"hookbuild/internal/nearest"
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
