package apisim

import (
	"bytes"
	"encoding/json"
	"maps"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestSubmailSignatureVectors(t *testing.T) {
	base := map[string]string{"appid": "10000", "timestamp": "1414253462"}
	page := map[string]string{"end_date": "1428249599", "offset": "0", "order_by": "asc", "rows": "1000", "start_date": "1428163200"}
	for _, tt := range []struct {
		extra     map[string]string
		md5, sha1 string
	}{
		{nil, "4c7a1c08dcb79ac17714eddbf9124179", "9e749dd76d0f0d0e40da730a0eb85fe1a02fce85"},
		{page, "e0607776c0e240ec2b3da23767fb5cd4", "e94a459996eb13842d9fb89c53ea66b988c600d4"},
		{map[string]string{"project": "测试"}, "0facf768e7b686d6b4cd79efad6d87ec", "2cf0a3ec521cff6ab52f5ef7ba1da5b3f378623b"},
	} {
		for kind, want := range map[string]string{"md5": tt.md5, "sha1": tt.sha1} {
			params := map[string]string{"sign_type": kind, "signature": "not signed", "tag": "not signed"}
			maps.Copy(params, base)
			maps.Copy(params, tt.extra)
			if got := sign(kind, "10000", "0123456789abcdef0123456789abcdef", params); got != want {
				t.Errorf("%s of %v: got %s, want %s", kind, tt.extra, got, want)
			}
		}
	}
}

// bodies encodes parameters as each content type.
var bodies = map[string]func(t *testing.T, params map[string]string) (contentType, body string){
	"form": func(_ *testing.T, params map[string]string) (string, string) {
		form := url.Values{}
		for name, value := range params {
			form.Set(name, value)
		}
		return "application/x-www-form-urlencoded; charset=utf-8", form.Encode()
	},
	"multipart": func(t *testing.T, params map[string]string) (string, string) {
		t.Helper()
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for name, value := range params {
			if err := w.WriteField(name, value); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return w.FormDataContentType(), b.String()
	},
	"json": func(t *testing.T, params map[string]string) (string, string) {
		t.Helper()
		body := map[string]any{}
		for name, value := range params {
			body[name] = value
			if n, err := strconv.Atoi(value); err == nil && name != "appid" {
				body[name] = n
			}
		}
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		return "application/json", string(raw)
	},
}

func TestSubmailSignTypesAndContentTypes(t *testing.T) {
	sim, base := newSubmail(t, SubmailConfig{})
	mustAdd(t, sim.Add, Row{ID: "a", Created: noon, Versions: []RowVersion{{Fields: Fields{"project": "测试"}}}})
	for content, encode := range bodies {
		for _, kind := range []string{"", "normal", "md5", "sha1"} {
			params := map[string]string{
				"appid": DefaultSubmailID, "project": "测试", "rows": "1000", "timestamp": strconv.FormatInt(noon.Unix(), 10),
				"start_date": strconv.FormatInt(noon.Unix(), 10), "end_date": strconv.FormatInt(noon.Unix(), 10),
			}
			if kind != "" {
				params["sign_type"] = kind
			}
			params["signature"] = DefaultSubmailKey
			if kind == "md5" || kind == "sha1" {
				params["signature"] = sign(kind, DefaultSubmailID, DefaultSubmailKey, params)
			}
			contentType, body := encode(t, params)
			got, err := postBody(t, base+SubmailLogPath+".json", contentType, body)
			if err != nil {
				t.Fatal(err)
			}
			if a := decode[logAnswer](t, got); len(a.Results) != 1 {
				t.Errorf("%s, sign_type %q: got %s", content, kind, got)
			}
		}
	}
}

func TestSubmailRefusals(t *testing.T) {
	_, base := newSubmail(t, SubmailConfig{})
	at := func(d time.Duration) string { return strconv.FormatInt(noon.Add(d).Unix(), 10) }
	signed := func(extra map[string]string) map[string]string {
		params := map[string]string{"appid": DefaultSubmailID, "sign_type": "md5", "timestamp": at(0)}
		maps.Copy(params, extra)
		params["signature"] = sign("md5", DefaultSubmailID, DefaultSubmailKey, params)
		return params
	}
	tampered := signed(nil)
	tampered["rows"] = "1000"
	for _, tt := range []struct {
		name   string
		params map[string]string
		want   string
	}{
		{"appid", map[string]string{"appid": "10001"}, "101"},
		{"no appid", map[string]string{"appid": ""}, "101"},
		{"sign_type", map[string]string{"sign_type": "sha256"}, "107"},
		{"no signature", map[string]string{"signature": ""}, "111"},
		{"key", map[string]string{"signature": "0123"}, "109"},
		{"signature", map[string]string{"sign_type": "sha1", "timestamp": at(0), "signature": "0123"}, "108"},
		{"tampered", tampered, "108"},
		{"no timestamp", signed(map[string]string{"timestamp": ""}), "151"},
		{"timestamp", signed(map[string]string{"timestamp": "now"}), "151"},
		{"old", signed(map[string]string{"timestamp": at(-7 * time.Second)}), "152"},
		{"ahead", signed(map[string]string{"timestamp": at(7 * time.Second)}), "152"},
		{"in time", signed(map[string]string{"timestamp": at(-6 * time.Second)}), ""},
	} {
		body, err := post(t, base+SubmailLogPath+".json", tt.params)
		if err != nil {
			t.Fatal(err)
		}
		if a := decode[logAnswer](t, body); a.Code != tt.want || (a.Status == "error") != (tt.want != "") {
			t.Errorf("%s: got %s, want code %q", tt.name, body, tt.want)
		}
	}
	body, err := post(t, base+SubmailLogPath+".xml", map[string]string{"appid": "x"})
	want := xmlHeader + "<xml>\n    <status> error </status>\n    <code> 101 </code>\n    <msg> Incorrect APP ID </msg>\n</xml>"
	if err != nil || body != want {
		t.Errorf("got %q, %v, want %q", body, err, want)
	}
}

func FuzzSubmailRequest(f *testing.F) {
	f.Add("application/json", `{"appid":"10000","signature":"canary456789abcdef0123456789abcdef","rows":1e9}`)
	f.Add("application/x-www-form-urlencoded", "appid=10000&signature=canary456789abcdef0123456789abcdef&offset=99999999999&start_date=-9223372036854775808")
	f.Add("multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"appid\"\r\n\r\n10000\r\n--x--\r\n")
	f.Add("", "\x00")
	sim := NewSubmail(SubmailConfig{Population: Population{Start: noon, Every: time.Hour}, Clock: func() time.Time { return noon.AddDate(0, 0, 1) }})
	f.Fuzz(func(t *testing.T, contentType, body string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, SubmailLogPath, strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		sim.ServeHTTP(w, r)
		if w.Code != http.StatusOK || !json.Valid(w.Body.Bytes()) {
			t.Errorf("got %d %q", w.Code, w.Body)
		}
	})
}
