// Package linuxkit turns a LinuxKit document (the YAML that describes a system:
// kernel, init, onboot, onshutdown, services, volumes, files) and the container
// images it names into the root file system of an initramfs. It produces the
// same tree as `linuxkit build`, without that tool.
//
// [Parse] checks a document and records the line of everything in it;
// [Assemble] loads the images it names, in parallel, and lays them out in
// LinuxKit's order. Later entries are put over earlier ones as an unpacker
// would.
//
// It deliberately differs from the linuxkit tool:
//
//   - hard links stay hard links, even if a later layer deletes the name that
//     they point to; opaque directories of a layer hide what is below them;
//   - a directory over a symlink to a directory goes through the symlink (a
//     base image with a merged /usr keeps the kernel's modules); what would
//     lose files is an error that names both images;
//   - every key of a container's resources, id mappings and mounts is used; the
//     tool drops those whose names are not all lower case;
//   - a bind mount of a volume in `mounts:` gets the volume's path;
//   - hugepageLimits[].pageSize is text, "2MB", as runc requires; the tool
//     accepts only a number, and loses it;
//   - a kernel.ucode that the kernel's image does not have is an error;
//   - there is no sbom.spdx.json: its random identifier would make each build
//     differ;
//   - `@pkg:` references, which refer to LinuxKit's own source tree, are
//     refused.
//
// testdata/golden has the linuxkit tool's trees for documents that use every
// key, and these differences line by line.
package linuxkit
