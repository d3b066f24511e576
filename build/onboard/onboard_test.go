package onboard

import "testing"

func TestSourceNameHidesTheMachine(t *testing.T) {
	for source, want := range map[string]string{
		"deb:/home/me/linux-image.deb": "deb:linux-image.deb",
		"oci:/srv/images/x":            "oci:x",
		"ghcr.io/x/y:z":                "ghcr.io/x/y:z",
		"image:ghcr.io/x/y:z":          "image:ghcr.io/x/y:z",
		"deb:https://h.example/k.deb":  "deb:https://h.example/k.deb",
	} {
		if got := SourceName(source); got != want {
			t.Errorf("%s: got %s, want %s", source, got, want)
		}
	}
}
