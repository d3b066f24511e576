# What a developer runs. Each target installs what it needs and lacks (see
# .ci/setup); nothing else has to be prepared on a Debian machine with Go.

GO ?= go
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: demo test kernels check e2e bench build clean

# The main job on real input: images, a bundle and a kernel package become a
# HookOS that boots in QEMU and runs an embedded image.
demo:
	.ci/setup demo
	CGO_ENABLED=0 $(GO) run -trimpath ./cmd/hookdemo

test:
	.ci/setup test
	$(GO) test -timeout 30m ./...

# The proof that kernels compile: a small one is built in a container, one option
# of it is switched on, in the menu and by a flag, and a HookOS with it boots to
# its embedded images. It takes some ten minutes on two cores.
kernels:
	.ci/setup test
	$(GO) test -tags e2e -timeout 60m -run '^(TestKernel|TestTurns|TestMenuconfig.*)$$' ./kernel/builder
	$(GO) test -tags e2e -timeout 60m -run '^TestCompiledKernel$$' ./cmd/hookdemo

# What must hold of every commit, beside the tests.
check:
	test -z "$$(gofmt -l .)" || { gofmt -d . ; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags e2e ./kernel/builder ./netboot/chain ./cmd/hookdemo
	$(GO) run $(STATICCHECK) ./...
	$(GO) mod tidy -diff
	$(GO) mod verify

# Proofs that take long: compiling kernels for both architectures, network boot
# into a HookOS of ours, every image in the booted machine and in both layouts,
# the other architecture.
e2e:
	.ci/setup test
	$(GO) test -tags e2e -timeout 90m ./kernel/builder ./netboot/chain ./cmd/hookdemo
	for layout in packed directory; do CGO_ENABLED=0 $(GO) run -trimpath ./cmd/hookdemo -all -layout $$layout || exit 1; done
	CGO_ENABLED=0 $(GO) run -trimpath ./cmd/hookdemo -arch arm64

# Tables that compare with the tools replaced; see bench/README.md.
bench:
	.ci/setup test
	$(GO) run ./bench

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/hookbuild ./cmd/hookbuild

clean:
	rm -rf bin out .demo
