// Bootinit is the /init of a machine that lists what its kernel unpacked, a
// file per line in the format that boot_test.go expects, and then powers off.
package main

import (
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

func main() {
	fmt.Println("@@begin")
	err := filepath.WalkDir("/", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "/" {
			return err
		}
		return tell(name)
	})
	fmt.Println("@@end", err)
	if err := syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println("powering off:", err)
	}
}

// tell prints name, type and mode, owner, link count, time, device, and target
// or content.
func tell(name string) error {
	var st syscall.Stat_t
	if err := syscall.Lstat(name, &st); err != nil {
		return err
	}
	content := "-"
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		content = fmt.Sprintf("%d:%08x", len(b), crc32.ChecksumIEEE(b))
	case syscall.S_IFLNK:
		target, err := os.Readlink(name)
		if err != nil {
			return err
		}
		content = target
	}
	major, minor := st.Rdev>>8&0xfff, st.Rdev&0xff|st.Rdev>>12&0xfff00
	_, err := fmt.Printf("@@ %s %o %d:%d %d %d %d,%d %s\n", name[1:], st.Mode, st.Uid, st.Gid, st.Nlink, st.Mtim.Sec, major, minor, content)
	return err
}
