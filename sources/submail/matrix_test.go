package submail

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"connector/internal/apisim"
	"connector/internal/fault"
	"connector/sources"
	"connector/sources/httpx"
)

// wire notes the requests of a source to the hosts main and backup, and loses those to a host that is down.
type wire struct {
	next http.RoundTripper
	sim  *apisim.Submail
	down map[string]bool
	sent []sent
}

// sent is one request: of the log, its encoding and, if it is a form, its parameters.
type sent struct {
	at          time.Time
	host, path  string
	contentType string
	params      url.Values
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	s := sent{at: time.Now(), host: r.URL.Host, path: r.URL.Path, contentType: r.Header.Get("Content-Type")}
	if r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		raw, err := io.ReadAll(body)
		if err != nil {
			return nil, err
		}
		s.params, _ = url.ParseQuery(string(raw)) // nonsense unless a form
	}
	w.sent = append(w.sent, s)
	if w.down[r.URL.Host] {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	return w.next.RoundTrip(r)
}

// hosts returns the hosts that were asked, in order, and forgets the requests.
func (w *wire) hosts() string {
	var list []string
	for _, s := range w.sent {
		list = append(list, s.host)
	}
	w.sent = nil
	return strings.Join(slices.Compact(list), " ")
}

// twoHosts returns a source that reads a simulator of two hosts, for a test in a synctest bubble.
func twoHosts(t *testing.T, clock func() time.Time, change func(*Config)) (*Source, *wire) {
	t.Helper()
	sim := apisim.NewSubmail(apisim.SubmailConfig{AppKey: canaryKey, Clock: clock})
	l := apisim.NewPipeListener()
	sim.Serve(l)
	tr := httpx.NewTransport(l.DialContext)
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	cfg := settings("http://main", "http://backup")
	change(&cfg)
	w := &wire{next: tr, sim: sim, down: map[string]bool{}}
	s, err := New("otp", cfg, httpx.Options{Transport: w, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return s, w
}

// TestMatrix scans with every way to sign, to write the request and to read the answer, in every state of the hosts.
func TestMatrix(t *testing.T) {
	for _, sign := range []SignType{SignNormal, SignMD5, SignSHA1} {
		for _, content := range []ContentType{ContentForm, ContentMultipart, ContentJSON} {
			for _, format := range []Format{FormatJSON, FormatXML} {
				t.Run(fmt.Sprintf("%s/%s/%s", sign, content, format), func(t *testing.T) {
					for _, state := range hostStates() {
						synctest.Test(t, func(t *testing.T) { state.check(t, sign, content, format) })
					}
				})
			}
		}
	}
}

// hostState is what becomes of a scan while the hosts are in a state.
type hostState struct {
	name  string
	down  []string     // hosts that refuse connections
	main  apisim.Fault // of the main host's answers
	hosts string       // that are asked, in order
	errs  []string     // parts of the error; none: the rows come
	fatal bool
	back  bool // whether the main host is well again after the scan
}

func hostStates() []hostState {
	unreachable := []string{"POST http://main/log/message.", "POST http://backup/log/message.", "connection refused; check OTP_BASE_URL", "connection refused; check OTP_BACKUP_URL"}
	return []hostState{
		{name: "main up", hosts: "main"},
		{name: "main down", down: []string{"main"}, hosts: "main backup"},
		{name: "main down, then back", down: []string{"main"}, hosts: "main backup", back: true},
		{name: "backup down", down: []string{"backup"}, hosts: "main"},
		{name: "both down", down: []string{"main", "backup"}, hosts: "main backup", errs: unreachable},
		{name: "main answers 500", main: apisim.Fault{Kind: apisim.HTTPStatus, Status: 500, Body: "oops"}, hosts: "main backup"},
		{name: "main answers 500, backup down", down: []string{"backup"}, main: apisim.Fault{Kind: apisim.HTTPStatus, Status: 500, Body: canaryKey},
			hosts: "main backup", errs: []string{"HTTP 500", `"****"`, "connection refused; check OTP_BACKUP_URL"}},
		{name: "main answers a web page", main: apisim.Fault{Kind: apisim.HTMLPage}, hosts: "main backup"},
		{name: "main answers a web page, then well", main: apisim.Fault{Kind: apisim.HTMLPage}, hosts: "main backup", back: true},
		{name: "main refuses the signature", main: apisim.Fault{Kind: apisim.APIError, Code: "108", Body: "Invalid signature"},
			hosts: "main", errs: []string{"SUBMAIL answered with error 108", "check OTP_APP_KEY"}, fatal: true},
	}
}

func (st hostState) check(t *testing.T, sign SignType, content ContentType, format Format) {
	t.Helper()
	s, w := twoHosts(t, time.Now, func(c *Config) { c.SignType, c.ContentType, c.Format, c.Project = sign, content, format, "测试" })
	now := time.Now()
	for i := range 4 {
		row := apisim.Row{ID: fmt.Sprint("row ", i), Created: now.Add(time.Duration(i-10) * time.Second)}
		row.Versions = []apisim.RowVersion{{Fields: apisim.Fields{"project": []string{"测试", "other"}[i/3]}}}
		if err := w.sim.Add(row); err != nil {
			t.Fatal(err)
		}
	}
	for _, host := range st.down {
		w.down[host] = true
	}
	well := false
	w.sim.Faults.Hook(func(r *http.Request) apisim.Fault {
		if r.Host == "main" && !well && (st.main.Kind != apisim.APIError || r.URL.Path != stampPath) {
			return st.main
		}
		return apisim.Fault{}
	})
	st.scan(t, s, w, st.hosts, content, format)
	if !st.back {
		return
	}
	well, w.down = true, nil
	st.scan(t, s, w, "backup", content, format)
	time.Sleep(backupFor)
	st.scan(t, s, w, "main", content, format) // and prefers it again
	w.down = map[string]bool{"main": true}
	st.scan(t, s, w, "main backup", content, format)
	w.down = map[string]bool{"backup": true}
	st.scan(t, s, w, "backup main", content, format) // and prefers it again
	st.scan(t, s, w, "main", content, format)
}

// scan reads the rows and checks which hosts were asked, and how.
func (st hostState) scan(t *testing.T, s *Source, w *wire, hosts string, content ContentType, format Format) {
	t.Helper()
	window := sources.Span{From: time.Now().Add(-time.Hour), To: time.Now()}
	records, proven, err := read(t.Context(), s, window)
	var ids []string
	for _, r := range records {
		ids = append(ids, r.ID)
	}
	kind := map[ContentType]string{ContentForm: "application/x-www-form-urlencoded", ContentMultipart: "multipart/form-data; boundary=", ContentJSON: "application/json"}[content]
	for _, q := range w.sent {
		if q.path != stampPath && (q.path != "/log/message."+string(format) || !strings.HasPrefix(q.contentType, kind)) {
			t.Errorf("%s: asked for %s with content type %s", st.name, q.path, q.contentType)
		}
	}
	if got := w.hosts(); got != hosts {
		t.Errorf("%s: asked %s, want %s", st.name, got, hosts)
	}
	if st.errs == nil {
		if want := []string{"row 0", "row 1", "row 2"}; err != nil || proven != window || !slices.Equal(ids, want) {
			t.Errorf("%s: got rows %q, proven %v, %v, want %q", st.name, ids, proven, err, want)
		}
		return
	}
	if err == nil || ids != nil || proven == window || strings.Contains(err.Error(), "check OTP_BASE_URL; check") || fault.IsFatal(err) != st.fatal || leaks(err.Error()) {
		t.Fatalf("%s: got rows %q, proven %v, %v, want an error, fatal: %v", st.name, ids, proven, err, st.fatal)
	}
	for _, part := range st.errs {
		if s.cfg.SignType != SignNormal {
			part = strings.Replace(part, "POST http://main/log/message.", "GET http://main"+stampPath, 1)
			part = strings.Replace(part, "POST http://backup/log/message.", "GET http://backup"+stampPath, 1)
		}
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s: got %v, want %q", st.name, err, part)
		}
	}
}

// TestSignedAnew has a main host that answers each query with 500, so that the backup is asked a minute later: each attempt is
// signed at the provider's time, however far that is from ours, and none twice with one time.
func TestSignedAnew(t *testing.T) {
	for _, sign := range []SignType{SignMD5, SignSHA1} {
		for _, skew := range []time.Duration{-77 * time.Minute, 0, 77 * time.Minute} {
			synctest.Test(t, func(t *testing.T) {
				provider := func() time.Time { return time.Now().Add(skew) }
				s, w := twoHosts(t, provider, func(c *Config) { c.SignType, c.MinInterval = sign, time.Minute })
				w.sim.Faults.Hook(func(r *http.Request) apisim.Fault {
					if r.Host == "main" && r.URL.Path != stampPath {
						return apisim.Fault{Kind: apisim.HTTPStatus, Status: 500}
					}
					return apisim.Fault{}
				})
				var queries []sent
				for range 2 {
					window := sources.Span{From: provider().Add(-time.Hour), To: provider()}
					if _, proven, err := read(t.Context(), s, window); err != nil || proven != window {
						t.Errorf("%s, %v: got proven %v, %v", sign, skew, proven, err)
					}
					time.Sleep(backupFor)
				}
				for _, q := range w.sent {
					if q.path != stampPath {
						queries = append(queries, q)
					}
				}
				if len(queries) != 4 || queries[0].host != "main" || queries[1].host != "backup" || queries[2].host != "main" {
					t.Fatalf("%s, %v: got %d queries, want the main host and the backup asked twice", sign, skew, len(queries))
				}
				checkSignatures(t, queries, sign, skew)
			})
		}
	}
}

func checkSignatures(t *testing.T, queries []sent, sign SignType, skew time.Duration) {
	t.Helper()
	times, signatures := map[int64]bool{}, map[string]bool{}
	for _, q := range queries {
		var sec int64
		_, err := fmt.Sscan(q.params.Get("timestamp"), &sec)
		behind := q.at.Add(skew).Sub(time.Unix(sec, 0))
		if err != nil || behind < 0 || behind > 2*time.Second || q.params.Get("sign_type") != string(sign) {
			t.Errorf("%s, %v: got a %s signature %v behind the provider's time, %v", sign, skew, q.params.Get("sign_type"), behind, err)
		}
		times[sec], signatures[q.params.Get("signature")] = true, true
	}
	if len(times) != len(queries) || len(signatures) != len(queries) {
		t.Errorf("%s, %v: got %d times and %d signatures of %d attempts", sign, skew, len(times), len(signatures), len(queries))
	}
}
