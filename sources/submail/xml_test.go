package submail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/go-json-experiment/json/jsontext"

	"connector/schema"
	"connector/sources/jsonrows"
)

func readXML(in io.Reader, maxRow int) (rows []jsonrows.Row, a *xmlAnswer, err error) {
	a = newXMLAnswer(in, "results", "result", maxRow)
	for row, e := range a.Rows() {
		if e != nil {
			return rows, a, e
		}
		row.Raw = bytes.Clone(row.Raw)
		rows = append(rows, row)
	}
	return rows, a, nil
}

func raws(rows []jsonrows.Row) (list []string) {
	for _, r := range rows {
		list = append(list, string(r.Raw))
	}
	return list
}

func TestXML(t *testing.T) {
	tests := []struct {
		name, in string
		want     []string
		listed   bool
		members  map[string]string
	}{
		{"error", "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<xml>\n<status> error </status><code> 101 </code></xml>\n", nil, false, map[string]string{"status": "error", "code": "101"}},
		{"no rows", `<xml><results></results></xml>`, nil, true, nil},
		{"no rows, short", `<xml><results/></xml>`, nil, true, nil},
		{"BOM", "\ufeff<xml><results><result><a>1</a></result></results></xml>", []string{`{"a":"1"}`}, true, nil},
		{"order, space, quotes", `<xml><results> <result> <b> x "y" </b><a/><c><![CDATA[<&>]]></c> </result> </results></xml>`, []string{`{"b":"x \"y\"","a":"","c":"<&>"}`}, true, nil},
		{"entities", `<xml><results><result><m>a &amp; b &lt;c&gt; &#x8BD5; d & e &nbsp; f</m></result></results></xml>`, []string{`{"m":"a & b <c> 试 d & e &nbsp; f"}`}, true, nil},
		{"custom entities are not expanded", `<!DOCTYPE x [<!ENTITY e "eeee">]><xml><results><result><m>&e;</m></result></results></xml>`, []string{`{"m":"&e;"}`}, true, nil},
		{"bad characters", "<xml><results><result><m>\xff\x01</m></result><result><m>2</m></result></results></xml>", []string{"{\"m\":\"\uFFFD\uFFFD\"}", `{"m":"2"}`}, true, nil},
		{"text as a row", `<xml><results><result> row 7 </result><result/></results></xml>`, []string{`"row 7"`, `{}`}, true, nil},
		{"nested element", `<xml><results><result><m>a<b>c</b>d</m></result></results></xml>`, []string{`{"m":"acd"}`}, true, nil},
		{"members behind the rows", `<xml><results/><count>2</count><!-- x --></xml><!-- y -->`, nil, true, map[string]string{"count": "2"}},
	}
	for _, tt := range tests {
		for _, in := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in))} {
			rows, a, err := readXML(in, 1<<20)
			if err != nil || !slices.Equal(raws(rows), tt.want) || a.listed != tt.listed || !maps.Equal(a.Members(), tt.members) {
				t.Errorf("%s: got %q, %v, %v, %v, want %q, %v, %v", tt.name, raws(rows), a.listed, a.Members(), err, tt.want, tt.listed, tt.members)
			}
		}
	}
}

func TestXMLBroken(t *testing.T) {
	whole := `<?xml version="1.0" encoding="utf-8"?><xml><status>success</status><results><result><a>1</a></result><result><a>2</a></result></results></xml>`
	tests := map[string]string{
		"not XML":             `oops`,
		"text before":         `Notice: x <xml/>`,
		"more behind":         `<xml/><xml/>`,
		"text behind":         `<xml/>more`,
		"tags crossed":        `<xml><results><result><a></result></a></results></xml>`,
		"results twice":       `<xml><results/><results/></xml>`,
		"other element":       `<xml><results><row/></results></xml>`,
		"text among the rows": `<xml><results>none</results></xml>`,
		"large member":        `<xml><a>` + strings.Repeat("x", maxElement) + `</a></xml>`,
		"other encoding":      `<?xml version="1.0" encoding="gbk"?><xml/>`,
	}
	for name, in := range tests {
		if rows, _, err := readXML(strings.NewReader(in), 1<<20); err == nil {
			t.Errorf("%s: got rows %q and no error", name, raws(rows))
		}
	}
	for n := range whole {
		if _, _, err := readXML(strings.NewReader(whole[:n]), 1<<20); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d: got %v, want unexpected EOF", n, err)
		}
	}
	failing := io.MultiReader(strings.NewReader(whole[:80]), iotest.ErrReader(io.ErrClosedPipe))
	if _, _, err := readXML(failing, 1<<20); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v, want the reader's error", err)
	}
}

func TestXMLTooLarge(t *testing.T) {
	const limit = 300 << 10
	element := func(n int) string {
		const frame = len("<result><m></m></result>")
		return "<result><m>" + strings.Repeat("x", n-frame) + "</m></result>"
	}
	for n, cut := range map[int]bool{limit: false, limit + 1: true, limit + 5: true, limit + 9: true, limit + 10: true, 3 * limit: true} {
		large := element(n)
		in := `<xml><results><result><a>1</a></result>` + large + `<result><a>2</a></result>` + large + `</results><end>yes</end></xml>`
		rows, a, err := readXML(strings.NewReader(in), limit)
		if err != nil || len(rows) != 4 || string(rows[2].Raw) != `{"a":"2"}` || a.Members()["end"] != "yes" {
			t.Fatalf("%d bytes: got %d rows, %v, %v", n, len(rows), a.Members(), err)
		}
		for _, row := range []jsonrows.Row{rows[1], rows[3]} {
			if !cut {
				if row.SHA256 != "" || row.Size != int64(len(row.Raw)) {
					t.Errorf("%d bytes: got a cut row", n)
				}
				continue
			}
			if row.Size != int64(n) || row.SHA256 != jsonrows.Sum([]byte(large)) || string(row.Raw) != large[:schema.MaxDeadLetterRaw] {
				t.Errorf("%d bytes: got %d of %d, hash %s", n, len(row.Raw), row.Size, row.SHA256)
			}
		}
	}
	for _, tail := range []string{"", "</m></resul", "</m>"} {
		in := `<xml><results><result><m>` + strings.Repeat("x", 2*limit) + tail
		if _, _, err := readXML(strings.NewReader(in), limit); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut in a large row: got %v, want unexpected EOF", err)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	in := io.MultiReader(strings.NewReader("<xml><results><result><m>"), io.LimitReader(xs{}, 8<<20), strings.NewReader("</m></result></results></xml>"))
	if rows, _, err := readXML(in, limit); err != nil || len(rows) != 1 {
		t.Errorf("got %d rows, %v", len(rows), err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 6<<20 {
		t.Errorf("a row of 8 MiB allocates %d bytes, want at most 6 MiB", got)
	}
}

type xs struct{}

func (xs) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// FuzzXML checks that rows are JSON that can be read on, at any limit, and that nothing panics.
func FuzzXML(f *testing.F) {
	seed, err := os.ReadFile("testdata/seed.xml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed, 1000)
	f.Add([]byte("<xml><results><result><m>\xff &amp; & <![CDATA[x]]></m></result></results></xml>"), 20)
	f.Add([]byte("<xml><results><result><m><![CDATA[x</m></result></results></xml>"), 37)
	f.Add([]byte("<xml><results><result>text</result><result/></results><count> 2 </count></xml>"), 1000)
	f.Fuzz(func(t *testing.T, in []byte, maxRow int) {
		maxRow = max(len("<result>"), maxRow%1000)
		rows, _, _ := readXML(iotest.HalfReader(bytes.NewReader(in)), maxRow)
		for _, row := range rows {
			if row.SHA256 == "" && !jsontext.Value(row.Raw).IsValid(jsontext.AllowDuplicateNames(true)) {
				t.Fatalf("got %q, no JSON", row.Raw)
			}
			if row.SHA256 != "" && (row.Size <= int64(maxRow) || row.Size > int64(3*len(in)+20)) {
				t.Fatalf("got a cut row of %d bytes at limit %d", row.Size, maxRow)
			}
		}
	})
}

// BenchmarkXML measures reading a page of 1000 rows.
func BenchmarkXML(b *testing.B) {
	var page strings.Builder
	page.WriteString("<xml><results>")
	for i := range 1000 {
		fmt.Fprintf(&page, "<result><sendID>%032d</sendID><message>如需重置您的账户密码，请在重置页面输入此验证码：1425</message><result_status>delivered</result_status><send_date>2015-01-19 15:21:27</send_date></result>", i)
	}
	page.WriteString("</results></xml>")
	b.SetBytes(int64(page.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if rows, _, err := readXML(strings.NewReader(page.String()), 1<<20); err != nil || len(rows) != 1000 {
			b.Fatal(len(rows), err)
		}
	}
}
