package apisim

import (
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// seedRow is the example of the API document.
const seedRow = `{
	"name":"名称1", "messageId":"HMocIFTDM1x400", "flowId":"110000", "dataLinkId":"", "messageCenterConfigId":null,
	"repaymentApplyId":null, "nodeName":"节点名称", "nodeId":"51A5F3CD-8D15-43BB-B449-21E5E59748E9", "request":{"aa":"bb"},
	"response":{"aa":"bb"}, "state":"FAILURE", "id":"222", "type":"INVOKING", "version":4, "active":true,
	"createTime":1505372614157, "updateTime":1505372614157, "corporationId":"Uq08cj71400000", "messageType":"flow"}`

func newEkuaibao(t *testing.T, c EkuaibaoConfig) (*Ekuaibao, string) {
	t.Helper()
	if c.Clock == nil {
		c.Clock, _ = stopped(noon)
	}
	c.AccessToken = fixedToken
	sim := NewEkuaibao(c)
	return sim, start(t, sim)
}

func TestEkuaibaoSeedExample(t *testing.T) {
	sim, base := newEkuaibao(t, EkuaibaoConfig{})
	created := time.UnixMilli(1505372614157)
	mustAdd(t, sim.Add, Row{ID: "222", Created: created, Versions: []RowVersion{{Fields: Fields{
		"name": "名称1", "messageId": "HMocIFTDM1x400", "flowId": "110000", "dataLinkId": "", "messageCenterConfigId": nil,
		"repaymentApplyId": nil, "nodeName": "节点名称", "nodeId": "51A5F3CD-8D15-43BB-B449-21E5E59748E9",
		"request": map[string]any{"aa": "bb"}, "response": map[string]any{"aa": "bb"}, "type": "INVOKING", "version": 4,
		"active": true, "corporationId": "Uq08cj71400000",
	}}}})
	resp, err := get(t, http.DefaultClient, ekuaibaoURL(base, "flow", created, created))
	if err != nil {
		t.Fatal(err)
	}
	got := decode[any](t, resp.body)
	want := decode[any](t, `{"items":[`+seedRow+`]}`)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if got, want := resp.header.Get("Date"), noon.Format(http.TimeFormat); got != want {
		t.Errorf("Date: got %q, want %q", got, want)
	}
	wantEqual(t, "served", sim.Served(), []Version{{"ekuaibao", "flow", "222", "4"}})
}

func TestEkuaibaoGeneratedRowsHaveTheDocumentsFields(t *testing.T) {
	_, base := newEkuaibao(t, EkuaibaoConfig{Population: Population{
		Seed: 7, Start: noon.Add(-time.Hour), Every: 10 * time.Second, Change: 0.5,
	}})
	all := decode[map[string]any](t, seedRow)
	bare, kinds := 0, map[string]bool{}
	for _, messageType := range MessageTypes() {
		rows := items(t, base, messageType)
		if len(rows) < 300 {
			t.Fatalf("%s: got %d rows", messageType, len(rows))
		}
		for _, row := range rows {
			for name := range row {
				if _, ok := all[name]; !ok {
					t.Errorf("%s: field %q is not in the document", messageType, name)
				}
			}
			if len(row) < len(all) {
				bare++
			}
			if row["messageType"] != messageType || row["id"] == "" {
				t.Errorf("got %v", row)
			}
			kinds[fmt.Sprintf("request %T", row["request"])] = true
			kinds[fmt.Sprintf("response %T", row["response"])] = true
			kinds[fmt.Sprint(row["state"])] = true
		}
	}
	if bare == 0 {
		t.Error("no row of the older shape")
	}
	for _, kind := range []string{
		"request <nil>", "request string", "request []interface {}", "request float64", "request map[string]interface {}",
		"response <nil>", "response string", "response bool", "response map[string]interface {}", "FAILURE", "SUCCESS",
	} {
		if !kinds[kind] {
			t.Errorf("no row with %s", kind)
		}
	}
}

func TestEkuaibaoWindow(t *testing.T) {
	at := func(ms int) time.Time { return noon.Add(time.Duration(ms) * time.Millisecond) }
	change := []RowVersion{{}, {At: at(900)}}
	sim, base := newEkuaibao(t, EkuaibaoConfig{
		Clock:    func() time.Time { return at(1000) },
		Switches: EkuaibaoSwitches{Order: OldestFirst},
	})
	mustAdd(t, sim.Add,
		Row{ID: "a", Created: at(1)}, Row{ID: "b", Created: at(2)}, Row{ID: "c", Created: at(3), Versions: change},
		Row{ID: "d", Created: at(4), Visible: at(1001)}, Row{ID: "e", Created: at(4), Gone: at(1000)}, Row{ID: "f", Created: at(5)},
		Row{ID: "other", Stream: "message", Created: at(2)})
	read := func(messageType string, from, to int) []string {
		resp, err := get(t, http.DefaultClient, ekuaibaoURL(base, messageType, at(from), at(to)))
		if err != nil {
			t.Fatal(err)
		}
		return ids(decode[struct{ Items []map[string]any }](t, resp.body).Items, "id")
	}
	wantEqual(t, "closed window", read("flow", 2, 5), []string{"b", "c", "f"})
	wantEqual(t, "one tick", read("flow", 2, 2), []string{"b"})
	wantEqual(t, "default type", read("", 1, 2), []string{"a", "b"})
	wantEqual(t, "other type", read("message", 1, 5), []string{"other"})
	wantEqual(t, "wrong type", read("flows", 1, 5), nil)
	wantEqual(t, "backwards", read("flow", 5, 1), nil)
	sim.Switches.Set(func(s *EkuaibaoSwitches) { s.Order = NewestFirst })
	wantEqual(t, "newest first", read("flow", 1, 5), []string{"f", "c", "b", "a"})
	sim.Switches.Set(func(s *EkuaibaoSwitches) { s.Cap = 2 })
	wantEqual(t, "capped", read("flow", 1, 5), []string{"f", "c"})
	sim.Switches.Set(func(s *EkuaibaoSwitches) { *s = EkuaibaoSwitches{ByUpdateTime: true} })
	wantEqual(t, "by update", read("flow", 900, 900), []string{"c"})
	wantEqual(t, "not by creation", read("flow", 3, 3), nil)
}

func TestEkuaibaoUnordered(t *testing.T) {
	sim, base := newEkuaibao(t, EkuaibaoConfig{Population: Population{Start: noon.Add(-time.Minute), Every: time.Second}})
	mixed := ids(items(t, base, "flow"), "id")
	sim.Switches.Set(func(s *EkuaibaoSwitches) { s.Order = OldestFirst })
	sorted := ids(items(t, base, "flow"), "id")
	if slices.Equal(mixed, sorted) {
		t.Error("unordered rows come in order")
	}
	slices.Sort(mixed)
	slices.Sort(sorted)
	wantEqual(t, "ids", mixed, sorted)
}

func TestEkuaibaoBadQuery(t *testing.T) {
	_, base := newEkuaibao(t, EkuaibaoConfig{})
	for query, want := range map[string]int{
		"accessToken=fixed%3Atoken_1&startDate=1":             http.StatusBadRequest,
		"accessToken=fixed%3Atoken_1&startDate=x&endDate=2":   http.StatusBadRequest,
		"accessToken=fixed%3Atoken_1&startDate=1&endDate=2":   http.StatusOK,
		"accessToken=unknown&startDate=1&endDate=2":           http.StatusForbidden,
		"startDate=1&endDate=2":                               http.StatusForbidden,
		"accessToken=fixed%3Atoken_1&startDate=-1&endDate=-2": http.StatusOK,
	} {
		resp, err := get(t, http.DefaultClient, base+EkuaibaoLogPath+"?"+query)
		if err != nil {
			t.Fatal(err)
		}
		if resp.status != want {
			t.Errorf("%s: got %d, want %d", query, resp.status, want)
		}
	}
}

// login asks for a token.
func login(t *testing.T, base, key, security string) (status int, token string, expires int64) {
	t.Helper()
	body := fmt.Sprintf(`{"appKey":%q,"appSecurity":%q}`, key, security)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+EkuaibaoTokenPath, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := do(http.DefaultClient, req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.status != http.StatusOK {
		return resp.status, resp.body, 0
	}
	answer := decode[struct {
		Value struct {
			AccessToken, RefreshToken, CorporationID string
			ExpireTime                               int64
		}
	}](t, resp.body)
	if answer.Value.RefreshToken == "" || answer.Value.CorporationID != "Uq08cj71400000" {
		t.Errorf("got %s", resp.body)
	}
	return resp.status, answer.Value.AccessToken, answer.Value.ExpireTime
}

func TestEkuaibaoTokens(t *testing.T) {
	clock, set := stopped(noon)
	sim, base := newEkuaibao(t, EkuaibaoConfig{Clock: clock, Switches: EkuaibaoSwitches{TokenDelay: time.Second}})
	status := func(token string) (int, string) {
		addr := strings.Replace(ekuaibaoURL(base, "flow", noon, noon), "fixed%3Atoken_1", strings.ReplaceAll(token, ":", "%3A"), 1)
		resp, err := get(t, http.DefaultClient, addr)
		if err != nil {
			t.Fatal(err)
		}
		return resp.status, resp.body
	}
	check := func(when, token string, want int, wantBody string) {
		t.Helper()
		if got, body := status(token); got != want || !strings.Contains(body, wantBody) {
			t.Errorf("%s: got %d %q, want %d %q", when, got, body, want, wantBody)
		}
	}
	if got, body, _ := login(t, base, DefaultEkuaibaoKey, "wrong"); got != http.StatusForbidden || body != "密钥无效" {
		t.Errorf("wrong key: got %d %q", got, body)
	}
	_, first, expires := login(t, base, DefaultEkuaibaoKey, DefaultEkuaibaoSecurity)
	if !strings.Contains(first, ":") || !strings.Contains(first, "_") {
		t.Errorf("token %q lacks : or _", first)
	}
	if want := noon.Add(2 * time.Hour).UnixMilli(); expires != want {
		t.Errorf("expireTime: got %d, want %d", expires, want)
	}
	check("just issued", first, 403, "未授权")
	set(noon.Add(time.Second))
	check("usable", first, 200, `{"items":[]}`)
	_, second, _ := login(t, base, DefaultEkuaibaoKey, DefaultEkuaibaoSecurity)
	check("older", first, 200, "")
	set(noon.Add(2 * time.Hour))
	check("expired", first, 401, `"errorCode":401`)
	check("younger", second, 200, "")
	sim.Switches.Set(func(s *EkuaibaoSwitches) { *s = EkuaibaoSwitches{OneToken: true, InnerCode: true} })
	_, third, _ := login(t, base, DefaultEkuaibaoKey, DefaultEkuaibaoSecurity)
	check("replaced", second, 200, `"errorCode":403`)
	check("only one", third, 200, "items")
	sim.Faults.Queue(Fault{Kind: Revoke})
	check("revoked", third, 200, `"errorCode":403`)
	check("still revoked", third, 200, `"errorCode":403`)
}

// ask sends a query with the fixed token, or a location call.
func ask(t *testing.T, addr string) reply {
	t.Helper()
	resp, err := get(t, http.DefaultClient, addr)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestEkuaibaoLocation(t *testing.T) {
	sim, base := newEkuaibao(t, EkuaibaoConfig{})
	for query, want := range map[string]string{
		"?corpId=Uq08cj71400000": `{"value":"` + base + `/"}`, "?corpId=x": `{"value":null}`, "": `{"value":null}`,
	} {
		if got := ask(t, base+EkuaibaoLocationPath+query); got.status != http.StatusOK || strings.TrimSpace(got.body) != want {
			t.Errorf("%s: got %d %s, want %s", query, got.status, got.body, want)
		}
	}
	sim.Switches.Set(func(s *EkuaibaoSwitches) { s.Location = "https://b/" })
	if got := ask(t, base+EkuaibaoLocationPath+"?corpId=Uq08cj71400000").body; !strings.Contains(got, `"https://b/"`) {
		t.Errorf("got %s", got)
	}
}

func TestEkuaibaoErrorShapes(t *testing.T) {
	sim, base := newEkuaibao(t, EkuaibaoConfig{})
	denied := base + EkuaibaoLogPath + "?accessToken=unknown&startDate=1&endDate=2"
	for _, tt := range []struct {
		switches EkuaibaoSwitches
		status   int
		want     string // part of the body
	}{
		{EkuaibaoSwitches{}, 403, `未授权`},
		{EkuaibaoSwitches{Errors: PlainText, InnerCode: true}, 200, `未授权`},
		{EkuaibaoSwitches{Errors: ErrorCode}, 403, `"errorCode":403,"errorDetails":null,"errorMessage":"未授权"`},
		{EkuaibaoSwitches{InnerCode: true}, 200, `"errorCode":403`},
		{EkuaibaoSwitches{Errors: CodeMsg, TextCodes: true}, 403, `{"code":"403","data":null,"msg":"未授权","traceId":`},
		{EkuaibaoSwitches{Errors: NullItems, InnerCode: true}, 200, `"items":null`},
	} {
		sim.Switches.Set(func(s *EkuaibaoSwitches) { *s = tt.switches })
		if got := ask(t, denied); got.status != tt.status || !strings.Contains(got.body, tt.want) {
			t.Errorf("%+v: got %d %s, want %d %s", tt.switches, got.status, got.body, tt.status, tt.want)
		}
	}
}

// TestEkuaibaoEndless reads some megabytes of an answer and goes away.
func TestEkuaibaoEndless(t *testing.T) {
	sim, base := newEkuaibao(t, EkuaibaoConfig{})
	sim.Faults.Queue(Fault{Kind: Endless, Body: `{"items":[1,`, After: 2})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, ekuaibaoURL(base, "flow", noon, noon), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(io.LimitReader(resp.Body, 3<<20))
	if err != nil || len(got) != 3<<20 || strings.Trim(string(got), "1,") != `{"items":[` {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if n := len(sim.Served()); n != 0 {
		t.Errorf("got %d rows served", n)
	}
}
