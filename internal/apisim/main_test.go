package apisim

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"
	_ "time/tzdata" // zones on machines without a database

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is when the tests' worlds stand unless they move.
var noon = time.Date(2025, 3, 1, 4, 0, 0, 0, time.UTC)

// stopped returns a clock that stands still until set.
func stopped(at time.Time) (clock func() time.Time, set func(time.Time)) {
	ch := make(chan time.Time, 1)
	ch <- at
	clock = func() time.Time { t := <-ch; ch <- t; return t }
	return clock, func(t time.Time) { <-ch; ch <- t }
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serving is a simulator under test.
type serving interface {
	Serve(l net.Listener) string
	Close() error
}

// start serves sim on loopback for the length of the test.
func start(t *testing.T, sim serving) (base string) {
	t.Helper()
	base = sim.Serve(listen(t))
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return base
}

// reply is an answer, read as far as it went.
type reply struct {
	status int
	header http.Header
	body   string
}

func get(t *testing.T, c *http.Client, addr string) (reply, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(c, req)
}

func do(c *http.Client, req *http.Request) (reply, error) {
	resp, err := c.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(body)}, err
}

const fixedToken = "fixed:token_1"

// ekuaibaoURL returns the URL of an ekuaibao query with the fixed token.
func ekuaibaoURL(base, messageType string, from, to time.Time) string {
	q := url.Values{
		"accessToken": {fixedToken}, "messageType": {messageType},
		"startDate": {strconv.FormatInt(from.UnixMilli(), 10)}, "endDate": {strconv.FormatInt(to.UnixMilli(), 10)},
	}
	return base + EkuaibaoLogPath + "?" + q.Encode()
}

// items asks for rows of the last day and the next and returns them decoded.
func items(t *testing.T, base, messageType string) []map[string]any {
	t.Helper()
	resp, err := get(t, http.DefaultClient, ekuaibaoURL(base, messageType, noon.AddDate(0, 0, -1), noon.AddDate(0, 0, 1)))
	if err != nil {
		t.Fatal(err)
	}
	return decode[struct{ Items []map[string]any }](t, resp.body).Items
}

func decode[T any](t *testing.T, body string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("decoding %.200q: %v", body, err)
	}
	return v
}

func ids(rows []map[string]any, field string) []string {
	var list []string
	for _, row := range rows {
		id, _ := row[field].(string)
		list = append(list, id)
	}
	return list
}

func versions(of []Version) []string {
	var list []string
	for _, v := range of {
		list = append(list, v.RecordID+"@"+v.Version)
	}
	return list
}

func wantEqual[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func mustAdd(t *testing.T, add func(...Row) error, rows ...Row) {
	t.Helper()
	if err := add(rows...); err != nil {
		t.Fatal(err)
	}
}
