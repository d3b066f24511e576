package profile

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
	"hookbuild/internal/fetch"
)

// Inputs is what [Profile.Load] reads beside the profile.
type Inputs struct {
	// Name names the profile in messages: its file.
	Name string
	// Line returns the line of a setting, 0 if that is not known. It may be nil.
	Line func(setting string) int
	// Dir is where relative paths are found.
	Dir string
	// Moved maps absolute paths to where the files are instead, if they do not exist or
	// may not be read.
	Moved map[string]string
	// Secrets is where relative paths of files with secrets are found. Empty means
	// Dir.
	Secrets string
	// Getenv returns a variable of the environment.
	Getenv func(string) string
	// Now is the time at which certificates must be valid.
	Now time.Time
}

// Site is a profile that was checked, with the content of its files.
type Site struct {
	Profile
	name       string
	line       func(setting string) int
	ca         []certificate
	registries []registry
	keys       []sshKey
	hash       string // of the console's password
	files      []File
}

type certificate struct {
	pem         []byte
	name        string
	fingerprint string
}

type registry struct {
	Registry
	ca       []certificate
	password string
}

// Load reads the files of the profile and checks every value.
func (p Profile) Load(in Inputs) (*Site, error) {
	s := &Site{Profile: p, name: in.Name, line: in.Line}
	if reflect.ValueOf(p).IsZero() {
		return nil, fault.Invalidf("reading the site profile %q: it sets nothing", in.Name)
	}
	var problems []error
	for _, check := range []func(Inputs) []error{
		s.loadAuthorities, s.loadRegistries, s.checkMirrors, s.checkProxy, s.checkNames, s.checkNetwork, s.loadKeys, one(s.loadConsole),
	} {
		problems = append(problems, check(in)...)
	}
	switch len(problems) {
	case 0:
		return s, nil
	case 1:
		return nil, fault.Mark(s.failed("reading", problems[0]), fault.Invalid)
	}
	text := fmt.Sprintf("reading the site profile %q: %d problems:", in.Name, len(problems))
	for _, p := range problems {
		text += fmt.Sprintf("\n%s: %v", s.place(p), p)
	}
	return nil, fault.Mark(errors.New(text), fault.Invalid)
}

// one makes a check that finds at most one problem one of a list.
func one(check func(Inputs) error) func(Inputs) []error {
	return func(in Inputs) []error {
		if err := check(in); err != nil {
			return []error{err}
		}
		return nil
	}
}

// failed says what failed, and where.
func (s *Site) failed(doing string, err error) error {
	return fmt.Errorf("%s the site profile %q: %w", doing, s.place(err), err)
}

// place returns the profile's name, with the line of the setting that the error begins
// with, as in "dns.servers[1]: ".
func (s *Site) place(err error) string {
	name := s.name
	setting, _, _ := strings.Cut(err.Error(), ":")
	for s.line != nil && setting != "" {
		if line := s.line(setting); line > 0 {
			name = fmt.Sprintf("%s:%d", name, line)
			break
		}
		setting = setting[:max(strings.LastIndexAny(setting, ".["), 0)]
	}
	return name
}

// maxFile is the most bytes that a file of a profile may have.
const maxFile = 1 << 20

func (in Inputs) file(key, name string) ([]byte, error) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(in.Dir, name)
	}
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	f, err := os.Open(fetch.StandIn(name, in.Moved[abs]))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if len(content) > maxFile {
		return nil, fmt.Errorf("%s: %q has more than %d bytes", key, name, maxFile)
	}
	return content, nil
}

// read reads a file without secrets and records its digest.
func (s *Site) read(in Inputs, key, name string) ([]byte, error) {
	content, err := in.file(key, name)
	if f := (File{filepath.ToSlash(name), digest.OfBytes(content)}); err == nil && !slices.Contains(s.files, f) {
		s.files = append(s.files, f)
	}
	return content, err
}

// secret returns the text of a file or variable, "" when neither is given.
func (in Inputs) secret(key, file, variable string) (string, error) {
	switch {
	case file != "" && variable != "":
		return "", fmt.Errorf("%[1]s-file and %[1]s-env both name one; leave one out", key)
	case variable != "":
		text := in.Getenv(variable)
		if text == "" {
			return "", fmt.Errorf("%s-env: the environment variable %s is not set", key, variable)
		}
		return oneLine(key+"-env", text)
	case file != "":
		in.Dir = cmp.Or(in.Secrets, in.Dir)
		content, err := in.file(key+"-file", file)
		if in.Secrets != "" && errors.Is(err, fs.ErrNotExist) {
			if !filepath.IsAbs(file) {
				file = filepath.Join(in.Dir, file)
			}
			if abs, absErr := filepath.Abs(file); absErr == nil {
				file = abs
			}
			err = fmt.Errorf("%w; a kit holds no secrets: put %q into %q", err, filepath.Base(file), filepath.Dir(file))
		}
		if err != nil {
			return "", err
		}
		return oneLine(key+"-file", strings.TrimRight(string(content), "\r\n"))
	}
	return "", nil
}

func oneLine(key, text string) (string, error) {
	if text == "" || strings.ContainsAny(text, "\r\n\x00") {
		return "", fmt.Errorf("%s: it must be one line of text", key)
	}
	return text, nil
}

func (s *Site) loadAuthorities(in Inputs) (problems []error) {
	for i, file := range s.CA {
		found, err := s.certificates(in, fmt.Sprintf("ca[%d]", i), file)
		if err != nil {
			problems = append(problems, err)
		}
		for _, c := range found {
			if slices.ContainsFunc(s.ca, func(o certificate) bool { return o.fingerprint == c.fingerprint }) {
				problems = append(problems, fmt.Errorf("ca[%d]: %q has the certificate %s, which is there already; leave it out", i, file, c.name))
			}
			s.ca = append(s.ca, c)
		}
	}
	return problems
}

// certificates reads a file of certificates in PEM form, and nothing but those.
func (s *Site) certificates(in Inputs, key, file string) ([]certificate, error) {
	data, err := s.read(in, key, file)
	if err != nil {
		return nil, err
	}
	var all []certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			what := strings.ToLower(block.Type)
			if bytes.Contains(data, []byte("-----BEGIN CERTIFICATE-----")) {
				what += " beside certificates"
			}
			return nil, fmt.Errorf("%s: %q has the PEM block %s; everyone who can fetch the initramfs could read it, so give a file with certificates alone", key, file, what)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d of %q: %w; export it again in PEM form", key, len(all)+1, file, err)
		}
		if in.Now.After(c.NotAfter) {
			return nil, fmt.Errorf("%s: the certificate %s of %q expired on %s; machines would refuse what it signed", key, certificateName(c), file, c.NotAfter.Format(time.DateOnly))
		}
		sum := sha256.Sum256(c.Raw)
		all = append(all, certificate{pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}), certificateName(c), hex.EncodeToString(sum[:])})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: %q has no certificate in PEM form (-----BEGIN CERTIFICATE-----)", key, file)
	}
	return all, nil
}

func certificateName(c *x509.Certificate) string {
	return fmt.Sprintf("%q", cmp.Or(c.Subject.CommonName, c.Subject.String(), c.SerialNumber.String()))
}

// bundle joins certificates in PEM form.
func bundle(all []certificate) string {
	var b strings.Builder
	for _, c := range all {
		b.Write(c.pem)
	}
	return b.String()
}

func (s *Site) loadRegistries(in Inputs) (problems []error) {
	for i, r := range s.Registries {
		loaded, err := s.loadRegistry(in, fmt.Sprintf("registries[%d]", i), r)
		if err != nil {
			problems = append(problems, err)
		}
		s.registries = append(s.registries, loaded)
	}
	return problems
}

func (s *Site) loadRegistry(in Inputs, key string, r Registry) (loaded registry, err error) {
	loaded.Registry = r
	if err := checkHostPort(r.Host); err != nil {
		return loaded, fmt.Errorf("%s.host: %w", key, err)
	}
	if slices.ContainsFunc(s.registries, func(o registry) bool { return o.Host == r.Host }) {
		return loaded, fmt.Errorf("%s.host: %s is listed twice", key, r.Host)
	}
	if r.CA != "" {
		if loaded.ca, err = s.certificates(in, key+".ca", r.CA); err != nil {
			return loaded, err
		}
	}
	if loaded.password, err = in.secret(key+".password", r.PasswordFile, r.PasswordEnv); err != nil {
		return loaded, err
	}
	switch {
	case (r.Username == "") != (loaded.password == ""):
		return loaded, fmt.Errorf("%s: a login is username and one of password-file and password-env; give both or neither", key)
	case strings.Contains(r.Username, ":"):
		return loaded, fmt.Errorf("%s.username: %q has a colon, which divides user name and password", key, r.Username)
	case r.CA == "" && r.Username == "":
		return loaded, fmt.Errorf("%s: nothing is set for %s; give ca, or username and a password", key, r.Host)
	}
	return loaded, nil
}

func (s *Site) loadConsole(in Inputs) (err error) {
	c := s.Console
	if s.hash, err = in.secret("console.password-hash", c.HashFile, c.HashEnv); err != nil {
		return err
	}
	switch {
	case c.Login == "password" && s.hash == "":
		return errors.New("console: login: password needs password-hash-file or password-hash-env")
	case c.Login != "password" && s.hash != "":
		return errors.New("console: a password hash applies to login: password alone")
	case !slices.Contains([]string{"", "open", "password", "off"}, c.Login):
		return fmt.Errorf("console.login: %q is none of open, password and off", c.Login)
	}
	if s.hash != "" && !cryptHash.MatchString(s.hash) {
		return errors.New("console.password-hash: it is not the hash of a password, such as openssl passwd -6 prints ($6$SALT$HASH)")
	}
	return nil
}
