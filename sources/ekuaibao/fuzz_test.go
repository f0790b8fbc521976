package ekuaibao

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"connector/internal/config"
	"connector/internal/fault"
	"connector/internal/secret"
	"connector/sources"
	"connector/sources/httpx"
	"connector/sources/jsonrows"
	"connector/sources/scan"
)

// forever is a query in whose window every time lies.
var forever = query{stream: "flow", span: sources.Span{From: time.UnixMilli(0), To: time.UnixMilli(maxMillis)}}

// fuzzed returns a source that sends nothing.
func fuzzed(f *testing.F, corp string) *Source {
	f.Helper()
	cfg := settings("http://x")
	cfg.MaxRowBytes, cfg.CorpID, cfg.LocationURL = 16<<10, corp, config.URL(defaultURL)
	s, err := New("hq", cfg, httpx.Options{Transport: http.NewFileTransport(http.Dir("."))})
	if err != nil {
		f.Fatal(err)
	}
	return s
}

// checkRecord checks that a record becomes an event that keeps the schema, or
// is rejected.
func checkRecord(t *testing.T, s *Source, r scan.Row) {
	t.Helper()
	if r.ID == "" || len(r.ID) > jsonrows.MaxID && r.SHA256 == "" || r.Print == "" {
		t.Fatalf("got %+v", r)
	}
	if _, err := eventOf(s, flow(s), r.Record); err != nil {
		if _, rejected := fault.Class(err); !rejected {
			t.Fatalf("got an unmarked error: %v", err)
		}
	}
}

// FuzzRecord checks that any row becomes an event that keeps the schema, or a rejected record, and never panics.
func FuzzRecord(f *testing.F) {
	f.Add(seedRow(f))
	f.Add([]byte(`{"id":9007199254740993,"createTime":"1505372614157","request":"\ud800","active":0,"x":{"a":1,"a":2}}`))
	f.Add([]byte(`{"id":{},"createTime":1e9}`))
	f.Add([]byte(`{"id":"1","createTime":9007199254740993,"corporationId":7,"messageType":true}`))
	s := fuzzed(f, "")
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !jsontext.Value(raw).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
			return
		}
		s.corporation = ""
		if r, err := s.record(forever, jsonrows.Row{Raw: raw, Size: int64(len(raw))}); err == nil {
			checkRecord(t, s, r)
		}
	})
}

// FuzzAnswer reads any body of the log call: what it takes are rows, and its
// errors show no secret.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(seedExample(f)))
	f.Add([]byte(`{"items": []}`))
	for _, shape := range errorShapes {
		f.Add([]byte(shape.body))
	}
	s := fuzzed(f, "")
	s.maxAnswer = 32 << 10
	token := secret.New(dynamicToken)
	f.Fuzz(func(t *testing.T, body []byte) {
		s.corporation = ""
		rows := 0
		err := s.read(readCloser{bytes.NewReader(body)}, token, func(row jsonrows.Row) error {
			rows++
			r, err := s.record(forever, row)
			if err == nil {
				checkRecord(t, s, r)
			}
			return err
		})
		checkError(t, err)
		if err == nil && rows > 0 && !bytes.Contains(body, []byte("items")) {
			t.Fatalf("got %d rows", rows)
		}
	})
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

func checkError(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for _, secret := range []string{canaryKey, canarySecurity, dynamicToken} {
		if strings.Contains(err.Error(), secret) || len(err.Error()) > 2000 {
			t.Fatalf("got an error of %d bytes, which may hold %s: %.2000v", len(err.Error()), secret, err)
		}
	}
}

// FuzzToken reads any body of the token call.
func FuzzToken(f *testing.F) {
	f.Add([]byte(`{"value":{"accessToken":"u-E4PVy28Q0400","refreshToken":"asg4PVy28Q0800","expireTime":1531046137469,"corporationId":"34A73EyI8A0w00"}}`))
	f.Add([]byte(`{"value":{"accessToken":"x","expireTime":"99999999999999"}}`))
	for _, shape := range errorShapes {
		f.Add([]byte(shape.body))
	}
	s := fuzzed(f, "34A73EyI8A0w00")
	f.Fuzz(func(t *testing.T, body []byte) {
		tok, err := s.tokens.read(body)
		checkError(t, err)
		if err == nil && (strings.TrimSpace(tok.value.Reveal()) == "" || !tok.renewAt.IsZero() && tok.renewAt.Before(time.Now().Add(-time.Minute))) {
			t.Fatalf("got a token of %d bytes, to be renewed at %v", len(tok.value.Reveal()), tok.renewAt)
		}
	})
}

// FuzzLocation reads any body of the location call: what it takes is a URL
// that a configuration takes, with https.
func FuzzLocation(f *testing.F) {
	f.Add([]byte(`{"value": "https://app.ekuaibao.com/"}`))
	f.Add([]byte(`{"value":null,"code":412,"msg":"企业不存在"}`))
	for _, shape := range errorShapes {
		f.Add([]byte(shape.body))
	}
	s := fuzzed(f, "-yQbjbywbc640011")
	f.Fuzz(func(t *testing.T, body []byte) {
		base, err := s.tenant.read(body)
		checkError(t, err)
		var u config.URL
		if err == nil && (u.Decode(base) != nil || string(u) != base || !strings.HasPrefix(base, "https://")) {
			t.Fatalf("got %q", base)
		}
	})
}
