package hardware

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hookbuild/internal/fault"
)

const (
	goodHeader = "hostname,bmc_ip,bmc_username,bmc_password,mac,ip_address,netmask,gateway,nameservers,labels,disk,vlan_id\n"
	goodRow    = "cp01,203.0.113.11,admin,secret,00:00:5E:00:53:11,192.0.2.11,255.255.255.0,192.0.2.1,192.0.2.53|192.0.2.54,type=cp,/dev/sda,120\n"
)

func TestReadGivesMachines(t *testing.T) {
	machines, warnings, err := Read(strings.NewReader(goodHeader+goodRow), Rules{})
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	want := []Machine{{
		Line: 2, Hostname: "cp01", MAC: MAC{0, 0, 0x5e, 0, 0x53, 0x11},
		IP: netip.MustParseAddr("192.0.2.11"), Network: netip.MustParsePrefix("192.0.2.0/24"),
		Gateway:     netip.MustParseAddr("192.0.2.1"),
		Nameservers: []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("192.0.2.54")},
		VLAN:        120, Disk: "/dev/sda", Labels: map[string]string{"type": "cp"},
	}}
	if diff := cmp.Diff(want, machines, cmp.Comparer(sameAddr), cmp.Comparer(samePrefix)); diff != "" {
		t.Error(diff)
	}
}

func sameAddr(a, b netip.Addr) bool     { return a == b }
func samePrefix(a, b netip.Prefix) bool { return a == b }

// The forms of file in EKS Anywhere's documentation are accepted without a
// warning: with and without columns of a BMC, with empty ones, with
// CRLF, in another order.
func TestReadSamples(t *testing.T) {
	files, err := filepath.Glob("testdata/*.csv")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		machines, warnings, err := Read(f, Rules{})
		f.Close()
		if err != nil || len(warnings) > 0 || len(machines) == 0 {
			t.Errorf("%s: %d machines, %v, %v", name, len(machines), warnings, err)
		}
	}
}

// faultsOf reads text and returns a line for every fault. Warnings are marked.
func faultsOf(t *testing.T, text string, rules Rules) []string {
	t.Helper()
	_, warnings, err := Read(strings.NewReader(text), rules)
	var got []string
	for _, w := range warnings {
		got = append(got, "warning "+w.String())
	}
	var wrong Faults
	if errors.As(err, &wrong) {
		for _, f := range wrong {
			got = append(got, f.String())
		}
	} else if err != nil {
		t.Fatal(err)
	}
	return got
}

// edit returns the good file with one value of its row replaced.
func edit(column, value string) string {
	names := strings.Split(strings.TrimSpace(goodHeader), ",")
	cells := strings.Split(strings.TrimSpace(goodRow), ",")
	for i, name := range names {
		if name == column {
			cells[i] = value
		}
	}
	return goodHeader + strings.Join(cells, ",") + "\n"
}

func TestCells(t *testing.T) {
	long := strings.Repeat("a", 64)
	tests := []struct{ column, value, want string }{
		{"hostname", "", "2:1: hostname: the value is missing"},
		{"hostname", "CP01", `2:1: hostname: "CP01" is not a host name: it has capital letters`},
		{"hostname", "cp_01", `2:1: hostname: "cp_01" is not a host name: only letters, digits, hyphens and dots are allowed`},
		{"hostname", "-cp", `2:1: hostname: "-cp" is not a host name: a part begins or ends with a hyphen`},
		{"hostname", "a..b", `2:1: hostname: "a..b" is not a host name: a part between its dots is empty`},
		{"hostname", long, `2:1: hostname: "` + long + `" is not a host name: a part has more than 63 characters`},
		{"hostname", strings.Repeat("a.", 127), "2:1: hostname: the name has 254 characters, but may have only 253"},
		{"hostname", "1234", `2:1: hostname: "1234" would be read as an address: a host name needs a letter`},
		{"hostname", `cp01;rm`, `2:1: hostname: "cp01;rm" is not a host name: only letters, digits, hyphens and dots are allowed`},
		{"mac", "00:00:5e:00:53", `2:32: mac: "00:00:5e:00:53" is not a MAC address of six bytes, such as 00:00:5e:00:53:11`},
		{"mac", "00:00:5e:00:53:11:22:33", `2:32: mac: "00:00:5e:00:53:11:22:33" is not a MAC address of six bytes, such as 00:00:5e:00:53:11`},
		{"mac", "ff:ff:ff:ff:ff:ff", `2:32: mac: "ff:ff:ff:ff:ff:ff" is a group address, not that of a network card: its first byte is odd`},
		{"mac", "00:00:00:00:00:00", `2:32: mac: "00:00:00:00:00:00" is not the address of a network card`},
		{"mac", "192.0.2.11", `2:32: mac: "192.0.2.11" is an IP address, not a MAC address: are two columns swapped?`},
		{"ip_address", "00:00:5e:00:53:11", `2:50: ip_address: "00:00:5e:00:53:11" is a MAC address, not an IP address: are two columns swapped?`},
		{"ip_address", "192.0.2.300", `2:50: ip_address: "192.0.2.300" is not an IPv4 address`},
		{"ip_address", "192.0.2.011", `2:50: ip_address: "192.0.2.011" is not an IPv4 address: write its numbers without leading zeros`},
		{"ip_address", "2001:db8::1", `2:50: ip_address: "2001:db8::1" is an IPv6 address, but network boot needs IPv4`},
		{"ip_address", "224.0.0.1", "2:50: ip_address: 224.0.0.1 is not an address that a machine can have"},
		{"ip_address", "192.0.2.0", "2:50: ip_address: 192.0.2.0 is the network address of 192.0.2.0/24"},
		{"ip_address", "192.0.2.255", "2:50: ip_address: 192.0.2.255 is the broadcast address of 192.0.2.0/24"},
		{"ip_address", "192.0.2.1", "2:50: ip_address: 192.0.2.1 is also the gateway's address"},
		{"ip_address", "192.0.2.9", "2:50: ip_address: 192.0.2.9 is the Tinkerbell IP"},
		{"netmask", "255.0.255.0", `2:61: netmask: "255.0.255.0" is not a netmask: its one bits are not contiguous at the front`},
		{"netmask", "192.0.2.1", `2:61: netmask: "192.0.2.1" is not a netmask but an address: are two columns swapped?`},
		{"netmask", "24", `2:61: netmask: "24" is not a netmask such as 255.255.255.0`},
		{"netmask", "255.255.255.255", `2:61: netmask: "255.255.255.255" has no room for a machine and its gateway: use 255.255.255.252 or wider`},
		{"netmask", "0.0.0.0", `2:61: netmask: "0.0.0.0" has no room for a machine and its gateway: use 255.255.255.252 or wider`},
		{"gateway", "198.51.100.1", "2:75: gateway: 198.51.100.1 is outside 192.0.2.0/24, the network of 192.0.2.11"},
		{"gateway", "255.255.255.0", `2:75: gateway: "255.255.255.0" is a netmask: are the columns gateway and netmask swapped?`},
		{"gateway", "192.0.2.255", "2:75: gateway: 192.0.2.255 is the broadcast address of 192.0.2.0/24"},
		{"nameservers", "dns.example", `2:85: nameservers: "dns.example" is not the IPv4 address of a name server: separate several by |`},
		{"nameservers", "192.0.2.53|", `2:85: nameservers: "" is not the IPv4 address of a name server: separate several by |`},
		{"nameservers", "192.0.2.53|192.0.2.53", "2:85: nameservers: the name server 192.0.2.53 is listed twice"},
		{"labels", "type", `2:107: labels: the label "type" has no =: write key=value, and separate several by |`},
		{"labels", "a=b|a=c", `2:107: labels: the label "a" is listed twice`},
		{"labels", "-a=b", `2:107: labels: the label's key "-a" is not a valid key of Kubernetes`},
		{"labels", "a=b c", `2:107: labels: the label's value "b c" is not a valid value of Kubernetes: use at most 63 letters, digits, - _ . with a letter or digit at both ends`},
		{"disk", "sda", `2:115: disk: "sda" is not a disk that EKS Anywhere accepts: write /dev/NAME, without another directory`},
		{"disk", "/dev/mapper/x", `2:115: disk: "/dev/mapper/x" is not a disk that EKS Anywhere accepts: write /dev/NAME, without another directory`},
		{"vlan_id", "4095", `2:124: vlan_id: "4095" is not a VLAN: choose 1 to 4094 or leave it empty`},
		{"vlan_id", "0", `2:124: vlan_id: "0" is not a VLAN: choose 1 to 4094 or leave it empty`},
		{"vlan_id", "+1", `2:124: vlan_id: "+1" is not a VLAN: choose 1 to 4094 or leave it empty`},
		{"bmc_ip", "bmc.example", "2:6: bmc_ip: the value is not an IP address"},
		{"bmc_password", "", "2:25: bmc_password: the value is missing, but another BMC value is set: set all three or none"},
	}
	rules := Rules{Taken: []Taken{{IP: netip.MustParseAddr("192.0.2.9"), By: "the Tinkerbell IP"}}}
	for _, tt := range tests {
		got := faultsOf(t, edit(tt.column, tt.value), rules)
		if diff := cmp.Diff([]string{tt.want}, got); diff != "" {
			t.Errorf("%s=%q: %s", tt.column, tt.value, diff)
		}
	}
}

func TestAcceptedCells(t *testing.T) {
	for _, tt := range []struct{ column, value string }{
		{"hostname", "cp01.rack-2.example"}, {"mac", "00-00-5e-00-53-11"}, {"labels", ""}, {"vlan_id", ""},
		{"labels", "example.com/role=cp|empty="}, {"bmc_ip", "2001:db8::11"}, {"disk", "/dev/nvme0n1"}, {"netmask", "255.255.255.128"},
	} {
		if got := faultsOf(t, edit(tt.column, tt.value), Rules{}); len(got) > 0 {
			t.Errorf("%s=%q: %q", tt.column, tt.value, got)
		}
	}
}

const plainHeader = "hostname,mac,ip_address,netmask,gateway,nameservers,labels,disk,bmc_ip,bmc_username,bmc_password\n"

func line(host, mac, ip, mask, gateway, bmc string) string {
	return strings.Join([]string{host, mac, ip, mask, gateway, "192.0.2.53", "", "/dev/sda", bmc, "u", "p"}, ",") + "\n"
}

func TestAcrossRows(t *testing.T) {
	const mask = "255.255.255.0"
	text := plainHeader +
		line("a", "00:00:5e:00:53:01", "192.0.2.11", mask, "192.0.2.1", "203.0.113.1") +
		line("b", "00-00-5E-00-53-01", "192.0.2.12", mask, "192.0.2.1", "203.0.113.2") +
		line("a", "00:00:5e:00:53:03", "192.0.2.11", mask, "192.0.2.1", "203.0.113.1") +
		line("d", "00:00:5e:00:53:04", "192.0.2.14", "255.255.255.128", "192.0.2.1", "203.0.113.4") +
		line("e", "00:00:5e:00:53:05", "192.0.2.15", mask, "192.0.2.12", "192.0.2.14")
	want := []string{
		"3:3: mac: line 2 also has 00:00:5e:00:53:01",
		"3:21: ip_address: 192.0.2.12 is the gateway of line 6",
		"4:1: hostname: line 2 also has a",
		"4:21: ip_address: line 2 also has 192.0.2.11",
		"4:77: bmc_ip: line 2 has the same value",
		"5:21: ip_address: 192.0.2.14 is also the address of a BMC (line 6)",
		"5:32: netmask: the network 192.0.2.0/25 overlaps 192.0.2.0/24 of line 2: one of the masks is wrong",
	}
	if diff := cmp.Diff(want, faultsOf(t, text, Rules{})); diff != "" {
		t.Error(diff)
	}
}

func TestSubnets(t *testing.T) {
	for subnet, want := range map[string]string{
		"192.0.2.0/24":    "",
		"192.0.2.0/23":    "2:61: netmask: 192.0.2.11 has the mask of 192.0.2.0/24, but the subnet to serve is 192.0.2.0/23",
		"198.51.100.0/24": "2:50: ip_address: 192.0.2.11 is outside the subnet to serve, 198.51.100.0/24",
	} {
		got := strings.Join(faultsOf(t, goodHeader+goodRow, Rules{Subnets: []netip.Prefix{netip.MustParsePrefix(subnet)}}), "\n")
		if got != want {
			t.Errorf("%s: %q", subnet, got)
		}
	}
}

func TestFileForm(t *testing.T) {
	bom := "warning 1:1: the file begins with a byte-order mark, which EKS Anywhere reads as part of the first column's name: save it as UTF-8 without one"
	tests := []struct {
		name, text string
		want       []string
	}{
		{"byte-order mark", "\xef\xbb\xbf" + goodHeader + goodRow, []string{bom}},
		{"CRLF", strings.ReplaceAll(goodHeader+goodRow, "\n", "\r\n"), nil},
		{"no newline at the end", strings.TrimSuffix(goodHeader+goodRow, "\n"), nil},
		{"CR", strings.ReplaceAll(goodHeader+goodRow, "\n", "\r"), []string{"1: the lines end with only a carriage return: save the file with LF or CRLF line ends"}},
		{"UTF-16", "\xff\xfeh\x00o\x00", []string{"1: the file is UTF-16: save it as CSV UTF-8"}},
		{"Latin-1", goodHeader + "\xe9" + goodRow, []string{"2: the line is not UTF-8: save the file as CSV UTF-8"}},
		{"NUL", goodHeader + "a\x00b", []string{"2: the line contains a NUL byte: this is not a CSV file"}},
		{"no header", "a,b\n" + goodRow, []string{"1:1: this is not a header: the first line of a hardware list names its columns, hostname,ip_address,netmask,gateway,nameservers,mac,disk,labels"}},
		{"empty", "", []string{"1: the file is empty: write a header row and a row for each machine"}},
		{"header only", goodHeader, []string{"2: the file has no machine: add a row for each"}},
		{"semicolons", strings.ReplaceAll(goodHeader+goodRow, ",", ";"), []string{`1:1: the columns are separated by ";": save the file with commas`}},
		{"spaces", edit("ip_address", " 192.0.2.11 "), []string{"warning 2:50: ip_address: spaces around the value, which EKS Anywhere does not trim"}},
		{"spaces in the header", strings.Replace(goodHeader, ",mac", ", mac", 1) + goodRow, []string{"warning 1:43: mac: spaces around the column's name, which EKS Anywhere does not trim"}},
		{"too few values", goodHeader + "a,b\n" + goodRow, []string{"2: the row has 2 values, but the header has 12 columns: put a value with a comma in double quotes"}},
		{"unknown column", strings.Replace(goodHeader, "vlan_id", "VLAN-ID", 1) + goodRow, []string{"warning 1:98: VLAN-ID: EKS Anywhere does not know this column and ignores it: did you mean vlan_id?"}},
		{"capitals", "MAC,DISK\n" + goodRow, []string{
			"warning 1:1: MAC: EKS Anywhere does not know this column and ignores it: did you mean mac?",
			"warning 1:5: DISK: EKS Anywhere does not know this column and ignores it: did you mean disk?",
			"1: disk: the header lacks this column", "1: gateway: the header lacks this column", "1: hostname: the header lacks this column",
			"1: ip_address: the header lacks this column", "1: labels: the header lacks this column", "1: mac: the header lacks this column",
			"1: nameservers: the header lacks this column", "1: netmask: the header lacks this column",
		}},
		{"missing columns", "hostname,mac,ip_address,labels,disk,mac\na,b,c,d,e,f\n", []string{
			"1: gateway: the header lacks this column", "1: nameservers: the header lacks this column",
			"1: netmask: the header lacks this column", "1:37: mac: the header has this column twice",
		}},
		{"quotes, and the rest of the file", goodHeader + "a\"b,c\n" + strings.Replace(goodRow, "192.0.2.11", "x", 1), []string{
			`2:2: bare " in non-quoted-field: put values with quotes, commas or line ends in double quotes, and double the quotes inside`,
			`3:50: ip_address: "x" is not an IPv4 address`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, faultsOf(t, tt.text, Rules{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// No message ever shows a value of a BMC, right or wrong.
func TestSecretsStaySecret(t *testing.T) {
	text := plainHeader +
		line("a", "00:00:5e:00:53:01", "192.0.2.11", "255.255.255.0", "192.0.2.1", "hunter2") +
		line("b", "00:00:5e:00:53:02", "192.0.2.12", "255.255.255.0", "192.0.2.1", "203.0.113.7") +
		line("c", "00:00:5e:00:53:03", "192.0.2.13", "255.255.255.0", "192.0.2.1", "203.0.113.7")
	all := strings.Join(faultsOf(t, text, Rules{}), "\n")
	if strings.Contains(all, "hunter2") || strings.Contains(all, "203.0.113.7") {
		t.Errorf("a BMC value is shown:\n%s", all)
	}
	if strings.Count(all, "bmc_ip") != 2 {
		t.Errorf("want two faults of bmc_ip:\n%s", all)
	}
}

func TestTooLarge(t *testing.T) {
	if _, _, err := Read(strings.NewReader(strings.Repeat("x", mostBytes+1)), Rules{}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "16 MiB") {
		t.Error(err)
	}
	if got := faultsOf(t, goodHeader+strings.Repeat("x\n", mostRows+1), Rules{}); len(got) != mostRows+1 {
		t.Errorf("%d faults", len(got))
	}
}

// FuzzRead checks what holds for every input: accepted machines obey
// the rules on which the servers rely, and each fault has its place.
func FuzzRead(f *testing.F) {
	f.Add([]byte(goodHeader + goodRow))
	f.Add([]byte(edit("netmask", "255.0.255.0")))
	f.Add([]byte("\xef\xbb\xbfhostname;mac\r\n\"a\nb\""))
	f.Fuzz(func(t *testing.T, text []byte) {
		machines, _, err := Read(strings.NewReader(string(text)), Rules{})
		var wrong Faults
		if errors.As(err, &wrong) {
			for _, fault := range wrong {
				if fault.Line < 1 || fault.Text == "" {
					t.Errorf("no place or text: %+v", fault)
				}
			}
		}
		seen := map[netip.Addr]bool{}
		for _, m := range machines {
			if !m.Network.Contains(m.IP) || !m.Network.Contains(m.Gateway) || m.IP == m.Gateway || seen[m.IP] || m.MAC.multicast() || len(m.Nameservers) == 0 {
				t.Errorf("accepted: %+v", m)
			}
			seen[m.IP] = true
		}
	})
}
