package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// decoder is what every type of a variable has, beside the built-in ones.
type decoder interface{ Decode(value string) error }

// newTypes returns an empty value of each type and what it prints.
func newTypes() map[string]decoder {
	return map[string]decoder{
		"ByteSize": new(ByteSize), "URL": new(URL), "ListenAddr": new(ListenAddr), "HostPorts": new(HostPorts), "TimeZone": new(TimeZone),
		"Proxy": new(Proxy), "Start": new(Start), "FileOrText": new(FileOrText), "LogFormat": new(LogFormat), "ContentMode": new(ContentMode), "SchemaVersion": new(SchemaVersion), "Validation": new(Validation), "Sources": new(Sources),
	}
}

// printed returns what a setting of the type shows.
func printed(d decoder) string {
	switch v := d.(type) {
	case *URL:
		return string(*v)
	case *ListenAddr:
		return string(*v)
	case *ContentMode:
		return string(*v)
	case *Validation:
		return string(*v)
	case *LogFormat:
		return string(*v)
	default:
		return fmt.Sprint(v)
	}
}

func TestDecode(t *testing.T) {
	const bad = "error"
	tests := []struct{ typ, in, want string }{
		{"ByteSize", "4MiB", "4MiB"},
		{"ByteSize", "4194304", "4MiB"},
		{"ByteSize", "1536 KiB", "1536KiB"},
		{"ByteSize", "1025", "1025"},
		{"ByteSize", "0", "0"},
		{"ByteSize", "8589934591GiB", "8589934591GiB"},
		{"ByteSize", "8589934592GiB", bad},
		{"ByteSize", "9223372036854775808", bad},
		{"ByteSize", "-1", bad},
		{"ByteSize", "4MB", bad},
		{"ByteSize", "4M", bad},
		{"ByteSize", "1.5MiB", bad},
		{"ByteSize", "MiB", bad},
		{"URL", "https://app.ekuaibao.com", "https://app.ekuaibao.com"},
		{"URL", "http://h:8080/api//", "http://h:8080/api"},
		{"URL", "HTTPS://h/", "https://h"},
		{"URL", "http://[::1]:80", "http://[::1]:80"},
		{"URL", "ftp://h", bad},
		{"URL", "h", bad},
		{"URL", "https://", bad},
		{"URL", "https://:80", bad},
		{"URL", "https://u@h", bad},
		{"URL", "https://u:p@h", bad},
		{"URL", "https://h?a=b", bad},
		{"URL", "https://h?", bad},
		{"URL", "https://h#x", bad},
		{"URL", "https://h#", bad},
		{"URL", "https://h\x7f", bad},
		{"Proxy", "none", "none"},
		{"Proxy", "None", "none"},
		{"Proxy", "http://proxy:3128", "http://proxy:3128"},
		{"Proxy", "HTTPS://proxy/", "https://proxy"},
		{"Proxy", "socks5://[::1]:1080", "socks5://[::1]:1080"},
		{"Proxy", "http://user:pass@proxy:3128", "http://****@proxy:3128"},
		{"Proxy", "socks5://token@proxy", "socks5://****@proxy"},
		{"Proxy", "http://user:pa#ss@proxy:3128", bad},
		{"Proxy", "http://user:1/2@proxy:3128", bad},
		{"Proxy", "http://user:1?2@proxy:3128", bad},
		{"Proxy", "proxy:3128", bad},
		{"Proxy", "ftp://proxy", bad},
		{"Proxy", "http://", bad},
		{"Proxy", "http://:3128", bad},
		{"Proxy", "http://proxy:port", bad},
		{"Proxy", "http://proxy/path", bad},
		{"Proxy", "http://proxy?", bad},
		{"Proxy", "no", bad},
		{"ListenAddr", "127.0.0.1:8080", "127.0.0.1:8080"},
		{"ListenAddr", ":0", ":0"},
		{"ListenAddr", "[::1]:80", "[::1]:80"},
		{"ListenAddr", "8080", bad},
		{"ListenAddr", "h:65536", bad},
		{"ListenAddr", "h:http", bad},
		{"ListenAddr", "http://h:80", bad},
		{"HostPorts", "a:1, b:65535", "a:1,b:65535"},
		{"HostPorts", "[::1]:9092", "[::1]:9092"},
		{"HostPorts", "a:0", bad},
		{"HostPorts", ":9092", bad},
		{"HostPorts", "a", bad},
		{"HostPorts", "a:1,", bad},
		{"HostPorts", "a:1,a:1", bad},
		{"HostPorts", "u@a:1", bad},
		{"TimeZone", "Asia/Shanghai", "Asia/Shanghai"},
		{"TimeZone", "UTC", "UTC"},
		{"TimeZone", "Local", bad},
		{"TimeZone", "", bad},
		{"TimeZone", "CST+8", bad},
		{"TimeZone", "../zone", bad},
		{"Start", "24h", "24h"},
		{"Start", "90m", "1h30m"},
		{"Start", "0s", "0s"},
		{"Start", "2026-01-31T00:00:00Z", "2026-01-31T00:00:00Z"},
		{"Start", "2026-01-31T08:00:00.5+08:00", "2026-01-31T08:00:00.5+08:00"},
		{"Start", "-1h", bad},
		{"Start", "24", bad},
		{"Start", "2026-01-31", bad},
		{"Start", "0001-01-01T00:00:00Z", bad},
		{"FileOrText", "/etc/ca.crt", "/etc/ca.crt"},
		{"FileOrText", "-----BEGIN CERTIFICATE-----", "****"},
		{"FileOrText", "a\nb", "****"},
		{"LogFormat", "JSON", "json"},
		{"LogFormat", "xml", bad},
		{"ContentMode", "Structured", "structured"},
		{"ContentMode", "batch", bad},
		{"SchemaVersion", "1.0", "1.0"},
		{"SchemaVersion", "Newest", "newest"},
		{"SchemaVersion", "0.9", bad},
		{"SchemaVersion", "", bad},
		{"Validation", "ALL", "all"},
		{"Validation", "some", bad},
		{"Sources", "a", "a=a"},
		{"Sources", " a=x , b_2=y ", "a=x,b_2=y"},
		{"Sources", "a=x,a=y", bad},
		{"Sources", "2a=x", bad},
		{"Sources", "a=", "a="},
		{"Sources", ",", bad},
	}
	for _, tt := range tests {
		d := newTypes()[tt.typ]
		got := bad
		err := d.Decode(tt.in)
		if err == nil {
			got = printed(d)
		}
		if got != tt.want {
			t.Errorf("%s %q: got %s (%v), want %s", tt.typ, tt.in, got, err, tt.want)
		}
	}
}

// What a value prints is read again as the same value, and no error of a type
// other than Sources, whose names are no secrets, holds what was given.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"4MiB", "8589934592GiB", "https://h/x/", "https://u:p@h?q#f", "a:1,[::1]:2", "Asia/Shanghai", "36h", "2026-01-31T08:00:00+08:00", "/etc/x", "-----BEGIN", "text", "a=x,b", "socks5://u:p@h:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		for name, d := range newTypes() {
			if err := newTypes()[name].Decode(in + "-canary"); err != nil && name != "Sources" && strings.Contains(err.Error(), "-canary") {
				t.Errorf("%s: the error holds the value: %v", name, err)
			}
			if d.Decode(in) != nil {
				continue
			}
			want := printed(d)
			if strings.Contains(want, "****") {
				continue
			}
			again := newTypes()[name]
			if err := again.Decode(want); err != nil || printed(again) != want {
				t.Errorf("%s %q: got %q, %v, want %q", name, in, printed(again), err, want)
			}
		}
	})
}

func TestStartTime(t *testing.T) {
	now := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Time{"24h": now.Add(-24 * time.Hour), "2026-01-05T08:00:00+08:00": time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)} {
		var s Start
		if err := s.Decode(in); err != nil || !s.Time(now).Equal(want) {
			t.Errorf("%s: got %v, %v, want %v", in, s.Time(now), err, want)
		}
	}
}

func TestProxy(t *testing.T) {
	var p, none Proxy
	if err := errors.Join(p.Decode("http://user:p%40hunter@proxy:3128"), none.Decode("none")); err != nil {
		t.Fatal(err)
	}
	if password, _ := p.URL().User.Password(); password != "p@hunter" || p.URL().Host != "proxy:3128" {
		t.Errorf("got password %q, host %q", password, p.URL().Host)
	}
	if got := fmt.Sprintf("%v %+v %#v %s", p, Common{ProxyURL: p}, p, &p); strings.Contains(got, "hunter") || strings.Contains(got, "user:") {
		t.Errorf("leaks: %s", got)
	}
	if none.IsZero() || none.URL() != nil || !(Proxy{}).IsZero() || p.IsZero() {
		t.Error("none, unset and a proxy are confused")
	}
}

func TestFileOrText(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, content := range []string{"one", "rotated"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := (FileOrText{path: path}).Bytes(); err != nil || string(got) != content {
			t.Errorf("got %q, %v, want %q", got, err, content)
		}
	}
	if got, err := Text("seed").Bytes(); err != nil || string(got) != "seed" {
		t.Errorf("got %q, %v", got, err)
	}
	if got := fmt.Sprintf("%v %+v %#v", Text("seed"), struct{ f FileOrText }{Text("seed")}, Text("seed")); strings.Contains(got, "seed") {
		t.Errorf("leaks: %s", got)
	}
	if !(FileOrText{}).IsZero() || Text("x").IsZero() || (FileOrText{path: "x"}).IsZero() {
		t.Error("IsZero is wrong")
	}
}

func TestText(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0s", 30 * time.Second: "30s", 30 * time.Minute: "30m", 72 * time.Hour: "72h", 90 * time.Minute: "1h30m", 90 * time.Second: "1m30s", time.Hour + time.Second: "1h0m1s", 10 * time.Millisecond: "10ms"} {
		if got := text(d); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
