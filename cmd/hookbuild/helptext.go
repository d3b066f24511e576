package main

// nameGroup is a title and the names of the commands or options below it, most
// used first.
type nameGroup struct {
	title string
	names []string
}

// commandGroups returns the order in which help lists the commands. A command
// in no group follows under "Other commands".
func commandGroups() []nameGroup {
	return []nameGroup{
		{"Build a HookOS", []string{"all", "plan", "embed", "linuxkit", "images", "flavors"}},
		{"Keep choices and inputs in files, for building the same again", []string{"init", "lock", "kit", "schema"}},
		{"Change the kernel", []string{"kernel-config", "kernel", "containers"}},
		{"Check the result", []string{"verify", "inspect", "run", "extract-image"}},
		{"Publish it, and boot machines with it", []string{"serve", "netboot", "dhcp", "push", "pull", "sbom"}},
		{"This machine, CI and the shell", []string{"doctor", "cache", "matrix", "completion", "man", "version", "help"}},
	}
}

// optionGroups returns the groups of options that several commands share.
// Options in no group are a command's own and come first.
func optionGroups() []nameGroup {
	return []nameGroup{
		{"Images to embed", []string{
			"embed-from-bundle", "from-bundle", "cluster", "eksa-version", "bundle", "image", "images-file",
			"kube-version", "releases-url", "keep-source-names", "require-signature",
		}},
		{"The Tinkerbell worker", []string{"worker-image", "worker-from", "no-worker"}},
		{"The lock", []string{"locked", "lock-file"}},
		{"The kernel", []string{
			"kernel", "kernel-version", "source", "sha256", "accept-lost", "source-mirror", "patch",
		}},
		{"Kernel options", []string{"set", "fragment"}},
		{"Kernel modules and firmware", []string{"module-source", "modules", "without-modules", "firmware", "no-strip"}},
		{"The container that compiles", []string{"builder", "builder-image", "builder-base", "builder-network"}},
		{"Storage of the images", []string{"layout", "pack-compression", "pack-block"}},
		{"The initramfs and other outputs", []string{
			"template", "overlay", "site", "no-build-containers", "compression", "level", "max-size", "report", "no-sbom", "tar", "iso", "iso-loader",
		}},
		{"Addresses and names", []string{
			"tinkerbell-ip", "bootstrap-ip", "phase", "subnet", "domain", "lease", "interface", "tag", "user-class", "no-vlan-option",
			"script-url", "binary-url", "http-port", "script-path", "binary-path", "bios-file", "x86-file", "arm64-file",
		}},
	}
}

// example is a command line that works in a Hook checkout or next to the files
// that it names, and its purpose.
type example struct{ what, line string }

// examples maps a command's full name to its examples; "" is the program.
func examples() map[string][]example {
	return map[string][]example{
		"": {
			{"Build a HookOS with the action images of the newest EKS Anywhere release:", "hookbuild all --embed-from-bundle"},
			{"Check the result, and that it holds every image of a cluster's actions:", "hookbuild verify --template cluster.yaml"},
		},
		"all": {
			{"Embed the images of one EKS Anywhere release:", "hookbuild all hook-latest-lts-amd64 --embed-from-bundle --eksa-version v0.24.1"},
			{"Embed your own images, under the names that your templates use:", "hookbuild all --image registry.example/tools:1=127.0.0.1/embedded/tools"},
			{"Build again exactly what hookbuild.lock says, or build it from a kit without a network:", "hookbuild all --locked --kit kit.tar"},
			{"Compile the kernel with an additional driver:", "hookbuild all --embed-from-bundle --kernel build --set CONFIG_ICE=m"},
		},
		"plan": {
			{"See what a build would download and compile, before it starts:", "hookbuild plan hook-latest-lts-amd64 --embed-from-bundle"},
			{"Print the bytes to download, for a script:", "hookbuild plan --embed-from-bundle --json | jq '.[].download.bytes'"},
		},
		"kit": {
			{"Save every input of the lock:", "hookbuild kit save -o kit.tar"},
			{"Check it at the site:", "hookbuild kit verify kit.tar"},
		},
		"kit save": {
			{"Save every input of the lock:", "hookbuild kit save -o kit.tar"},
			{"Save what the lock has and an older kit has not:", "hookbuild kit save -o new.tar --since kit.tar"},
		},
		"kit load": {
			{"Bring a kit and what continues it into the cache:", "hookbuild kit load kit.tar new.tar"},
			{"Bring it there for everyone who builds on this machine without a network:", "hookbuild kit load kit.tar --cache-dir /srv/hookbuild"},
		},
		"kit list": {
			{"List what a kit has, as JSON:", "hookbuild kit list kit.tar --json"},
			{"List what a kit and its continuation have together:", "hookbuild kit list kit.tar new.tar"},
		},
		"kit verify": {
			{"Check a kit and what continues it:", "hookbuild kit verify kit.tar new.tar"},
			{"Check a kit that was copied to a disk:", "hookbuild kit verify /media/usb/kit.tar"},
		},
		"lock": {
			{"Write what goes into a HookOS; hookbuild all --locked builds exactly that:", "hookbuild lock hook-latest-lts-amd64 --embed-from-bundle"},
			{"Look for a newer kernel and a newer bundle, and report what changed:", "hookbuild lock --update kernel bundle"},
		},
		"linuxkit": {
			{"Build the checkout's HookOS without action images:", "hookbuild linuxkit hook-latest-lts-amd64"},
			{"Change the template without a fork:", "hookbuild linuxkit --overlay site.yaml"},
			{"Build any LinuxKit document, into out/try:", "hookbuild linuxkit --yaml machine.yaml --name try"},
		},
		"init": {
			{"Write hookbuild.yaml from answers on the terminal:", "hookbuild init"},
			{"Write it for a cluster, with the drivers that its machines need:", "hookbuild init --cluster cluster.yaml --lspci machine.txt"},
		},
		"schema": {
			{"Write the schema beside hookbuild.yaml, where its first line expects it:", "hookbuild schema > hookbuild.schema.json"},
			{"Print the keys of the section site:", "hookbuild schema | jq '.properties.site.properties | keys'"},
		},
		"serve": {
			{"Serve the newest build to machines and BMCs:", "hookbuild serve out/hook --listen :8080"},
			{"Serve a HookOS that was pushed, from its registry:", "hookbuild serve registry.example/hookos:v1"},
			{"Check that a server serves everything that it should:", "hookbuild serve --check http://192.0.2.9:8080"},
		},
		"images": {
			{"List what the newest release embeds:", "hookbuild images"},
			{"List the images of a bundle manifest as JSON:", "hookbuild images --bundle bundle-release.yaml --json"},
		},
		"embed": {
			{"Embed a bundle's images into an initramfs:", "hookbuild embed --initramfs initramfs-x86_64 --vmlinuz vmlinuz-x86_64 -o new --from-bundle"},
			{"Embed images into a complete HookOS, and verify the result:", "hookbuild embed --base hook --out out --from-bundle && hookbuild verify"},
			{"List the images in an initramfs:", "hookbuild embed --list initramfs-x86_64"},
		},
		"extract-image": {
			{"Load an embedded image into the local Docker:", "hookbuild extract-image initramfs-x86_64 127.0.0.1/embedded/cexec | docker load"},
			{"Write it to a file:", "hookbuild extract-image -o cexec.tar initramfs-x86_64 127.0.0.1/embedded/cexec"},
		},
		"kernel-config": {
			{"Edit the configuration in the kernel's menu:", "hookbuild kernel-config hook-latest-lts-amd64"},
			{"Enable one option without a terminal:", "hookbuild kernel-config hook-latest-lts-amd64 --set CONFIG_ICE=m"},
			{"Compare with another flavor:", "hookbuild kernel-config hook-latest-lts-amd64 --diff hook-default-amd64"},
		},
		"kernel": {
			{"Compile a flavor's kernel into the local Docker:", "hookbuild kernel hook-latest-lts-amd64"},
			{"Compile a specific release and push it:", "HOOK_KERNEL_OCI_BASE=registry.example/hook/kernel hookbuild kernel hook-latest-lts-amd64 --kernel-version 60 --push"},
			{"Pin the newest release of the series:", "hookbuild kernel hook-latest-lts-amd64 --lock"},
		},
		"containers": {
			{"Build the checkout's containers that are not published:", "hookbuild containers"},
			{"Those for arm64, on a machine of that architecture:", "hookbuild containers --arch arm64 --builder arm64=ssh://me@arm.example.org"},
		},
		"verify": {
			{"Check the artifacts in out/hook:", "hookbuild verify"},
			{"Check also that each action of a cluster has its image:", "hookbuild verify --template cluster.yaml"},
			{"Boot them in QEMU with the hardware of your machines, for a CI job:", "hookbuild verify --boot --nic e1000e --disk megasas --junit boot.xml"},
			{"Boot the ISO image; dockerd in it must list the images and run one:", "hookbuild verify --boot --from-iso --require console,images,run"},
		},
		"inspect": {
			{"Find a machine's drivers: run lspci -nn > machine.txt on it, then:", "hookbuild inspect out/hook/vmlinuz-x86_64 out/hook/initramfs-x86_64 --lspci machine.txt"},
			{"Show whether an option is set:", "hookbuild inspect out/hook/vmlinuz-x86_64 --config CONFIG_ICE"},
			{"Show what changed since an older build, in the terminal and as a page:", "hookbuild inspect --diff old/hook out/hook --html report.html"},
		},
		"run": {
			{"Boot the HookOS in out/hook; press Ctrl-A x to stop:", "hookbuild run"},
			{"Boot it as a Tinkerbell worker, with a disk:", "hookbuild run TINK_SERVER=192.0.2.1 MAC=52:54:00:12:34:56 --disk disk.img"},
		},
		"flavors": {
			{"List all flavors and see which is the default:", "hookbuild flavors"},
			{"List those for arm64 as JSON:", "hookbuild flavors --arch arm64 --json"},
		},
		"sbom": {
			{"List what is in the HookOS in out/hook, for push to attach and verify to compare:", "hookbuild sbom"},
			{"List what is in a HookOS that was pulled:", "hookbuild sbom hookos"},
		},
		"push": {
			{"Push the HookOS in out/hook, with both architectures if both were built:", "hookbuild push registry.example/hookos:v1"},
			{"Push what hookbuild.lock says, under its tag, for matrix to find:", "hookbuild push ghcr.io/example/hookos --by-lock"},
			{"Push it from GitHub Actions, for the repository that built it:", "hookbuild push out ghcr.io/example/hookos:v1 --annotation org.opencontainers.image.source=https://github.com/example/hookos"},
		},
		"pull": {
			{"Pull a HookOS and serve it:", "hookbuild pull registry.example/hookos:v1 hookos && hookbuild serve hookos"},
			{"Pull one architecture:", "hookbuild pull registry.example/hookos:v1 hookos --arch arm64"},
		},
		"matrix": {
			{"Print the jobs for flavors with the tag lts:", "hookbuild matrix --tags lts"},
			{"Leave out kernels that the registry already has:", "hookbuild matrix --tags standard,lts --skip-published HOOK_KERNEL_OCI_BASE=ghcr.io/example/hook-kernel"},
			{"Leave out HookOS that were pushed from the same hookbuild.lock, too:", "hookbuild matrix --tags lts --skip-published --hookos ghcr.io/example/hookos"},
			{"Write a child pipeline for GitLab:", "hookbuild matrix --tags lts --format gitlab"},
		},
		"dhcp": {
			{"Configure dnsmasq for the machines in hardware.csv:", "hookbuild dhcp dnsmasq --hardware hardware.csv --tinkerbell-ip 192.0.2.20 -o site.conf"},
			{"Check a site's file for network boot:", "hookbuild dhcp check --server dnsmasq site.conf"},
		},
		"dhcp check": {
			{"Check a site's dnsmasq configuration against the machines in hardware.csv:", "hookbuild dhcp check --server dnsmasq --hardware hardware.csv --tinkerbell-ip 192.0.2.20 site.conf"},
			{"Check a configuration after the switch to the management cluster:", "hookbuild dhcp check --server dnsmasq --phase cluster --hardware hardware.csv --tinkerbell-ip 192.0.2.20 --bootstrap-ip 192.0.2.19 site.conf"},
			{"Check Kea's, where machines boot by BIOS too:", "hookbuild dhcp check --server kea --firmware uefi-x86_64,bios --hardware hardware.csv --tinkerbell-ip 192.0.2.20 kea-dhcp4.conf"},
		},
		"dhcp switch": {
			{"Switch to the management cluster when the bootstrap cluster is gone:", "hookbuild dhcp switch --server dnsmasq --hardware hardware.csv --bootstrap-ip 192.0.2.10 --tinkerbell-ip 192.0.2.20"},
			{"Change an existing file:", "hookbuild dhcp switch --server kea --hardware hardware.csv --bootstrap-ip 192.0.2.10 --tinkerbell-ip 192.0.2.20 kea-dhcp4.conf | patch -p0"},
		},
		"dhcp dnsmasq": {
			{"Write a complete configuration, checked beforehand:", "hookbuild dhcp dnsmasq --hardware hardware.csv --tinkerbell-ip 192.0.2.20 -o site.conf"},
			{"Write only what an existing configuration includes:", "hookbuild dhcp dnsmasq --hardware hardware.csv --tinkerbell-ip 192.0.2.20 --fragment"},
		},
		"dhcp kea": {
			{"Write a complete configuration, for the phase in which the management cluster is created:", "hookbuild dhcp kea --hardware hardware.csv --cluster cluster.yaml --bootstrap-ip 192.0.2.10 -o kea-dhcp4.conf"},
			{"Write only what an existing configuration includes, into a directory:", "hookbuild dhcp kea --hardware hardware.csv --tinkerbell-ip 192.0.2.20 --fragment -o /etc/kea/"},
		},
		"dhcp dhcpd": {
			{"Write a complete configuration, for the phase in which the management cluster is created:", "hookbuild dhcp dhcpd --hardware hardware.csv --cluster cluster.yaml --bootstrap-ip 192.0.2.10 -o dhcpd.conf"},
			{"Write only what an existing configuration includes:", "hookbuild dhcp dhcpd --hardware hardware.csv --tinkerbell-ip 192.0.2.20 --fragment -o /etc/dhcp/eksa.conf"},
		},
		"dhcp windows": {
			{"Write a PowerShell script:", "hookbuild dhcp windows --hardware hardware.csv --tinkerbell-ip 192.0.2.20 -o dhcp.ps1"},
			{"Write the script for the bootstrap cluster:", "hookbuild dhcp windows --hardware hardware.csv --bootstrap-ip 192.0.2.10 --tinkerbell-ip 192.0.2.20 --phase bootstrap -o dhcp.ps1"},
		},
		"netboot": {
			{"Serve network boot for a lab from this machine:", "hookbuild netboot serve out/hook --ip 192.0.2.10"},
			{"Serve it and answer DHCP, only for the machines in hardware.csv:", "hookbuild netboot serve out/hook --ip 192.0.2.10 --hardware hardware.csv --dhcp --interface eth1"},
		},
		"netboot serve": {
			{"Serve next to a DHCP server that sends machines here:", "hookbuild netboot serve out/hook --ip 192.0.2.10"},
			{"Answer DHCP too, only for the machines in hardware.csv:", "hookbuild netboot serve out/hook --ip 192.0.2.10 --hardware hardware.csv --dhcp --interface eth1"},
		},
		"doctor": {
			{"Check this machine before the first build, and what hookbuild.yaml needs:", "hookbuild doctor"},
			{"Check the registries and servers that a build with a compiled kernel needs:", "hookbuild doctor hook-latest-lts-amd64 --kernel build --embed-from-bundle"},
			{"Check it at a site with a mirror:", "hookbuild doctor --mirror public.ecr.aws=mirror.example:443"},
		},
		"cache": {
			{"List what the cache holds:", "hookbuild cache ls"},
			{"Free space on a full disk:", "hookbuild cache prune --max-size 5GB"},
		},
		"cache ls": {
			{"List what the cache holds:", "hookbuild cache ls"},
			{"List it for a script, with what kernel builds keep on another machine:", "hookbuild cache ls --builder arm64=ssh://me@arm.example.org --json"},
		},
		"cache prune": {
			{"List what was not used for a month, without removing it:", "hookbuild cache prune --older 30d --dry-run"},
			{"Free space on a full disk:", "hookbuild cache prune --max-size 5GB"},
		},
		"cache verify": {
			{"Check the cache after a crash or a disk error:", "hookbuild cache verify"},
			{"Check that of another directory:", "hookbuild cache verify --cache-dir /srv/hookbuild"},
		},
		"version": {
			{"Print what to put into a bug report:", "hookbuild version"},
			{"Print it for a script:", "hookbuild version --json"},
		},
		"completion": {
			{"Load completion into this bash session:", "source <(hookbuild completion bash)"},
			{"Load it into zsh, after compinit:", "source <(hookbuild completion zsh)"},
		},
		"completion bash": {
			{"Load completion into this bash session:", "source <(hookbuild completion bash)"},
			{"Install it for all sessions:", "hookbuild completion bash > ~/.local/share/bash-completion/completions/hookbuild"},
		},
		"completion zsh": {
			{"Load completion into zsh, after compinit:", "source <(hookbuild completion zsh)"},
			{"Install it for all sessions, in a directory of $fpath:", "hookbuild completion zsh > ~/.zfunc/_hookbuild"},
		},
		"completion fish": {
			{"Load completion into fish:", "hookbuild completion fish | source"},
			{"Install it for all sessions:", "hookbuild completion fish > ~/.config/fish/completions/hookbuild.fish"},
		},
		"man": {
			{"Read the manual page:", "hookbuild man | man -l -"},
			{"Install it for all users:", "hookbuild man > /usr/local/share/man/man1/hookbuild.1"},
		},
		"help": {
			{"Show the options of `all`:", "hookbuild help all"},
			{"Show those of a subcommand:", "hookbuild help dhcp check"},
		},
	}
}
