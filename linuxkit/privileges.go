package linuxkit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// capabilityNames returns every capability of Linux by number, from
// include/uapi/linux/capability.h up to Linux 6.x.
func capabilityNames() []string {
	names := strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP
		LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE
		SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
		SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG
		WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`)
	for i, name := range names {
		names[i] = "CAP_" + name
	}
	return names
}

// specCapabilities returns the five sets. Effective is the given list;
// bounding, inheritable and permitted are its union with ambient.
func specCapabilities(conf ContainerConfig) (*specs.LinuxCapabilities, error) {
	effective, err := expandCapabilities(conf.Capabilities)
	if err != nil {
		return nil, fmt.Errorf("capabilities: %w", err)
	}
	ambient, err := expandCapabilities(conf.Ambient)
	if err != nil {
		return nil, fmt.Errorf("ambient: %w", err)
	}
	union := slices.Concat(effective, ambient)
	slices.Sort(union)
	union = slices.Compact(union)
	return &specs.LinuxCapabilities{Bounding: union, Effective: effective, Inheritable: union, Permitted: union, Ambient: ambient}, nil
}

// expandCapabilities expands a lone "all" or "none", in any case, and rejects
// unknown names.
func expandCapabilities(list []string) ([]string, error) {
	all := capabilityNames()
	if len(list) == 1 && strings.EqualFold(list[0], "all") {
		return all, nil
	}
	if len(list) == 1 && strings.EqualFold(list[0], "none") {
		return nil, nil
	}
	for _, name := range list {
		if slices.Contains(all, name) {
			continue
		}
		if strings.EqualFold(name, "all") || strings.EqualFold(name, "none") {
			return nil, fmt.Errorf("%q must be alone, but is in the list %v (of the image's label and the document's capabilities.add)", name, list)
		}
		return nil, fmt.Errorf("%q is not a capability: use names such as CAP_NET_ADMIN, all or none", name)
	}
	return list, nil
}

func specRlimits(texts []string) ([]specs.POSIXRlimit, error) {
	var limits []specs.POSIXRlimit
	for _, text := range texts {
		limit, err := parseRlimit(text)
		if err != nil {
			return nil, fmt.Errorf("rlimit %q: %w", text, err)
		}
		limits = append(limits, limit)
	}
	return limits, nil
}

// parseRlimit parses "name,soft,hard", the name with or without RLIMIT_.
func parseRlimit(text string) (limit specs.POSIXRlimit, err error) {
	parts := strings.SplitN(text, ",", 3)
	if len(parts) != 3 {
		return limit, fmt.Errorf("it is not NAME,SOFT,HARD")
	}
	name := strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(parts[0])), "RLIMIT_")
	known := []string{"AS", "CORE", "CPU", "DATA", "FSIZE", "LOCKS", "MEMLOCK", "MSGQUEUE", "NICE", "NOFILE", "NPROC", "RSS", "RTPRIO", "RTTIME", "SIGPENDING", "STACK"}
	if !slices.Contains(known, name) {
		return limit, fmt.Errorf("%q is not a limit; the limits are %s", name, strings.Join(known, ", "))
	}
	limit.Type = "RLIMIT_" + name
	if limit.Soft, err = parseLimit(parts[1]); err != nil {
		return limit, err
	}
	limit.Hard, err = parseLimit(parts[2])
	return limit, err
}

func parseLimit(text string) (uint64, error) {
	text = strings.TrimSpace(text)
	if strings.EqualFold(text, "unlimited") {
		return ^uint64(0), nil // RLIM_INFINITY
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is neither a number nor unlimited", text)
	}
	return n, nil
}
