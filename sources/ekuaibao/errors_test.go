package ekuaibao

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connector/internal/config"
	"connector/internal/fault"
	"connector/sources/httpx"
)

// Classes of errors.
const (
	fatal     = "fatal"
	throttle  = "throttled"
	transient = "transient"
)

// classOf returns the class of an error.
func classOf(err error) string {
	_, held := fault.RetryAfter(err)
	switch {
	case err == nil:
		return "none"
	case fault.IsFatal(err):
		return fatal
	case held:
		return throttle
	}
	return transient
}

// errorShapes are the answers that are none, in all the forms in which the API
// and what lies in front of it give them.
var errorShapes = []struct {
	name                 string
	status               int
	body                 string
	text                 string // of the answer, in each error
	log, token, location string // class
}{
	{"text, 400", 400, `参数错误 canary-app-key`, "参数错误 ****", transient, transient, fatal},
	{"text, 401", 401, `未授权 canary-app-key`, "未授权 ****", fatal, fatal, transient},
	{"text, 403", 403, `未授权`, "未授权", fatal, fatal, transient},
	{"text, 412", 412, `企业不存在`, "企业不存在", transient, transient, fatal},
	{"text, 404", 404, `not here`, "not here", transient, transient, transient},
	{"text, 429", 429, `too fast`, "too fast", throttle, throttle, throttle},
	{"text, 500", 500, `boom canary-app-security`, "boom ****", transient, transient, transient},
	{"text, 200", 200, `未授权 canary-app-key`, "未授权 ****", transient, transient, transient},
	{"nothing, 200", 200, ``, "", transient, transient, transient},
	{"nothing, 403", 403, ``, "403 Forbidden", fatal, fatal, transient},
	{"documented, 403", 403, `{"errorCode":403,"errorMessage":"未授权","errorDetails":null,"code":null,"data":null}`, "未授权", fatal, fatal, transient},
	{"documented, 200", 200, `{"errorCode":403,"errorMessage":"未授权 canary-app-key","errorDetails":null,"code":null,"data":null}`, `403: "未授权 ****"`, fatal, fatal, transient},
	{"errorCode 403 as text", 200, `{"errorCode":" 403 ","errorMessage":"未授权"}`, `403: "未授权"`, fatal, fatal, transient},
	{"errorCode 401, 400", 400, `{"errorCode":401,"errorMessage":"已过期"}`, "已过期", fatal, fatal, transient},
	{"errorCode 401 as text, 412", 412, `{"errorCode":"401","errorMessage":"已过期"}`, "已过期", fatal, fatal, transient},
	{"errorCode 403, 500", 500, `{"errorCode":403,"errorMessage":"x1"}`, "x1", fatal, fatal, transient},
	{"errorCode 400, 400", 400, `{"errorCode":400,"errorMessage":"不能为空"}`, "不能为空", transient, transient, fatal},
	{"errorCode 412, 412", 412, `{"errorCode":412,"errorMessage":"停用"}`, "停用", transient, transient, fatal},
	{"errorCode 412, 200", 200, `{"errorCode":412,"errorMessage":"停用"}`, `412: "停用"`, transient, transient, fatal},
	{"errorCode 404, 404", 404, `{"errorCode":404,"errorMessage":"Not Found"}`, "Not Found", transient, transient, fatal},
	{"errorCode 500, 400", 400, `{"errorCode":500,"errorMessage":"系统错误"}`, "系统错误", transient, transient, transient},
	{"code and msg", 200, `{"code":500,"msg":"系统错误 canary-app-key","data":null,"traceId":"x"}`, `500: "系统错误 ****"`, transient, transient, transient},
	{"code 403 and msg", 200, `{"code":403,"msg":"未授权","data":null,"traceId":"x"}`, `403: "未授权"`, fatal, fatal, transient},
	{"code as text and msg", 200, `{"code":"E_BUSY","msg":"later"}`, `E_BUSY: "later"`, transient, transient, transient},
	{"code with a secret", 200, `{"errorCode":"canary-app-key ` + strings.Repeat("x", 5000) + `"}`, "error code **** x", transient, transient, transient},
	{"items null and errorCode", 200, `{"items":null,"errorCode":403,"errorMessage":"未授权"}`, `403: "未授权"`, fatal, fatal, transient},
	{"items null and code", 200, `{"code":"1001","msg":"later","items":null}`, `1001: "later"`, transient, transient, transient},
	{"message alone", 200, `{"success":false,"message":"later canary-app-key"}`, "later ****", transient, transient, transient},
	{"code 429", 200, `{"errorCode":429,"errorMessage":"频率"}`, "频率", throttle, throttle, throttle},
	{"code 429, 403", 403, `{"code":"429","msg":"频率"}`, "频率", throttle, throttle, throttle},
	{"code 403, 429", 429, `{"errorCode":403,"errorMessage":"频率"}`, "频率", throttle, throttle, throttle},
	{"web page, 200", 200, `<!doctype html><title>login</title>`, "login", transient, transient, transient},
	{"web page, 400", 400, `<!doctypehtml><title>blocked</title>`, "a web page is no answer of the API", transient, transient, transient},
	{"web page, 401", 401, `<html>blocked`, "a web page is no answer of the API", transient, transient, transient},
	{"web page, 403", 403, `<?xml version="1.0"?><!DOCTYPE html><html>blocked`, "a web page is no answer of the API", transient, transient, transient},
	{"web page, 412", 412, `<html>blocked`, "a web page is no answer of the API", transient, transient, transient},
	{"empty object", 200, `{}`, "the answer", transient, transient, transient},
	{"array", 200, `[1]`, "[1]", transient, transient, transient},
	{"secret as a name", 200, `{"canary-app-key":`, "****", transient, transient, transient},
	{"cut", 200, `{"errorCode":"40`, "", transient, transient, transient},
}

// TestErrorShapes gives each call each answer: the error has the class, the
// answer's own text, the call, what to do about it, and no secret.
func TestErrorShapes(t *testing.T) {
	calls := map[string]struct{ path, remedy string }{
		"log":      {logPath, "HQ_APP_KEY and HQ_APP_SECURITY may read"},
		"token":    {tokenPath, "check HQ_APP_KEY and HQ_APP_SECURITY, and that HQ_CORP_ID leads"},
		"location": {locationPath, "check HQ_CORP_ID, or set HQ_BASE_URL"},
	}
	for _, tt := range errorShapes {
		for call, want := range map[string]string{"log": tt.log, "token": tt.token, "location": tt.location} {
			err := readWith(t, calls[call].path, tt.status, tt.body)
			if got := classOf(err); got != want {
				t.Errorf("%s of the %s call: got %s, want %s: %v", tt.name, call, got, want, err)
				continue
			}
			text := err.Error()
			if !strings.Contains(text, tt.text) || leaks(text) || len(text) > 700 {
				t.Errorf("%s of the %s call: got %v, want %q in it, short and without secrets", tt.name, call, err, tt.text)
			}
			if want == fatal && !strings.Contains(text, calls[call].remedy) {
				t.Errorf("%s of the %s call: got %v, want %q in it", tt.name, call, err, calls[call].remedy)
			}
		}
	}
}

// readWith scans an account found by its company while the calls of one path
// have the given answer, and returns the error.
func readWith(t *testing.T, path string, status int, body string) error {
	t.Helper()
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	defer srv.Close()
	for p, good := range map[string]string{
		locationPath: `{"value":"` + srv.URL + `/"}`, logPath: `{"items":[]}`,
		tokenPath: `{"value":{"accessToken":"` + dynamicToken + `","expireTime":99999999999999,"corporationId":"c"}}`,
	} {
		mux.HandleFunc(p, func(w http.ResponseWriter, _ *http.Request) {
			if p == path {
				w.WriteHeader(status)
				good = body
			}
			_, _ = w.Write([]byte(good))
		})
	}
	cfg := settings("")
	cfg.CorpID, cfg.LocationURL = "c", config.URL(srv.URL)
	s := newSource(t, cfg, httpx.Options{})
	s.tokens.wait = 0
	_, proven, err := read(t.Context(), s, flow(s), window)
	if proven == window {
		t.Errorf("HTTP %d %s: got the window proven", status, body)
	}
	return err
}
