package lab

import "testing"

func TestHaltEndsTheMachine(t *testing.T) {
	ended := 0
	h := &haltWatch{end: func() { ended++ }}
	for _, part := range []string{"reboot: System is going down\nreboot: Sys", "tem hal", "ted\n"} {
		if ended != 0 {
			t.Fatalf("it ends before %q", part)
		}
		if n, err := h.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if ended != 1 || !h.seen {
		t.Errorf("it ended %d times", ended)
	}
}
