package main

// nameGroup is a title and the names of the commands or options below it, the
// most wanted first.
type nameGroup struct {
	title string
	names []string
}

// commandGroups returns the order in which help lists the commands. A command
// in no group follows under "Other commands".
func commandGroups() []nameGroup {
	return []nameGroup{
		{"Build a HookOS", []string{"all", "embed", "linuxkit", "images", "flavors"}},
		{"Change the kernel", []string{"kernel-config", "kernel", "containers"}},
		{"Check the result", []string{"verify", "inspect", "run", "extract-image"}},
		{"Boot machines with it", []string{"serve", "dhcp", "netboot"}},
		{"Build in CI", []string{"matrix"}},
		{"About this program and machine", []string{"doctor", "help", "cache", "version", "completion", "man"}},
	}
}

// optionGroups returns the groups of options that several commands share.
// Options in no group are a command's own and come first.
func optionGroups() []nameGroup {
	return []nameGroup{
		{"Images to embed", []string{
			"embed-from-bundle", "from-bundle", "eksa-version", "bundle", "image", "images-file",
			"kube-version", "releases-url", "keep-source-names", "require-signature",
		}},
		{"The Tinkerbell worker", []string{"worker-image", "worker-from", "no-worker"}},
		{"The kernel", []string{
			"kernel", "kernel-version", "source", "sha256", "accept-lost", "source-mirror",
		}},
		{"Kernel options", []string{"set", "fragment"}},
		{"Kernel modules and firmware", []string{"modules", "without-modules", "firmware", "no-strip"}},
		{"The container that compiles", []string{"builder-image", "builder-base", "builder-network"}},
		{"Storage of the images", []string{"layout", "pack-compression", "pack-block"}},
		{"The initramfs and other outputs", []string{
			"template", "no-build-containers", "compression", "level", "max-size", "report", "tar", "iso", "iso-loader",
		}},
		{"Addresses and names", []string{
			"tinkerbell-ip", "bootstrap-ip", "phase", "subnet", "domain", "lease", "interface", "tag", "user-class", "no-vlan-option",
			"script-url", "binary-url", "http-port", "script-path", "binary-path", "bios-file", "x86-file", "arm64-file",
		}},
	}
}

// example is a command line that works as it is in a Hook checkout or beside
// the files it names, and what it is for.
type example struct{ what, line string }

// examples maps a command's full name to its examples; "" is the program.
func examples() map[string][]example {
	return map[string][]example{
		"": {
			{"Build a HookOS with the action images of the newest EKS Anywhere release:", "hookbuild all --embed-from-bundle"},
			{"Check the result, and that it holds every image of a cluster's actions:", "hookbuild verify --template cluster.yaml"},
		},
		"all": {
			{"The images of one EKS Anywhere release, and a newer kernel:", "hookbuild all hook-latest-lts-amd64 --embed-from-bundle --eksa-version v0.24.1"},
			{"Images of your own, under the names that your templates use:", "hookbuild all --image registry.example/tools:1=127.0.0.1/embedded/tools"},
			{"Compile the kernel with one more driver:", "hookbuild all --embed-from-bundle --kernel build --set CONFIG_ICE=m"},
		},
		"linuxkit": {
			{"The HookOS of the checkout, without action images:", "hookbuild linuxkit hook-latest-lts-amd64"},
			{"Any LinuxKit document, into out/try:", "hookbuild linuxkit --yaml machine.yaml --name try"},
		},
		"serve": {
			{"Serve the newest build to machines and BMCs:", "hookbuild serve out/hook --listen :8080"},
			{"Ask a server for all that it should have:", "hookbuild serve --check http://192.0.2.9:8080"},
		},
		"images": {
			{"What the newest release embeds, in the form of images.txt:", "hookbuild images"},
			{"The images of a bundle manifest, as JSON:", "hookbuild images --bundle bundle-release.yaml --json"},
		},
		"embed": {
			{"Add a bundle's images to an initramfs:", "hookbuild embed --initramfs initramfs-x86_64 --vmlinuz vmlinuz-x86_64 -o new --from-bundle"},
			{"Add images to a HookOS as a whole, and verify the result:", "hookbuild embed --base hook --out out --from-bundle && hookbuild verify"},
			{"List the images that an initramfs holds:", "hookbuild embed --list initramfs-x86_64"},
		},
		"extract-image": {
			{"Load an embedded image into the local Docker:", "hookbuild extract-image initramfs-x86_64 127.0.0.1/embedded/cexec | docker load"},
		},
		"kernel-config": {
			{"Edit the configuration in the kernel's menu:", "hookbuild kernel-config hook-latest-lts-amd64"},
			{"Switch one option on, without a terminal:", "hookbuild kernel-config hook-latest-lts-amd64 --set CONFIG_ICE=m"},
			{"Compare with another flavor:", "hookbuild kernel-config hook-latest-lts-amd64 --diff hook-default-amd64"},
		},
		"kernel": {
			{"Compile a flavor's kernel into the local Docker:", "hookbuild kernel hook-latest-lts-amd64"},
			{"Compile a release of your choice and push it:", "HOOK_KERNEL_OCI_BASE=registry.example/hook/kernel hookbuild kernel hook-latest-lts-amd64 --kernel-version 60 --push"},
			{"Pin the newest release of the series:", "hookbuild kernel hook-latest-lts-amd64 --lock"},
		},
		"containers": {
			{"Build the checkout's containers that no registry has:", "hookbuild containers"},
		},
		"verify": {
			{"Check the artifacts in out/hook:", "hookbuild verify"},
			{"Check also that each action of a cluster finds its image:", "hookbuild verify --template cluster.yaml"},
		},
		"inspect": {
			{"Which drivers does a machine find? Run lspci -nn on it, then:", "hookbuild inspect out/hook/vmlinuz-x86_64 out/hook/initramfs-x86_64 --lspci machine.txt"},
			{"Is an option set?", "hookbuild inspect out/hook/vmlinuz-x86_64 --config CONFIG_ICE"},
			{"What changed since the last release, in the terminal and as a page?", "hookbuild inspect --diff old/hook out/hook --html report.html"},
		},
		"run": {
			{"Boot the HookOS in out/hook; Ctrl-A x ends it:", "hookbuild run"},
			{"As a worker of a Tinkerbell, with a disk:", "hookbuild run TINK_SERVER=192.0.2.1 MAC=52:54:00:12:34:56 --disk disk.img"},
		},
		"flavors": {
			{"Which flavors are there, and which is the default?", "hookbuild flavors"},
			{"Only those for arm64, as JSON:", "hookbuild flavors --arch arm64 --json"},
		},
		"matrix": {
			{"The jobs of a GitHub workflow, for flavors with the tag lts:", "hookbuild matrix CI_TAGS=lts"},
		},
		"dhcp": {
			{"The configuration of dnsmasq for the machines in hardware.csv:", "hookbuild dhcp dnsmasq --hardware hardware.csv --tinkerbell-ip 192.0.2.20 -o site.conf"},
			{"What does a site's file lack for network boot?", "hookbuild dhcp check --server dnsmasq site.conf"},
		},
		"dhcp check": {
			{"A site's dnsmasq configuration, against the machines in hardware.csv:", "hookbuild dhcp check --server dnsmasq --hardware hardware.csv --tinkerbell-ip 192.0.2.20 site.conf"},
		},
		"dhcp switch": {
			{"After the management cluster took over from the bootstrap cluster:", "hookbuild dhcp switch --server dnsmasq --hardware hardware.csv --bootstrap-ip 192.0.2.10 --tinkerbell-ip 192.0.2.20"},
		},
		"dhcp dnsmasq": {
			{"A whole configuration, checked before it is written:", "hookbuild dhcp dnsmasq --hardware hardware.csv --tinkerbell-ip 192.0.2.20 -o site.conf"},
			{"Only write only what an existing configuration includes:", "hookbuild dhcp dnsmasq --hardware hardware.csv --tinkerbell-ip 192.0.2.20 --fragment"},
		},
		"dhcp kea": {
			{"A whole configuration:", "hookbuild dhcp kea --hardware hardware.csv --tinkerbell-ip 192.0.2.20 -o kea-dhcp4.conf"},
		},
		"dhcp dhcpd": {
			{"A whole configuration:", "hookbuild dhcp dhcpd --hardware hardware.csv --tinkerbell-ip 192.0.2.20 -o dhcpd.conf"},
		},
		"dhcp windows": {
			{"A script for PowerShell:", "hookbuild dhcp windows --hardware hardware.csv --tinkerbell-ip 192.0.2.20 -o dhcp.ps1"},
		},
		"netboot": {
			{"Network boot for a lab, from this machine:", "hookbuild netboot serve out/hook --ip 192.0.2.10"},
		},
		"netboot serve": {
			{"Serve beside a DHCP server that sends machines here:", "hookbuild netboot serve out/hook --ip 192.0.2.10"},
			{"Answer DHCP too, for the machines of hardware.csv alone:", "hookbuild netboot serve out/hook --ip 192.0.2.10 --hardware hardware.csv --dhcp --interface eth1"},
		},
		"doctor": {
			{"Before the first build:", "hookbuild doctor"},
			{"At a site with a mirror:", "hookbuild doctor --mirror public.ecr.aws=mirror.example:443"},
		},
		"cache": {
			{"What does the cache hold?", "hookbuild cache ls"},
			{"Make room on a full disk:", "hookbuild cache prune --max-size 5GB"},
		},
		"cache ls": {
			{"What does the cache hold?", "hookbuild cache ls"},
		},
		"cache prune": {
			{"What was not used for a month, without removing it:", "hookbuild cache prune --older 30d --dry-run"},
			{"Make room on a full disk:", "hookbuild cache prune --max-size 5GB"},
		},
		"cache verify": {
			{"After a crash or on a disk in doubt:", "hookbuild cache verify"},
		},
		"version": {
			{"What to put into a bug report:", "hookbuild version"},
		},
		"completion": {
			{"In bash, for this session:", "source <(hookbuild completion bash)"},
		},
		"completion bash": {
			{"In bash, for this session:", "source <(hookbuild completion bash)"},
			{"For all sessions:", "hookbuild completion bash > ~/.local/share/bash-completion/completions/hookbuild"},
		},
		"completion zsh": {
			{"In zsh, after compinit:", "source <(hookbuild completion zsh)"},
		},
		"completion fish": {
			{"In fish:", "hookbuild completion fish | source"},
		},
		"man": {
			{"Read the manual page:", "hookbuild man | man -l -"},
		},
		"help": {
			{"What `all` takes:", "hookbuild help all"},
		},
	}
}
