package serve

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"strings"
	"time"

	"hookbuild/internal/words"
)

// Files serves files. It implements [http.Handler].
type Files struct {
	source  source
	timeout time.Duration
	note    func(string)
}

// source is where the files come from.
type source interface {
	// take returns a file for a client, nil for an unknown name, and a function
	// to call after sending it. Resumes says that the client asks for a later part of
	// the file, not its beginning.
	take(client, name string, resumes bool) (*file, func(), error)
	names() []string
	// check reports whether the files can be read.
	check() error
}

// Open returns a handler for the files directly in dir. It disconnects a client that
// receives nothing for timeout; 0 means [DefaultReadTimeout]. Note receives a line for
// each client and file, and may be nil.
func Open(dir string, timeout time.Duration, note func(string)) (*Files, error) {
	s := &sets{dir: dir, pins: map[string]*pin{}}
	return newFiles(s, timeout, note), s.refresh()
}

// New returns a handler for files that do not change, with the limits of [Open].
func New(all []Content, timeout time.Duration, note func(string)) *Files {
	f := fixed{}
	for _, c := range all {
		f[c.Name] = &file{ReaderAt: c, size: c.Size, etag: `"` + c.Digest + `"`}
	}
	return newFiles(f, timeout, note)
}

func newFiles(from source, timeout time.Duration, note func(string)) *Files {
	if timeout == 0 {
		timeout = DefaultReadTimeout
	}
	if note == nil {
		note = func(string) {}
	}
	return &Files{source: from, timeout: timeout, note: note}
}

// Names returns the names of the files that are served.
func (f *Files) Names() []string { return f.source.names() }

// ServeHTTP implements [http.Handler]: "/NAME" is a file, and "/healthz" answers ok if
// the server works.
func (f *Files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
	case name == "healthz":
		f.health(w)
	case strings.ContainsAny(name, "/\\\x00"):
		http.NotFound(w, r)
		f.log(r, "404")
	default:
		f.send(w, r, name)
	}
}

func (f *Files) health(w http.ResponseWriter) {
	if err := f.source.check(); err != nil {
		http.Error(w, "the directory cannot be read", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok\n") // a client that is gone does not mean that the server is unhealthy
}

// send sends a file, or the requested ranges of it.
func (f *Files) send(w http.ResponseWriter, r *http.Request, name string) {
	client, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		client = r.RemoteAddr
	}
	wanted := r.Header.Get("Range")
	resumes := wanted != "" && !strings.HasPrefix(wanted, "bytes=0-")
	file, done, err := f.source.take(client, name, resumes)
	if err != nil {
		http.Error(w, "the directory cannot be read", http.StatusServiceUnavailable)
		f.log(r, "503: "+err.Error())
		return
	}
	defer done()
	if file == nil {
		http.NotFound(w, r)
		f.log(r, "404")
		return
	}
	w.Header().Set("ETag", file.etag)
	w.Header().Set("Content-Type", contentType(name))
	out := Paced(w, f.timeout)
	http.ServeContent(out, r, name, file.modified, io.NewSectionReader(file, 0, file.size))
	f.log(r, out.Result(r))
}

// contentType returns the content type that firmware and BMCs expect of a file.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".iso":
		return "application/x-iso9660-image"
	case ".txt":
		return "text/plain; charset=utf-8"
	case ".json":
		return "application/json"
	case ".gz":
		return "application/gzip"
	}
	return "application/octet-stream"
}

func (f *Files) log(r *http.Request, result string) {
	f.note(words.Line(fmt.Sprintf("HTTP %s: %s %s: %s", r.RemoteAddr, r.Method, r.URL.Path, result)))
}

const (
	// chunk is how much is sent to a client at a time, and the memory for each.
	chunk = 16 << 10
	// slowest is the minimum average rate of a client, in bytes per second.
	slowest = 8 << 10
)

// errSlow is the reason for disconnecting a slow client.
var errSlow = errors.New("too slow")

// Response is a response that ends if the client receives too slowly.
type Response struct {
	http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
	start   time.Time
	status  int
	sent    int64
	err     error
}

// Paced returns w with the limits of [Files]: it disconnects a client that receives
// nothing for timeout, or too little on average.
func Paced(w http.ResponseWriter, timeout time.Duration) *Response {
	return &Response{ResponseWriter: w, control: http.NewResponseController(w), timeout: timeout, start: time.Now(), status: http.StatusOK}
}

// WriteHeader implements [http.ResponseWriter].
func (p *Response) WriteHeader(status int) {
	p.status = status
	p.ResponseWriter.WriteHeader(status)
}

// Unwrap lets [http.ResponseController] find the connection.
func (p *Response) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// Write implements [http.ResponseWriter].
func (p *Response) Write(b []byte) (int, error) {
	if elapsed := time.Since(p.start) - p.timeout; elapsed > 0 && float64(p.sent) < elapsed.Seconds()*slowest {
		p.err = errSlow
		return 0, p.err
	}
	if err := p.control.SetWriteDeadline(time.Now().Add(p.timeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	n, err := p.ResponseWriter.Write(b)
	p.sent += int64(n)
	if err != nil {
		p.err = err
	}
	return n, err
}

// ReadFrom implements [io.ReaderFrom] in small pieces, so that thousands of waiting
// clients need little memory.
func (p *Response) ReadFrom(r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{p}, struct{ io.Reader }{r}, make([]byte, chunk))
}

// Result describes the outcome of the request, for a log: the status, and how much was
// sent, or where the client stopped.
func (p *Response) Result(r *http.Request) string {
	took := time.Since(p.start).Round(time.Millisecond)
	length := p.Header().Get("Content-Length")
	switch {
	case p.err != nil:
		return fmt.Sprintf("%d: stopped after %d of %s bytes in %s: %v", p.status, p.sent, length, took, p.err)
	case r.Method == http.MethodHead || p.status >= 300:
		return fmt.Sprint(p.status)
	}
	return fmt.Sprintf("%d: %d bytes in %s", p.status, p.sent, took)
}
