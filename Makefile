# What a developer runs. "make" alone builds the program; "make help" lists the
# targets. Those that need other programs install them on Debian (see .ci/setup).

GO ?= go
PREFIX ?= /usr/local
DESTDIR ?=
BINDIR = $(DESTDIR)$(PREFIX)/bin
SHAREDIR = $(DESTDIR)$(PREFIX)/share
BUILD = CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w'
GOLANGCI_LINT = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
DEADCODE = golang.org/x/tools/cmd/deadcode@v0.52.0
ACTIONLINT = github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

.PHONY: help fuzz demo test kernels check e2e bench build install uninstall dist clean
.DEFAULT_GOAL := build

help: ## list the targets
	@sed -n 's/^\([a-z0-9]*\):[^#]*## \(.*\)/make \1	\2/p' $(MAKEFILE_LIST) | expand -t 16

# The main job on real input: images, a bundle and a kernel package become a
# HookOS that boots in QEMU and runs an embedded image.
demo: ## build a HookOS from real input and boot it; installs QEMU
	.ci/setup demo
	CGO_ENABLED=0 $(GO) run -trimpath ./cmd/hookdemo

test: ## run all tests; installs Docker and DHCP servers, for a container or throwaway VM
	.ci/setup test
	$(GO) test -timeout 30m ./...

# The proof that kernels compile: a small one is built in a container, one option
# of it is switched on, in the menu and by a flag, drivers from outside are built
# for it and for a distribution's kernel and loaded, and a HookOS with it boots to
# its embedded images. It takes a quarter of an hour on two cores.
kernels: ## compile small kernels and boot one; installs what test does
	.ci/setup test
	$(GO) test -tags e2e -timeout 60m -run '^(TestKernel|TestTurns|TestBrokenConnection|TestMenuconfig.*)$$' ./kernel/container
	$(GO) test -tags e2e -timeout 60m -run '^Test.*Drivers' ./kernel
	$(GO) test -tags e2e -timeout 30m -run '^TestSettingsTake$$' ./kernel/devices
	$(GO) test -tags e2e -timeout 60m -run '^TestKernel(MenuOnATerminal|WarnsOfLostLines)$$' ./cmd/hookbuild
	$(GO) test -tags e2e -timeout 60m -run '^(TestCompiledKernelIsShared|TestCompiledKernel|TestKitCompilesKernel)$$' ./cmd/hookdemo

# What must hold of every commit, beside the tests. The linters are compiled the
# first time, which takes minutes.
check: ## run format, vet and linters
	test -z "$$(gofmt -l .)" || { gofmt -d . ; exit 1; }
	$(GO) vet ./...
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/hookbuild
	$(GO) vet -tags e2e ./site/profile ./embed ./kernel ./kernel/devices ./kernel/container ./netboot/chain ./cmd/hookbuild ./cmd/hookdemo
	$(GO) run $(GOLANGCI_LINT) run ./...
	unused="$$($(GO) run $(DEADCODE) -tags e2e -test ./...)" && test -z "$$unused" || { echo "nothing reaches these:"; echo "$$unused"; exit 1; }
	$(GO) run $(ACTIONLINT)
	$(GO) mod tidy -diff
	$(GO) mod verify

# Proofs that take long: compiling kernels for both architectures, network boot
# into a HookOS of ours, every image in the booted machine and in both layouts,
# the other architecture, dockerd 28 and 29 on a packed store.
e2e: ## run the proofs that take long; installs what test does
	.ci/setup test
	$(GO) test -tags e2e -timeout 30m -run '^TestDockerd2' ./embed
	$(GO) test -tags e2e -timeout 30m -run '^Test(Profile|Console)InAMachine$$' ./site/profile
	$(GO) test -tags e2e -timeout 90m ./kernel ./kernel/devices ./kernel/container ./netboot/chain ./cmd/hookdemo
	$(GO) test -tags e2e -timeout 60m -run '^TestKernel(MenuOnATerminal|WarnsOfLostLines)$$' ./cmd/hookbuild
	for layout in packed directory; do CGO_ENABLED=0 $(GO) run -trimpath ./cmd/hookdemo -all -layout $$layout || exit 1; done
	CGO_ENABLED=0 $(GO) run -trimpath ./cmd/hookdemo -arch arm64

# Every fuzz target, a minute each.
fuzz: ## run every fuzz target for a minute
	.ci/fuzz 60

# Tables that compare with the tools replaced; see bench/README.md.
bench: ## compare with the tools replaced; installs what test does
	.ci/setup test
	$(GO) run ./bench

build: bin/hookbuild ## build bin/hookbuild

# Where fish looks for completions: that of a distribution in /usr/share and /etc/fish,
# but not in /usr/local/share. Without fish there is no /etc/fish.
FISHETC = $(if $(filter /usr/local,$(PREFIX)),/etc/fish)
FISHDIRS = $(SHAREDIR)/fish/vendor_completions.d $(addprefix $(DESTDIR),$(addsuffix /completions,$(wildcard $(FISHETC))))

# Installs the program, its manual page and the completion of bash, zsh and fish
# below PREFIX, and for fish also in /etc/fish if that is there. It builds only what is
# older than its sources, so that root needs no Go in "make build && sudo make install".
install: bin/hookbuild ## install it with manual page and completion below PREFIX (and in /etc/fish)
	install -d $(BINDIR) $(SHAREDIR)/man/man1 $(SHAREDIR)/bash-completion/completions $(SHAREDIR)/zsh/site-functions $(FISHDIRS)
	install -m 755 bin/hookbuild $(BINDIR)/hookbuild
	bin/hookbuild man >$(SHAREDIR)/man/man1/hookbuild.1
	bin/hookbuild completion bash >$(SHAREDIR)/bash-completion/completions/hookbuild
	bin/hookbuild completion zsh >$(SHAREDIR)/zsh/site-functions/_hookbuild
	for dir in $(FISHDIRS); do bin/hookbuild completion fish >$$dir/hookbuild.fish || exit 1; done

bin/hookbuild: $(shell find . -type f -not -path '*/.*' -not -path './bin/*' -not -path './dist/*' -not -path './out/*' -not -name '*_test.go')
	$(BUILD) -o $@ ./cmd/hookbuild

uninstall: ## remove what install installed
	rm -f $(BINDIR)/hookbuild $(SHAREDIR)/man/man1/hookbuild.1 $(SHAREDIR)/bash-completion/completions/hookbuild $(SHAREDIR)/zsh/site-functions/_hookbuild $(FISHDIRS:%=%/hookbuild.fish)

# The archives of a release for Linux and macOS, with completion, manual page,
# licences, bills of materials and checksums. Equal sources give equal bytes.
dist: ## write the archives of a release to dist
	$(GO) run ./tools/dist -out dist

clean: ## remove bin, dist, out and .demo
	rm -rf bin dist out .demo
