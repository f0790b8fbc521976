package ekuaibao

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"connector/internal/fault"
	"connector/sources/httpx"
	"connector/sources/scan"
)

func TestAnswers(t *testing.T) {
	row := func(fields string) string {
		return `{"items":[{"id":"1","createTime":1505372614157,"messageType":"flow",` + fields + `"version":1}]}`
	}
	tests := []struct {
		name, body string
		status     int
		want       string // part of the error; empty: none
		is         error
		fatal      bool
	}{
		{"empty log", `{"items": []}`, 200, "", nil, false},
		{"one row", row(``), 200, "", nil, false},
		{"success code and items", `{"code":200,"msg":"ok","items":[]}`, 200, "", nil, false},
		{"items null", `{"items":null}`, 200, "no list of items", nil, false},
		{"nothing", ``, 200, "unexpected EOF", io.ErrUnexpectedEOF, false},
		{"cut", `{"items":[{"id":"1","createTime":1505372614157},`, 200, "unexpected EOF", io.ErrUnexpectedEOF, false},
		{"inner 401 behind rows", row(``)[:len(row(``))-1] + `,"errorCode":401}`, 200, "rows and refuses the access token", errTwice, false},
		{"errorCode behind the rows", `{"items":[],"errorCode":"E1","errorMessage":"later"}`, 200, `error code E1: "later"`, nil, false},
		{"404", `not here`, 404, "check HQ_BASE_URL", nil, false},
		{"web page", `<!doctype html><html>login</html>`, 200, "check HQ_BASE_URL", httpx.ErrHTML, false},
		{"text within the rows", `{"items":[{"id":"1","createTime":1505372614157},private]}`, 200, "invalid character", nil, false},
		{"another message type", row(`"messageType":"dataLink",`), 200, "asked for messageType flow, got dataLink", scan.ErrOther, false},
		{"message type unknown", row(`"messageType":"flows",`), 200, "", nil, false},
		{"message type absent", `{"items":[{"id":"1","createTime":1505372614157}]}`, 200, "", nil, false},
		{"before the window", `{"items":[{"id":"1","createTime":1505372613997,"updateTime":1505372613997}]}`, 200, "outside", scan.ErrOutside, false},
		{"two ticks before the window", `{"items":[{"id":"1","createTime":1505372613998}]}`, 200, "", nil, false},
		{"after the window", `{"items":[{"id":"1","createTime":1505372615003}]}`, 200, "outside", scan.ErrOutside, false},
		{"updated in the window", `{"items":[{"id":"1","createTime":1405372615003,"updateTime":1505372614157}]}`, 200, "", nil, false},
		{"two companies", `{"items":[{"id":"1","createTime":1505372614157,"corporationId":"a"},{"id":"2","createTime":1505372614157,"corporationId":"b"}]}`,
			200, "corporationId b, those before to a", nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := answers(t, func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(tt.status)
				text(tt.body)(w, r)
			})
			s.tokens.wait = 0
			_, proven, err := read(t.Context(), s, flow(s), window)
			if tt.want == "" {
				if err != nil || proven != window {
					t.Errorf("got proven %v, %v, want the window", proven, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || proven == window {
				t.Fatalf("got proven %v, %v, want nothing proven and %q", proven, err, tt.want)
			}
			if tt.is != nil && !errors.Is(err, tt.is) || fault.IsFatal(err) != tt.fatal || leaks(err.Error()) || strings.Contains(err.Error(), "private") || len(err.Error()) > 600 {
				t.Errorf("got %v; fatal %v, want %v; leaks %v", err, fault.IsFatal(err), tt.fatal, leaks(err.Error()))
			}
		})
	}
}
