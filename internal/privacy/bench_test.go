package privacy

import (
	"math"
	"strings"
	"syscall"
	"testing"
	"time"

	"connector/internal/secret"
	"connector/schema"
	"connector/sources"
)

// BenchmarkEvent is the cost of the policy per event, encoding not included.
func BenchmarkEvent(b *testing.B) {
	for name, row := range map[string]string{
		"sms": `{"id":"7ac69ff98e48c9b3b0f49afa5a0788c7","at":"2015-01-19 15:21:27","to":"13800138000","text":"您的验证码：0483，请在 5 分钟内输入。","why":"","api":"message/xsend","credit":1}`,
		"webhook": `{"id":"7ac69ff98e48c9b3b0f49afa5a0788c7","at":1505372614157,"request":{"flowId":"ID01abc","code":"B2026","staff":{"name":"张三","phone":"13800138000"},"amount":{"standard":"1250.00","currency":"CNY"},` +
			`"items":[{"title":"差旅","sum":12.5},{"title":"餐饮","sum":30}]},"response":{"code":500,"message":"connection refused by 10.0.0.1:8080"},"flowId":"ID01abc"}`,
	} {
		rec := sources.Record{ID: "7ac6", Raw: []byte(row), Size: int64(len(row))}
		e := made(b, row)
		for _, mode := range []Mode{Off, Standard, Strict} {
			p := New(mode, Rules{}, secret.New("key"), false)
			b.Run(name+"/"+string(mode), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					masked := e
					if err := p.Event(&masked, rec, testFields); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// TestOffCostsNothing wants no allocation where nothing is hidden.
func TestOffCostsNothing(t *testing.T) {
	e := made(t, `{"id":"7","to":"13800138000"}`)
	p := New(Off, Rules{}, secret.New("key"), false)
	if n := testing.AllocsPerRun(100, func() { _ = p.Event(&e, sources.Record{}, testFields) }); n != 0 {
		t.Errorf("got %v allocations", n)
	}
}

// TestCostIsLinear wants what takes sixteen times the text to take little more than sixteen times the processor, not the
// 256 times of a search that begins anew at each place.
func TestCostIsLinear(t *testing.T) {
	p := New(Standard, Rules{}, secret.New("key"), false)
	took := func(text string) time.Duration { // the least of a few: the rest is what else the processor did
		least := time.Duration(math.MaxInt64)
		for range 3 {
			began := processor(t)
			p.maskUnparsed(text)
			least = min(least, processor(t)-began)
		}
		return least
	}
	const n = 10_000
	for _, tt := range []struct{ part, end string }{{"<name ", "/>"}, {"<name ", "></name"}, {"<name ", ">***</name"}, {"name:,", ""}, {"name=,", ""}} {
		if few, many := took(strings.Repeat(tt.part, n)+tt.end), took(strings.Repeat(tt.part, 16*n)+tt.end); many > 64*max(few, time.Millisecond) {
			t.Errorf("%s%s: %v, of sixteen times as much %v", tt.part, tt.end, few, many)
		}
	}
	if got := len(p.HashRecipient(strings.Repeat("1,", n))); got > 65*maxNumbers {
		t.Errorf("got %d bytes of hashes", got)
	}
}

// processor returns the processor time that this process has used. What other processes take does not count.
func processor(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// BenchmarkUnparsed is the cost of the largest beginning of a row that a dead letter keeps.
func BenchmarkUnparsed(b *testing.B) {
	p := New(Standard, Rules{}, secret.New("key"), false)
	for name, part := range map[string]string{
		"json": `{"realName":"张三","n":13800138000,"text":"\u4f60\u597d, a=b"},`, "digits": "1380013800", "percent": "%25", "slashes": `\\u005c`, "open": "<name ", "at": "a@", "quotes": `"name":"\"`,
	} {
		text := strings.Repeat(part, schema.MaxDeadLetterRaw/len(part))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				p.maskUnparsed(text)
			}
		})
	}
}
