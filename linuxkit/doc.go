// Package linuxkit turns a LinuxKit document (the YAML that describes a
// system: kernel, init, onboot, onshutdown, services, volumes, files) and the
// container images it names into the root file system that an initramfs
// carries. It makes the tree that `linuxkit build` makes, without that tool.
//
// The way through: [Parse] checks a document and knows the line of everything
// in it; [Assemble] loads the images it names, in parallel, and lays them out
// in LinuxKit's order. Later entries go over earlier ones as an unpacker would
// put them.
//
// Where it differs from the linuxkit tool, on purpose:
//   - hard links stay hard links, also when a later layer deletes the name that
//     they point to; opaque directories of a layer hide what is below them;
//   - a directory that meets a symlink to a directory goes through it (a base
//     image with a merged /usr keeps the kernel's modules); what would lose
//     files is an error that names both images;
//   - every key of the resources, id mappings and mounts of a container counts;
//     the tool drops the ones whose names are not all lower case;
//   - a bind mount of a volume in `mounts:` is given the volume's path;
//   - hugepageLimits[].pageSize is text, "2MB", as runc wants it; the tool takes
//     a number only, and loses it;
//   - a kernel.ucode that the kernel's image has not is an error;
//   - no sbom.spdx.json: its random identifier would make each build differ;
//   - `@pkg:` references, which stand for LinuxKit's own source tree, are refused.
//
// testdata/golden has the linuxkit tool's trees for documents that use every
// key, and these differences line by line.
package linuxkit
