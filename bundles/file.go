package bundles

// File is a file on a web server.
type File struct {
	URL string
	// SHA256 and SHA512 are hexadecimal. Published bundles have neither for HookOS
	// files, so only HTTPS protects those.
	SHA256, SHA512 string
}

func (a byArch) file(arch string) File {
	var f artifact
	switch arch {
	case "amd64":
		f = a.AMD
	case "arm64":
		f = a.ARM
	}
	return File{URL: f.URI, SHA256: f.SHA256, SHA512: f.SHA512}
}
