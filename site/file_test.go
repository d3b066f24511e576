package site

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hookbuild/internal/fault"
	"hookbuild/test/testneed"
)

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSettings reads a file with every key and compares what it sets. A key that
// the file lacks fails the test.
func TestSettings(t *testing.T) {
	f, err := Read("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range f.Settings() {
		got[s.Key+" --"+s.Flag+" "+s.Variable] = strings.Join(s.Values, " | ")
	}
	want := map[string]string{
		"hook.dir --hook-dir ":         "hook",
		"hook.version -- HOOK_VERSION": "0.11.1",
		"arch --arch DOCKER_ARCH":      "amd64",
		"overlays --overlay ":          "testdata/overlays/ssh.yaml",
		"site-file --site ":            "testdata/site/profile.yaml",
		"template --template ":         "hook",

		"kernel.from --kernel ":                                            "deb:testdata/kernel/linux-image.deb,https://mirror.example/linux-modules.deb",
		"kernel.version --kernel-version KERNEL_POINT_RELEASE":             "32",
		"kernel.source --source ":                                          "testdata/linux-6.6.32.tar.xz",
		"kernel.sha256 --sha256 ":                                          "9f2a",
		"kernel.accept-lost --accept-lost ":                                "true",
		"kernel.source-mirrors --source-mirror ":                           "https://mirror.example/linux",
		"kernel.options --set ":                                            "CONFIG_ICE=m | CONFIG_DRM=n",
		"kernel.fragments --fragment ":                                     "testdata/kernel/site.config | testdata/kernel/more.config",
		"kernel.patches --patch ":                                          "testdata/fix.patch | testdata/more.patch",
		"kernel.module-sources --module-source ":                           "testdata/drivers/nic,name=nic,patch=testdata/drivers/nic.patch",
		"network.mirror-by-tag --mirror-by-tag ":                           "true",
		"kernel.modules.keep --modules ":                                   "ice | nvme",
		"kernel.modules.drop --without-modules ":                           "*/sound/*",
		"kernel.modules.no-strip --no-strip ":                              "true",
		"kernel.firmware --firmware ":                                      "testdata/firmware",
		"kernel.builder.image --builder-image ":                            "registry.example/builder:1",
		"kernel.builder.base --builder-base ":                              "debian:stable",
		"kernel.builder.network --builder-network ":                        "host",
		"builders --builder ":                                              "arm64=ssh://me@arm.example.org | tcp://big.example.org:2376",
		"kernel.flavor -- USE_KERNEL_ID":                                   "hook-latest-lts-amd64",
		"kernel.repository -- HOOK_KERNEL_OCI_BASE":                        "registry.example/hook/kernel",
		"kernel.armbian.repository -- ARMBIAN_BASE_ORAS_REF":               "registry.example/armbian",
		"kernel.armbian.version -- ARMBIAN_KERNEL_VERSION":                 "26.5.1",
		"containers.repository -- HOOK_LK_CONTAINERS_OCI_BASE":             "registry.example/hook/",
		"containers.no-build --no-build-containers DO_BUILD_LK_CONTAINERS": "true",

		"embed.from-bundle --embed-from-bundle ":       "true",
		"embed.cluster --cluster ":                     "testdata/cluster.yaml",
		"embed.eksa-version --eksa-version ":           "v0.24.1",
		"embed.bundle --bundle ":                       "https://mirror.example/bundle.yaml",
		"embed.releases-url --releases-url ":           "https://mirror.example/releases.yaml",
		"embed.kube-version --kube-version ":           "1.31",
		"embed.require-signature --require-signature ": "true",
		"embed.keep-source-names --keep-source-names ": "false",
		"embed.worker-image --worker-image ":           "oci:testdata/worker",
		"embed.worker-from --worker-from ":             "testdata/initramfs-x86_64",
		"embed.no-worker --no-worker ":                 "true",
		"embed.images --image ":                        "docker-archive:testdata/images/tools.tar:v1=127.0.0.1/embedded/tools | ghcr.io/site/reboot:2",
		"embed.images-files --images-file ":            "testdata/images.txt",
		"embed.layout --layout ":                       "packed",
		"embed.pack-compression --pack-compression ":   "zstd",
		"embed.pack-block --pack-block ":               "128",

		"output.dir --out ":                        "testdata/artifacts",
		"output.id -- FORCE_OUTPUT_ID":             "site",
		"output.compression --compression ":        "zstd",
		"output.level --level ":                    "19",
		"output.max-size --max-size ":              "180MB",
		"output.report --report ":                  "true",
		"output.no-sbom --no-sbom ":                "true",
		"output.tar --tar OUTPUT_TARBALL_FILELIST": "true",
		"output.iso --iso LINUXKIT_ISO":            "true",
		"output.iso-loader --iso-loader ":          "testdata/grubx64.efi",
		"output.source-date -- SOURCE_DATE_EPOCH":  "1700000000",

		"network.mirrors --mirror ":                        "public.ecr.aws=mirror.example:443/ecr",
		"network.ca-files --ca-file ":                      "testdata/site-ca.pem",
		"network.insecure-registries --insecure-registry ": "mirror.example:5000",
		"network.proxy.https -- HTTPS_PROXY":               "http://proxy.example:3128",
		"network.proxy.http -- HTTP_PROXY":                 "http://proxy.example:3129",
		"network.proxy.none -- NO_PROXY":                   ".example | 10.0.0.0/8",
		"network.offline --offline ":                       "true",
		"network.max-layer --max-layer ":                   "2GB",
		"cache.dir --cache-dir CACHE_DIR":                  "/var/cache/hookbuild",
		"cache.limit --cache-limit ":                       "30GB",
		"cache.from --cache-from ":                         "registry.example/team/hookbuild-cache",
		"cache.to --cache-to ":                             "registry.example/team/hookbuild-cache",

		"netboot.hardware --hardware ":             "testdata/hardware.csv",
		"netboot.server --server ":                 "kea",
		"netboot.tinkerbell-ip --tinkerbell-ip ":   "192.0.2.10",
		"netboot.bootstrap-ip --bootstrap-ip ":     "192.0.2.11",
		"netboot.phase --phase ":                   "cluster",
		"netboot.eksa-version --eksa-version ":     "v0.23.0",
		"netboot.subnets --subnet ":                "192.0.2.0/24",
		"netboot.domain --domain ":                 "lab.example",
		"netboot.lease --lease ":                   "12h",
		"netboot.tag --tag ":                       "east",
		"netboot.user-classes --user-class ":       "Tinkerbell",
		"netboot.interface --interface ":           "eth1",
		"netboot.no-vlan-option --no-vlan-option ": "true",
		"netboot.script-url --script-url ":         "http://192.0.2.10/auto.ipxe",
		"netboot.binary-url --binary-url ":         "http://192.0.2.10/ipxe",
		"netboot.http-port --http-port ":           "7171",
		"netboot.script-path --script-path ":       "/auto.ipxe",
		"netboot.binary-path --binary-path ":       "/ipxe",
		"netboot.bios-file --bios-file ":           "undionly.kpxe",
		"netboot.x86-file --x86-file ":             "ipxe.efi",
		"netboot.arm64-file --arm64-file ":         "snp.efi",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// These choose no option of the command line: they say what to fetch and to build.
	direct := map[string]bool{"hook.url": true, "hook.commit": true, "hook.archive": true, "hook.sha256": true, "flavors": true}
	for _, key := range Keys() {
		direct[key.Path] = direct[key.Path] || strings.HasPrefix(key.Path, "site.") // see TestSiteSection
		if _, found := want[key.Path+" --"+key.Flag+" "+key.Variable]; !found && !direct[key.Path] {
			t.Errorf("the file lacks %s", key.Path)
		}
		if direct[key.Path] != (key.Flag+key.Variable == "") {
			t.Errorf("%s is for the option %q and the variable %q", key.Path, key.Flag, key.Variable)
		}
	}
}

// TestSiteSection reads every key of a profile as the section and as a file of its
// own.
func TestSiteSection(t *testing.T) {
	text, err := os.ReadFile("testdata/profile.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want, _, err := ReadProfile("testdata/profile.yaml")
	if err != nil {
		t.Fatal(err)
	}
	section := "# one\nsite:\n  " + strings.ReplaceAll(string(text), "\n", "\n  ") + "\n"
	f, err := Read(write(t, filepath.Join(t.TempDir(), Name), section))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, f.Site); diff != "" || f.SiteLine("") != 3 || len(f.Settings()) > 0 {
		t.Errorf("from line %d, with the settings %v: %s", f.SiteLine(""), f.Settings(), diff)
	}
	for _, key := range Keys() {
		if strings.HasPrefix(key.Path, "site.") && f.Line(key.Path) == 0 {
			t.Errorf("testdata/profile.yaml lacks %s", key.Path)
		}
	}
	if !valid(t, compile(t), []byte(section)) {
		t.Error("the schema refuses the section")
	}
}

// A bundle is wanted where a key names one.
func TestBundleIsImplied(t *testing.T) {
	for text, want := range map[string]bool{
		"embed: {eksa-version: v0.24.1}":                     true,
		"embed: {cluster: c.yaml}":                           true,
		"embed: {bundle: b.yaml}":                            true,
		"embed: {images: [a]}":                               false,
		"embed: {from-bundle: false, eksa-version: v0.24.1}": false,
	} {
		f, err := Read(write(t, filepath.Join(t.TempDir(), Name), text))
		if err != nil {
			t.Fatal(err)
		}
		got := false
		for _, s := range f.Settings() {
			got = got || s.Flag == "embed-from-bundle"
		}
		if got != want {
			t.Errorf("%s: implied: %t", text, got)
		}
	}
}

func TestProblems(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"misspelt key":          {"kernel:\n  optoins: []", `:2: kernel: unknown key "optoins" (did you mean options?)`},
		"key of another place":  {"eksa-version: v0.24.1", `:1: unknown key "eksa-version" (did you mean embed.eksa-version?)`},
		"option's name":         {"embed:\n  set: CONFIG_X=y", `:2: embed: unknown key "set" (did you mean kernel.options?)`},
		"nothing near":          {"cache:\n  zzzzzz: 1", `:2: cache: unknown key "zzzzzz"; the keys here are dir, limit`},
		"number for text":       {"output:\n  max-size: 180", ":2: output.max-size: 180 is a number, not text; put it in quotes"},
		"text for number":       {"output:\n  level: \"3\"", `:2: output.level: "3" is not a whole number`},
		"negative number":       {"output: {level: -3}", `:1: output.level: "-3" is not a whole number`},
		"text for true":         {"output:\n  tar: yes please", `:2: output.tar: "yes please" is not true or false`},
		"text for a list":       {"flavors: hook-latest-lts-amd64", `:1: flavors: this is text, not a list; begin each entry with "- "`},
		"list for text":         {"template: [a]", ":1: template: this is a list, not text"},
		"text for a section":    {"kernel: latest", ":1: kernel: this is text; write its keys below it: from, version,"},
		"twice":                 {"arch: amd64\narch: arm64", ":2: arch: the key is in line 1 too"},
		"empty":                 {"arch:", ":1: arch: this is empty; write one of amd64, arm64, x86_64, aarch64, or leave the key out"},
		"not of the values":     {"arch: amd46", `:1: arch: "amd46" is not one of amd64, arm64, x86_64, aarch64 (did you mean amd64?)`},
		"lines":                 {"template: |\n  a\n  b", ":1: template: the text has more than one line"},
		"entry without its key": {"kernel:\n  options:\n    - reason: why", ":3: kernel.options[0]: the key set is required"},
		"empty entry":           {"embed:\n  images:\n    -", ":3: embed.images[0]: this is empty"},
		"mirror as text":        {"network:\n  mirrors: [a=b]", ":2: network.mirrors[0]: this is text; write its keys below it: from, to"},
		"not YAML":              {"a: [", ":1: not YAML: did not find expected node content"},
		"tab":                   {"kernel:\n  from: latest\n\toptions: []", ":3: not YAML: the line is indented with a tab; use spaces"},
		"two documents":         {"arch: amd64\n---\narch: arm64", ":2: a second document starts here"},
		"merge":                 {"kernel: &k {from: latest}\nhook: {<<: *k}", `:2: hook: unknown key "<<"`},
		"list at the top":       {"- a", ":1: this is a list; write its keys below it: hook, flavors,"},
		"several": {"x: 1\ny: 2", `: 2 problems:
FILE:1: unknown key "x"`},

		"two profiles":        {"site-file: a\nsite:\n  ntp: [b]", ":1: site-file: the section site in line 3 has settings too; keep one of them"},
		"registry's host":     {"site:\n  registries: [{ca: a}]", ":2: site.registries[0]: the key host is required"},
		"login's values":      {"site: {console: {login: none}}", ":1: site.console.login: \"none\" is not one of open, password, off"},
		"two checkouts":       {"hook:\n  dir: a\n  url: https://h.example/x", ":3: hook.url: hook.dir in line 2 names a checkout too; keep one of them"},
		"archive and dir":     {"hook:\n  dir: a\n  archive: x.tar.gz", ":3: hook.archive: hook.dir or hook.url names a checkout too"},
		"url without commit":  {"hook:\n  url: https://h.example/x", ":2: hook.url: add hook.commit with the 40 digits of the commit"},
		"commit without url":  {"hook:\n  commit: abc", ":2: hook.commit: it applies to hook.url"},
		"short commit":        {"hook:\n  url: https://h.example/x\n  commit: abc", `:3: hook.commit: "abc" is not a commit's 40 digits`},
		"url of ssh":          {"hook:\n  url: git@h.example:x", `:2: hook.url: "git@h.example:x" does not begin with https://`},
		"sha256 without file": {"hook:\n  sha256: ab", ":2: hook.sha256: it applies to hook.url or hook.archive"},
		"short sha256":        {"hook:\n  archive: a.tgz\n  sha256: ab", `:3: hook.sha256: "ab" is not a checksum of 64 digits`},
	} {
		path := write(t, filepath.Join(t.TempDir(), Name), test.text)
		_, err := Read(path)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		if got := strings.ReplaceAll(err.Error(), path, "FILE"); !strings.Contains(got, test.want) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v: %s", name, fault.KindOf(err), got)
		}
	}
}

// What is commented out, or not there, sets nothing.
func TestNothingIsSet(t *testing.T) {
	for _, text := range []string{"", "# all\n", "kernel:\n  # from: build\n", "kernel: {options: , modules: {keep: []}}", "output: {tar: false}"} {
		f, err := Read(write(t, filepath.Join(t.TempDir(), Name), text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if s := f.Settings(); len(s) > 0 {
			t.Errorf("%q sets %v", text, s)
		}
	}
}

func TestReadRefusesLargeFiles(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), Name), strings.Repeat("# a\n", most/4+1))
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "has more than") {
		t.Errorf("got %v", err)
	}
	if _, err := Read(filepath.Join(t.TempDir(), Name)); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no file: %v", err)
	}
}

func TestFind(t *testing.T) {
	top := t.TempDir()
	t.Chdir(top)
	write(t, "a/b/c/x", "")
	want := write(t, "a/"+Name, "")
	for dir, path := range map[string]string{"a/b/c": want, "a": want, "a/b": want} {
		if got, err := Find(dir); got != path || err != nil {
			t.Errorf("Find(%q) = %q, %v", dir, got, err)
		}
	}
	if got, err := Find("."); got != "" || err != nil {
		t.Errorf("found %q, %v above %s", got, err, top)
	}
	t.Chdir("a/b/c")
	if got, err := Find("."); got != "../../"+Name || err != nil {
		t.Errorf("Find of the current directory = %q, %v", got, err)
	}
	if err := os.Mkdir("../../../"+Name, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove("../../" + Name); err != nil {
		t.Fatal(err)
	}
	if got, err := Find("."); got != "" || err != nil {
		t.Errorf("a directory of that name: %q, %v", got, err)
	}
}

// A file that another user put into a directory like /tmp does not count.
func TestFindOfOthers(t *testing.T) {
	testneed.Root(t) // gives a file to another user
	dir := t.TempDir()
	path := write(t, filepath.Join(dir, Name), "")
	if err := os.Chown(path, 12345, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(dir); err != nil {
		t.Errorf("in a directory of one user: %v", err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(dir); err == nil || !strings.Contains(err.Error(), "belongs to another user") {
		t.Errorf("in a directory that everyone may write to: %v", err)
	}
	if err := os.Chown(path, 0, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(dir); err != nil {
		t.Errorf("a file of root: %v", err)
	}
}
