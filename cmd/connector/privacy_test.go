package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connector/internal/apisim"
	"connector/internal/testkafka"
)

// The personal data of the tests: in no event, dead letter, log line or file.
const (
	aPhone = "13977310864"
	aCode  = "77083164"
	aName  = "欧阳百灵鸟"
	latin  = "Nachtigall, Hansi"
	aMail  = "hansi.n@vogel.example"
	anID   = "110105199003070731"
)

var personal = []string{aPhone, aCode, aName, latin, "Nachtigall", aMail, anID}

// needles are personal data in each spelling in which it may have been written, by what they are.
func needles(values []string) map[string][]byte {
	list := map[string][]byte{}
	for _, v := range values {
		escaped, short := "", ""
		for _, c := range v {
			escaped += fmt.Sprintf(`\u%04x`, c)
			if short += string(c); c > 0x7F {
				short = strings.TrimSuffix(short, string(c)) + fmt.Sprintf(`\u%04x`, c)
			}
		}
		for name, text := range map[string]string{
			"plain": v, "hex": hex.EncodeToString([]byte(v)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(v))),
			"escaped": escaped, "ESCAPED": strings.ReplaceAll(strings.ToUpper(escaped), `\U`, `\u`), "short": short, "URL": url.QueryEscape(v),
		} {
			list[name+" "+v] = []byte(text)
		}
		for shift := range 3 { // what the first and last characters stand for depends on their neighbours
			text := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), v...))
			list[fmt.Sprint("base64 ", shift, " ", v)] = []byte(text[(shift*8+5)/6 : len(text)-1])
		}
	}
	return list
}

// digests are what would tell a row to someone who tries all codes: its hash, and what the ledger keeps of that.
func digests(sums []string) map[string][]byte {
	list := map[string][]byte{}
	for _, sum := range sums {
		print := sha256.Sum256([]byte(sum))
		list["hash "+sum], list["print "+sum] = []byte(sum), print[:6]
	}
	return list
}

// found returns the needles that text holds, sorted.
func found(list map[string][]byte, text []byte) []string {
	var names []string
	for name, needle := range list {
		if bytes.Contains(text, needle) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// personalWorld serves rows of both providers that hold personal data wherever a row may: good ones, some that can be no
// event, some that cannot be read; and answers that quote it.
func personalWorld(t *testing.T) (*apisim.Ekuaibao, *apisim.Submail, []string) {
	t.Helper()
	oversize := apisim.Population{PoisonBytes: 100 << 10}
	e, s := apisim.NewEkuaibao(apisim.EkuaibaoConfig{Population: oversize}), apisim.NewSubmail(apisim.SubmailConfig{Population: oversize})
	t.Cleanup(func() { _, _ = e.Close(), s.Close() })
	staff := map[string]any{
		"realName": aName, "userName": latin, "手机": aPhone, "Mobile_No": 13977310864, "e-mail": []string{aMail}, "idCard": map[string]any{"no": anID}, "verifyCode": aCode,
	}
	body := map[string]any{
		"action": "flow", "staff": staff, "list": []any{aPhone, 13977310864, "+86 139-7731-0864", aMail, map[string]any{aPhone: "x", "by": anID}},
		"nested": `{"staff":{"realName":"` + aName + `","n":[` + aPhone + `]},"escaped":"\u0031\u0033977310864"}`,
		"form":   "phone=" + aPhone + "&realName=" + url.QueryEscape(aName) + "&userName=" + url.PathEscape("Hansi, Nachtigall") + "&a=b", "xml": "<r><name>" + latin + "</name><m>" + aPhone + "</m></r>",
		"content": "您的 " + aCode, "msg": "您的验证码：" + aCode, "url": "https://x.example/cb?token=" + aCode + "&mail=" + url.QueryEscape(aMail),
	}
	text := "【鸟】" + "您的验证码：" + aCode + "，致电 " + aPhone + " 或 " + aMail + "，证件 " + anID + "，https://t.example/" + aCode
	at := time.Now().Add(-10 * time.Minute)
	next := func() time.Time { at = at.Add(2 * time.Second); return at }
	full := func(more apisim.Fields) apisim.Fields {
		f := apisim.Fields{
			"name": "通知 " + aPhone, "nodeName": aMail, "request": body, "response": "手机 " + aPhone + " 验证码 " + aCode,
			"submitter": staff, "realName": aName, "extra": "code " + aCode, "deep": []any{map[string]any{"x": body}},
		}
		maps.Copy(f, more)
		return f
	}
	bulk := strings.Repeat("x", 70<<10)
	for i, f := range []apisim.Fields{
		full(nil), full(apisim.Fields{"request": text, "response": aPhone}), full(apisim.Fields{"request": []any{text, body}, "response": 13977310864}),
		full(apisim.Fields{"version": "four " + aPhone}), full(apisim.Fields{"active": body}), full(apisim.Fields{"createTime": apisim.Absent, "updateTime": apisim.Absent}),
		full(apisim.Fields{"request": map[string]any{"staff": staff, "bulk": bulk}}), full(apisim.Fields{"name": text + bulk}),
	} {
		add(t, e.Add, apisim.Row{ID: fmt.Sprint("row-", i), Created: next(), Versions: []apisim.RowVersion{{Fields: f}}})
	}
	sms := func(more apisim.Fields) apisim.Fields {
		f := apisim.Fields{"recipient": aPhone, "message": text, "signature": "【" + aPhone + "】", "realName": aName, "note": "to " + aPhone + " code " + aCode, "ip_address": "x" + aCode, "project": "P"}
		maps.Copy(f, more)
		return f
	}
	for i, f := range []apisim.Fields{
		sms(nil), sms(apisim.Fields{"recipient": "+86 " + aPhone + ",10086"}), sms(apisim.Fields{"credit": "free " + aPhone}), sms(apisim.Fields{"length": text}),
		sms(apisim.Fields{"send_date": "yesterday " + aPhone}), sms(apisim.Fields{"message": text + bulk}),
	} {
		add(t, s.Add, apisim.Row{ID: fmt.Sprint("sms-", i), Created: next(), Versions: []apisim.RowVersion{{Fields: f}}})
	}
	for i, kind := range []apisim.PoisonKind{apisim.MissingID, apisim.NotObject, apisim.WrongType, apisim.Oversize} {
		id := fmt.Sprint("poison ", i, " ", aPhone, " ", aCode)
		add(t, e.Add, apisim.Row{ID: id, Created: next(), Poison: kind, Versions: []apisim.RowVersion{{Fields: full(apisim.Fields{"id": fmt.Sprint("e-", i)})}}})
		add(t, s.Add, apisim.Row{ID: id, Created: next(), Poison: kind, Versions: []apisim.RowVersion{{Fields: sms(apisim.Fields{"sendID": fmt.Sprint("s-", i)})}}})
	}
	add(t, e.Add, apisim.Row{ID: "long", Created: next(), Versions: []apisim.RowVersion{{Fields: full(apisim.Fields{"id": text + strings.Repeat("y", 600)})}}})
	quoted := `{"list":[{"recipient":"` + aPhone + `","realName":"` + aName + `","message":"验证码 ` + aCode + `"}]}`
	e.Faults.Queue(
		apisim.Fault{Kind: apisim.APIError, Code: "500", Body: "number " + aPhone + " of realName=" + aName + ": 验证码 " + aCode}, apisim.Fault{Kind: apisim.HTTPStatus, Status: 500, Body: quoted},
	)
	s.Faults.Queue(apisim.Fault{Kind: apisim.APIError, Code: "252", Body: aMail + " " + aPhone}, apisim.Fault{Kind: apisim.HTTPStatus, Status: 502, Body: quoted})
	return e, s, []string{
		"CONNECTOR_SOURCES=hq=ekuaibao,otp=submail", "CONNECTOR_START=1h", "CONNECTOR_HTTP_ADDR=127.0.0.1:0", "CONNECTOR_DATA_DIR=" + t.TempDir(),
		"CONNECTOR_INCLUDE_RAW=true", "CONNECTOR_LOG_LEVEL=debug",
		"HQ_BASE_URL=" + e.Serve(listener(t)), "HQ_APP_KEY=" + apisim.DefaultEkuaibaoKey, "HQ_APP_SECURITY=" + apisim.DefaultEkuaibaoSecurity,
		"HQ_MESSAGE_TYPES=flow", "HQ_POLL_INTERVAL=200ms", "HQ_RATE=1000", "HQ_LAG=0s", "HQ_MAX_ROW_BYTES=64KiB",
		"OTP_BASE_URL=" + s.Serve(listener(t)), "OTP_APP_ID=" + apisim.DefaultSubmailID, "OTP_APP_KEY=" + apisim.DefaultSubmailKey,
		"OTP_POLL_INTERVAL=200ms", "OTP_MIN_INTERVAL=1ms", "OTP_LAG=0s", "OTP_MAX_ROW_BYTES=64KiB",
	}
}

func add(t *testing.T, place func(...apisim.Row) error, row apisim.Row) {
	t.Helper()
	if err := place(row); err != nil {
		t.Fatal(err)
	}
}

// TestPrivacy reads rows that hold personal data in all their places into each sink, and searches all that was written.
// With privacy off the same search finds it.
func TestPrivacy(t *testing.T) {
	t.Parallel()
	file := func(t *testing.T) []string {
		return []string{"CONNECTOR_SINK=file", "FILE_PATH=" + filepath.Join(t.TempDir(), "events.ndjson")}
	}
	nats := func(*testing.T) []string { return []string{"CONNECTOR_SINK=nats"} }
	kafka := func(t *testing.T) []string {
		return []string{
			"CONNECTOR_SINK=kafka", "KAFKA_BROKERS=" + strings.Join(testkafka.Brokers(t), ","), "KAFKA_CHECKPOINT_TOPIC=" + testkafka.Topic(t),
			"KAFKA_TOPIC=" + testkafka.Topic(t), "KAFKA_DEADLETTER_TOPIC=" + testkafka.Topic(t), "KAFKA_PARTITIONS=1",
		}
	}
	for _, tt := range []struct {
		name, mode, format string
		sink               func(*testing.T) []string
	}{
		{"file", "standard", "json", file}, {"file", "strict", "xml", file}, {"file", "off", "xml", file},
		{"nats", "standard", "xml", nats}, {"nats", "strict", "json", nats}, {"kafka", "standard", "json", kafka}, {"kafka", "strict", "json", kafka},
	} {
		t.Run(tt.name+" "+tt.mode+" "+tt.format, func(t *testing.T) {
			t.Parallel()
			e, s, vars := personalWorld(t)
			vars = with(with(vars, tt.sink(t)...), "CONNECTOR_PRIVACY="+tt.mode, "OTP_FORMAT="+tt.format)
			written := everythingWritten(t, vars)
			var sums []string
			for _, p := range append(e.Poisoned(), s.Poisoned()...) {
				sums = append(sums, p.SHA256)
			}
			if len(sums) < 8 {
				t.Fatalf("got %d poison rows", len(sums))
			}
			if tt.mode == "off" {
				wantFound(t, written["tail"])
				return
			}
			list := needles(personal)
			maps.Copy(list, digests(sums))
			for what, text := range written {
				for _, name := range found(list, text) {
					at := bytes.Index(text, list[name])
					t.Errorf("%s holds %s: …%q…", what, name, text[max(0, at-150):min(len(text), at+60)])
				}
			}
			wantMessages(t, string(written["tail"]), tt.mode)
		})
	}
}

// wantFound wants each datum to be found where nothing is hidden.
func wantFound(t *testing.T, text []byte) {
	t.Helper()
	for _, v := range personal {
		if len(found(needles([]string{v}), text)) == 0 {
			t.Errorf("%q did not get into the events", v)
		}
	}
}

// wantMessages wants events and dead letters of each class, with rows.
func wantMessages(t *testing.T, text, mode string) {
	t.Helper()
	for want, least := range map[string]int{
		`"type":"delivery.webhook.failed"`: 3, `"type":"delivery.sms.delivered"`: 2, `"class":"decode"`: 7, `"class":"too_large"`: 5, `"class":"no_id"`: 2,
		`"recordId":"digest:`: 4, `"privacy":"` + mode + `"`: 15, `"recipientHash":"`: 2, `"raw":"`: 10,
	} {
		if got := strings.Count(text, want); got < least {
			t.Errorf("got %s %d times, want at least %d", want, got, least)
		}
	}
	if strings.Contains(text, "rawSha256") || strings.Contains(text, `sha256:`) {
		t.Error("a plain hash of a row was written")
	}
}

// everythingWritten runs the connector, all verbs that show something of rows, and returns what came out, by where.
func everythingWritten(t *testing.T, vars []string) map[string][]byte {
	t.Helper()
	written := map[string][]byte{}
	for _, line := range []string{
		"check", "run --once", "replay --from 1h --to 0s", "checkpoint list", "checkpoint show", "checkpoint show --output json", "config", "run --once",
		"deadletter list", "deadletter list --output json", "deadletter retry --yes",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		code, stdout, stderr := command(ctx, vars, strings.Fields(line)...)
		cancel()
		if code != exitOK && line != "check" && line != "deadletter retry --yes" { // the first may meet the queued faults, the latter mends nothing
			t.Errorf("%s: got code %d, want 0; stderr:\n%s", line, code, stderr)
		}
		written[line] = append(written[line], stdout+stderr...)
	}
	c := start(t, vars, "run")
	base := c.ready(t)
	for _, path := range []string{"/metrics", "/readyz", "/healthz"} {
		_, answer := get(base + path)
		written[path] = []byte(answer)
	}
	code, stdout, stderr := command(t.Context(), vars, "tail", "--from-start", "--follow=false", "--output=json", "--dead")
	if code != exitOK {
		t.Errorf("tail: got code %d; stderr:\n%s", code, stderr)
	}
	written["tail"] = []byte(stdout + stderr)
	c.interrupt(t)
	written["run"] = []byte(c.stdout.String() + c.stderr.String())
	for _, dir := range []string{value(vars, "CONNECTOR_DATA_DIR"), filepath.Dir(value(vars, "FILE_PATH"))} {
		if dir != "." {
			readFiles(t, dir, written)
		}
	}
	return written
}

// readFiles adds the files below dir.
func readFiles(t *testing.T, dir string, to map[string][]byte) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		to["file "+path] = content
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
