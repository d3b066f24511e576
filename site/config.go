// Package site reads hookbuild.yaml, the file in which a site keeps what it wants
// its HookOS to be, in place of options on the command line.
//
//	hookbuild.yaml -> Config (strict, with the line of each key)
//	               -> Settings: the value of each option or variable that the file sets
//
// [Config] describes the file once. The decoder, the JSON schema ([Schema]) and the
// reference in docs/hookbuild-yaml.md are derived from its fields and their tags:
//
//	yaml      the key
//	doc       what the key means
//	flag      the command-line option that it stands for
//	variable  build.sh's variable for the same
//	path      paths in the value are relative to the file: "file" is a path or a URL,
//	          "place" is a path only where it says so (dir:DIR, ./FILE), "module" is
//	          the value of --module-source
//	enum      the values that are allowed
//	keys      the keys of a mapping of text; the option is given KEY=VALUE for each,
//	          and for the key any VALUE alone
//	also      "number": an unquoted number is text as well; "lines": the text may have
//	          several lines
//	need      the key must be present
//	short     an entry of a list may be the value of this key alone
//
// What is left out on purpose: what an option means. Commands parse the values as
// they parse those of the command line.
package site

import "hookbuild/site/profile"

// Config is the content of hookbuild.yaml.
type Config struct {
	Hook       Hook       `yaml:"hook" doc:"The Hook checkout: its templates, kernel configurations and containers. By default it is found as without a file: the current directory or its nearest parent that is a checkout."`
	Flavors    []string   `yaml:"flavors" doc:"The flavors to build. all, kernel, linuxkit and plan take each of them; commands for one flavor take the first. hookbuild flavors lists them."`
	Arch       string     `yaml:"arch" flag:"arch" variable:"DOCKER_ARCH" enum:"amd64,arm64,x86_64,aarch64" doc:"The architecture: amd64 is x86_64, arm64 is aarch64. By default the flavor's."`
	Template   string     `yaml:"template" flag:"template" doc:"The template in linuxkit-templates/, instead of the flavor's."`
	Overlays   []string   `yaml:"overlays" flag:"overlay" path:"file" doc:"Files that add to or change the template, see docs/site.md."`
	SiteFile   string     `yaml:"site-file" flag:"site" path:"file" doc:"A file with the keys of site at its top, instead of site: for settings that several hookbuild.yaml share."`
	Kernel     Kernel     `yaml:"kernel" doc:"The kernel."`
	Builders   Builders   `yaml:"builders" flag:"builder" keys:"amd64,arm64,any" doc:"The Docker Engines that compile kernels and modules and build containers: a key for each architecture, that of the result, and any for all others. The value is an address (ssh://USER@HOST, tcp://HOST:PORT) or a context. By default the one of DOCKER_HOST or the current context."`
	Containers Containers `yaml:"containers" doc:"The containers of the checkout, images/hook-*."`
	Embed      Embed      `yaml:"embed" doc:"The images to embed, and how they are stored."`
	Output     Output     `yaml:"output" doc:"The artifacts."`
	Network    Network    `yaml:"network" doc:"How this machine reaches registries and servers."`
	Site       Profile    `yaml:"site" doc:"What HookOS has of this site; docs/site.md says how each setting works. A file of its own with these keys is named by site-file instead."`
	Cache      Cache      `yaml:"cache" doc:"What is kept between builds."`
	Netboot    Netboot    `yaml:"netboot" doc:"The machines and the DHCP server that boots them, for hookbuild dhcp."`
}

// Profile is the site section.
type Profile = profile.Profile

// Hook says which checkout is used.
type Hook struct {
	Dir     string `yaml:"dir" flag:"hook-dir" path:"file" doc:"The checkout's directory."`
	URL     string `yaml:"url" doc:"The repository, instead of dir: https://github.com/tinkerbell/hook or a fork at GitHub, Gitea or Forgejo. It is fetched as an archive over HTTPS, without git, and kept in the cache. Needs commit."`
	Commit  string `yaml:"commit" doc:"The commit of url, all 40 digits."`
	Archive string `yaml:"archive" path:"file" doc:"A .tar.gz of the checkout, a path or a URL, instead of dir and url: for other servers and mirrors."`
	SHA256  string `yaml:"sha256" doc:"The checksum of the archive, of archive or of the one that the server makes for commit."`
	Version string `yaml:"version" variable:"HOOK_VERSION" doc:"The version that the template is told."`
}

// Kernel says which kernel is used, or how it is built.
type Kernel struct {
	From          string     `yaml:"from" flag:"kernel" path:"place" doc:"Where the kernel is from: latest, build, image:REF, deb:FILE or dir:DIR. By default the newest published one built with the checkout's configuration, or else one that hookbuild kernel put into the local Docker."`
	Version       string     `yaml:"version" flag:"kernel-version" variable:"KERNEL_POINT_RELEASE" also:"number" doc:"The point release to build, such as 32 of 6.6.32."`
	Source        string     `yaml:"source" flag:"source" path:"file" doc:"The source to build from, a file, directory or URL, instead of kernel.org."`
	SHA256        string     `yaml:"sha256" flag:"sha256" doc:"The checksum of the file that source names."`
	AcceptLost    bool       `yaml:"accept-lost" flag:"accept-lost" doc:"Whether the source may be of another series, or lack options of the flavor's configuration."`
	SourceMirrors []string   `yaml:"source-mirrors" flag:"source-mirror" doc:"Copies of kernel.org's pub/linux/kernel."`
	Options       []Option   `yaml:"options" flag:"set" doc:"Kernel options to set when the kernel is built."`
	Fragments     []Fragment `yaml:"fragments" flag:"fragment" doc:"Files of kernel options to merge when the kernel is built."`
	Patches       []Patch    `yaml:"patches" flag:"patch" doc:"Patches to apply to the kernel's source, in this order."`
	ModuleSources []string   `yaml:"module-sources" flag:"module-source" path:"module" doc:"Modules to build outside of the kernel's source: a directory, archive, -dkms package or URL[#sha256=HEX], then ,name=NAME ,dir=DIR ,sha256=HEX ,make=ARG ,patch=FILE as needed."`
	Modules       Modules    `yaml:"modules" doc:"The kernel modules to keep."`
	Firmware      string     `yaml:"firmware" flag:"firmware" path:"file" doc:"Where to take the firmware that the modules ask for: a directory or image:REF."`
	Builder       Builder    `yaml:"builder" doc:"The container that compiles."`
	Flavor        string     `yaml:"flavor" variable:"USE_KERNEL_ID" doc:"The flavor whose kernel is used, instead of each flavor's own."`
	Repository    string     `yaml:"repository" variable:"HOOK_KERNEL_OCI_BASE" doc:"The repository of kernel images, without the tag."`
	Armbian       Armbian    `yaml:"armbian" doc:"The source of the kernels of Armbian's flavors."`
}

// Option is a kernel option and why it is set.
type Option struct {
	Set    string `yaml:"set" short:"yes" need:"yes" doc:"The option, CONFIG_X=VALUE with VALUE y, m, n or text."`
	Reason string `yaml:"reason" doc:"Why it is set, for those who review the file."`
}

// Fragment is a file of kernel options and why it is merged.
type Fragment struct {
	File   string `yaml:"file" short:"yes" need:"yes" path:"file" doc:"The file."`
	Reason string `yaml:"reason" doc:"Why it is merged, for those who review the file."`
}

// Patch is a patch of the kernel's source and why it is applied.
type Patch struct {
	File   string `yaml:"file" short:"yes" need:"yes" path:"file" doc:"The file."`
	Reason string `yaml:"reason" doc:"Why it is applied, for those who review the file."`
}

// Modules chooses the modules of the kernel.
type Modules struct {
	Keep    []string `yaml:"keep" flag:"modules" doc:"Patterns of the only modules to keep; those that they need are kept too."`
	Drop    []string `yaml:"drop" flag:"without-modules" doc:"Patterns of modules to leave out."`
	NoStrip bool     `yaml:"no-strip" flag:"no-strip" doc:"Whether modules keep their debugging symbols."`
}

// Builder chooses the container that compiles kernels.
type Builder struct {
	Image   string `yaml:"image" flag:"builder-image" doc:"The image to compile in, instead of one that hookbuild builds."`
	Base    string `yaml:"base" flag:"builder-base" doc:"The Debian image that the builder image is built from."`
	Network string `yaml:"network" flag:"builder-network" doc:"The Docker network in which the builder image is built, such as host."`
}

// Builders are Docker Engines by the architecture of what they build.
type Builders map[string]string

// Armbian says where Armbian's kernels are from.
type Armbian struct {
	Repository string `yaml:"repository" variable:"ARMBIAN_BASE_ORAS_REF" doc:"The repository of Armbian's artifacts."`
	Version    string `yaml:"version" variable:"ARMBIAN_KERNEL_VERSION" doc:"The version of the kernel's artifact, instead of the newest."`
}

// Containers says where the checkout's containers are from.
type Containers struct {
	Repository string `yaml:"repository" variable:"HOOK_LK_CONTAINERS_OCI_BASE" doc:"What the references of the containers begin with. The key, not the variable, gets a slash at its end, unless it ends in a slash or a hyphen."`
	NoBuild    bool   `yaml:"no-build" flag:"no-build-containers" variable:"DO_BUILD_LK_CONTAINERS" doc:"Whether containers that are not published are an error instead of being built."`
}

// Embed says which images are embedded.
type Embed struct {
	FromBundle       bool     `yaml:"from-bundle" flag:"embed-from-bundle" doc:"Whether to embed the action images of an EKS Anywhere bundle. The keys cluster, bundle and eksa-version imply it; alone it means the installed eksctl's release, else the latest one."`
	Cluster          string   `yaml:"cluster" flag:"cluster" path:"file" doc:"The cluster specification, from which the EKS Anywhere release, the registry mirror, the proxy and the templates' images are taken. verify requires the images of its actions."`
	EKSAVersion      string   `yaml:"eksa-version" flag:"eksa-version" doc:"The EKS Anywhere release, such as v0.24.1."`
	Bundle           string   `yaml:"bundle" flag:"bundle" path:"file" doc:"The bundle manifest, a file or URL, instead of that of a release."`
	ReleasesURL      string   `yaml:"releases-url" flag:"releases-url" doc:"The list of EKS Anywhere releases, for sites with their own copy."`
	KubeVersion      string   `yaml:"kube-version" flag:"kube-version" also:"number" doc:"The Kubernetes version whose images are chosen if the bundle has several."`
	RequireSignature bool     `yaml:"require-signature" flag:"require-signature" doc:"Whether a bundle without a signature by AWS is refused."`
	KeepSourceNames  *bool    `yaml:"keep-source-names" flag:"keep-source-names" doc:"Whether images keep the names that they have in the bundle, too. By default where a release's actions use them."`
	WorkerImage      string   `yaml:"worker-image" flag:"worker-image" path:"place" doc:"The worker image, instead of the bundle's."`
	WorkerFrom       string   `yaml:"worker-from" flag:"worker-from" path:"file" doc:"The initramfs of a released HookOS, a file or URL, from which the worker is taken."`
	NoWorker         bool     `yaml:"no-worker" flag:"no-worker" doc:"Whether no worker is embedded."`
	Images           []Image  `yaml:"images" flag:"image" doc:"Further images."`
	ImagesFiles      []string `yaml:"images-files" flag:"images-file" path:"file" doc:"Files in the format of images.txt with further images."`
	Layout           string   `yaml:"layout" flag:"layout" enum:"packed,directory,auto" doc:"How the images are stored; auto is packed if the kernel can mount it."`
	PackCompression  string   `yaml:"pack-compression" flag:"pack-compression" enum:"gzip,zstd,xz" doc:"The compression of the packed layout."`
	PackBlock        int      `yaml:"pack-block" flag:"pack-block" doc:"The block size of the packed layout in KiB, a power of two from 4 to 1024."`
}

// Image is an image to embed.
type Image struct {
	Source string `yaml:"source" short:"yes" need:"yes" path:"place" doc:"The image: a reference, or oci:DIR, docker-archive:FILE and so on."`
	Name   string `yaml:"name" doc:"The name under which actions ask for it. By default the source's own, or the only one in docker-archive:FILE; an image of another file or of the Docker Engine needs one."`
	Reason string `yaml:"reason" doc:"Why it is embedded, for those who review the file."`
}

// Output says which artifacts are written, and how.
type Output struct {
	Dir         string `yaml:"dir" flag:"out" path:"file" doc:"The directory of the artifacts."`
	ID          string `yaml:"id" variable:"FORCE_OUTPUT_ID" doc:"What the artifacts' names end with, instead of the flavor's name."`
	Compression string `yaml:"compression" flag:"compression" enum:"zstd,gzip,none" doc:"The compression of the initramfs."`
	Level       int    `yaml:"level" flag:"level" doc:"The level of the compression, 1 to 9 for gzip, 1 to 22 for zstd."`
	MaxSize     string `yaml:"max-size" flag:"max-size" doc:"The size of the initramfs that is too much, such as 180MB: the build fails."`
	Report      bool   `yaml:"report" flag:"report" doc:"Whether a build reports what makes up the size of the initramfs."`
	NoSBOM      bool   `yaml:"no-sbom" flag:"no-sbom" doc:"Whether sbom.spdx.json and provenance.json are left out."`
	Tar         bool   `yaml:"tar" flag:"tar" variable:"OUTPUT_TARBALL_FILELIST" doc:"Whether the root file system is also written as a tar archive, with its file list."`
	ISO         bool   `yaml:"iso" flag:"iso" variable:"LINUXKIT_ISO" doc:"Whether an ISO image that boots with UEFI is also written."`
	ISOLoader   string `yaml:"iso-loader" flag:"iso-loader" path:"place" doc:"The ISO's boot loader, GRUB as an EFI program: a file or directory (a path that begins with ./ or /), or an image."`
	SourceDate  int    `yaml:"source-date" variable:"SOURCE_DATE_EPOCH" doc:"The time of generated files, in seconds since 1970."`
}

// Network says how servers are reached.
type Network struct {
	Mirrors            []Mirror `yaml:"mirrors" flag:"mirror" doc:"Mirrors of registries."`
	CAFiles            []string `yaml:"ca-files" flag:"ca-file" path:"file" doc:"Certificate authorities (PEM) that are trusted beside the system's, for everything that is fetched."`
	InsecureRegistries []string `yaml:"insecure-registries" flag:"insecure-registry" doc:"Registries that may use plain HTTP or unknown certificates."`
	Proxy              Proxy    `yaml:"proxy" doc:"The proxy. HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the environment take precedence, and all of it does over a cluster specification's."`
	Offline            bool     `yaml:"offline" flag:"offline" doc:"Whether only the cache is used, and no registry or server is contacted."`
	MirrorByTag        bool     `yaml:"mirror-by-tag" flag:"mirror-by-tag" doc:"Whether a mirror's image of the bundle's tag is taken although nothing proves that it is the bundle's image."`
	MaxLayer           string   `yaml:"max-layer" flag:"max-layer" doc:"The size to which a layer may unpack, such as 2GB."`
}

// Mirror is a mirror of a registry.
type Mirror struct {
	From string `yaml:"from" need:"yes" doc:"The registry, or the beginning of a repository's name."`
	To   string `yaml:"to" need:"yes" doc:"Where its images are pulled from."`
}

// Proxy is an HTTP proxy.
type Proxy struct {
	HTTPS string   `yaml:"https" variable:"HTTPS_PROXY" doc:"The proxy's URL for HTTPS."`
	HTTP  string   `yaml:"http" variable:"HTTP_PROXY" doc:"The proxy's URL for HTTP."`
	None  []string `yaml:"none" variable:"NO_PROXY" doc:"Hosts, domains and networks that are reached without it."`
}

// Cache says what is kept between builds.
type Cache struct {
	Dir   string   `yaml:"dir" flag:"cache-dir" variable:"CACHE_DIR" path:"file" doc:"The directory for downloads and converted layers. By default hookbuild in the user's cache directory."`
	Limit string   `yaml:"limit" flag:"cache-limit" doc:"The size to which it is pruned after each command, such as 20GB; none sets no limit."`
	From  []string `yaml:"from" flag:"cache-from" doc:"Repositories of registries in which results of other machines are looked for, such as registry.example/team/hookbuild-cache."`
	To    string   `yaml:"to" flag:"cache-to" doc:"The repository that results are pushed to. By default nothing is pushed."`
}

// Netboot says which machines boot, and from what.
type Netboot struct {
	Hardware     string   `yaml:"hardware" flag:"hardware" path:"file" doc:"The machines, EKS Anywhere's hardware.csv."`
	Server       string   `yaml:"server" flag:"server" enum:"dnsmasq,kea,dhcpd,windows" doc:"The kind of the site's DHCP server, for hookbuild dhcp check and switch."`
	TinkerbellIP string   `yaml:"tinkerbell-ip" flag:"tinkerbell-ip" doc:"The address of the cluster's Tinkerbell. By default spec.tinkerbellIP of embed.cluster."`
	BootstrapIP  string   `yaml:"bootstrap-ip" flag:"bootstrap-ip" doc:"The address of Tinkerbell while the management cluster is created."`
	Phase        string   `yaml:"phase" flag:"phase" enum:"bootstrap,cluster" doc:"The Tinkerbell to boot from. By default bootstrap if bootstrap-ip is set, else cluster."`
	EKSAVersion  string   `yaml:"eksa-version" flag:"eksa-version" doc:"The EKS Anywhere release whose port, paths and file names are used. By default embed.eksa-version, else that of embed.cluster."`
	Subnets      []string `yaml:"subnets" flag:"subnet" doc:"The subnets that machines may be in. By default what they need."`
	Domain       string   `yaml:"domain" flag:"domain" doc:"The DNS domain to announce."`
	Lease        string   `yaml:"lease" flag:"lease" doc:"How long addresses are leased, such as 24h."`
	Tag          string   `yaml:"tag" flag:"tag" doc:"What generated names begin with, to tell apart clusters that share a server."`
	UserClasses  []string `yaml:"user-classes" flag:"user-class" doc:"The user classes of iPXE that get the script."`
	Interface    string   `yaml:"interface" flag:"interface" doc:"The network interface of the server to answer on."`
	NoVLANOption bool     `yaml:"no-vlan-option" flag:"no-vlan-option" doc:"Whether iPXE is not told the VLAN, for firmware that boots without one although vlan_id is set."`
	ScriptURL    string   `yaml:"script-url" flag:"script-url" doc:"The full URL of auto.ipxe."`
	BinaryURL    string   `yaml:"binary-url" flag:"binary-url" doc:"The URL of the directory of iPXE programs."`
	HTTPPort     int      `yaml:"http-port" flag:"http-port" doc:"The port in both URLs. By default the release's."`
	ScriptPath   string   `yaml:"script-path" flag:"script-path" doc:"The path of auto.ipxe in its URL."`
	BinaryPath   string   `yaml:"binary-path" flag:"binary-path" doc:"The path of the iPXE programs in their URL."`
	BIOSFile     string   `yaml:"bios-file" flag:"bios-file" doc:"The iPXE program for BIOS."`
	X86File      string   `yaml:"x86-file" flag:"x86-file" doc:"The iPXE program for UEFI x86-64."`
	ARM64File    string   `yaml:"arm64-file" flag:"arm64-file" doc:"The iPXE program for UEFI arm64."`
}
