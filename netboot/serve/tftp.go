package serve

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"strings"
	"time"

	"github.com/pin/tftp/v3"

	"hookbuild/internal/ctxio"
)

// program returns the path of an iPXE program by the name that machines request, or
// "". The distributions' packages have other names for some programs.
func (s *server) program(name string) string {
	for _, dir := range s.IPXE {
		for _, candidate := range append([]string{name}, otherNames(name)...) {
			if file := findFile(dir, candidate); file != "" {
				return file
			}
		}
	}
	return ""
}

// otherNames returns the names that Debian, Fedora and the iPXE project use for
// Tinkerbell's programs.
func otherNames(name string) []string {
	switch name {
	case "ipxe.efi":
		return []string{"ipxe-x86_64.efi", "ipxe-snponly-x86_64.efi"}
	case "snp-x86_64.efi":
		return []string{"snponly.efi", "ipxe-snponly-x86_64.efi", "ipxe.efi"}
	case "snp-arm64.efi", "snp.efi":
		return []string{"snp-arm64.efi", "ipxe-arm64.efi", "ipxe-snponly-arm64.efi"}
	}
	return nil
}

// tftpService serves the iPXE programs, read-only.
type tftpService struct {
	*server
	conn *net.UDPConn
}

func (s *server) listenTFTP() (service, error) {
	conn, err := s.listenUDP("TFTP", s.TFTPPort, 69, "--tftp-port")
	if err != nil {
		return nil, err
	}
	return &tftpService{s, conn}, nil
}

func (t *tftpService) serve(ctx context.Context) error {
	if ctx.Err() != nil {
		return t.conn.Close()
	}
	server := tftp.NewServer(func(name string, to io.ReaderFrom) error { return t.read(ctx, name, to) }, nil)
	server.SetTimeout(2 * time.Second)
	server.SetRetries(5)
	// It closes the socket and waits for the transfers, which the context
	// aborts. (Closing only the socket does not end the library's loop.)
	stop := context.AfterFunc(ctx, server.Shutdown)
	defer stop()
	if err := server.Serve(t.conn); err != nil {
		return fmt.Errorf("serving TFTP: %w", err)
	}
	return nil
}

// read sends one program. Names are bare, or below a directory named after a MAC.
func (t *tftpService) read(ctx context.Context, name string, to io.ReaderFrom) error {
	from := "?"
	if transfer, ok := to.(tftp.OutgoingTransfer); ok {
		addr := transfer.RemoteAddr()
		from = addr.String()
	}
	n, err := t.send(ctx, path.Base(strings.ReplaceAll(name, `\`, "/")), to)
	if err != nil {
		t.note("TFTP %s: %q: %v", from, name, err)
		return err
	}
	t.note("TFTP %s: %q: %d bytes", from, name, n)
	return nil
}

func (t *tftpService) send(ctx context.Context, name string, to io.ReaderFrom) (int64, error) {
	file := t.program(name)
	if file == "" {
		return 0, fmt.Errorf("finding the program %q: %w", name, os.ErrNotExist)
	}
	f, err := os.Open(file)
	if err != nil {
		return 0, fmt.Errorf("opening the program: %w", err)
	}
	defer f.Close()
	if transfer, ok := to.(tftp.OutgoingTransfer); ok {
		if info, err := f.Stat(); err == nil {
			transfer.SetSize(info.Size()) // PXE firmware asks for it
		}
	}
	return to.ReadFrom(ctxio.Reader(ctx, f))
}
