package jsonrows

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/go-json-experiment/json/jsontext"

	"connector/internal/fault"
	"connector/schema"
)

// read collects an answer's rows.
func read(r *Reader) (rows []string, err error) {
	for row, e := range r.Rows() {
		if e != nil {
			return rows, e
		}
		rows = append(rows, string(row.Raw))
	}
	return rows, nil
}

func TestRows(t *testing.T) {
	tests := []struct {
		name    string
		in      string
		want    []string
		found   Found
		members map[string]string
	}{
		{"empty", `{"items":[]}`, nil, Array, nil},
		{"null", `{"items":null}`, nil, Null, nil},
		{"absent", `{}`, nil, Absent, nil},
		{"empty object", `{"a":1,"items": { } ,"b":2}`, nil, Null, map[string]string{"a": "1", "b": "2"}},
		{"empty text", `{"items":"","b":2}`, nil, Null, map[string]string{"b": "2"}},
		{"blank text", `{"items":" \n","b":2}`, nil, Null, map[string]string{"b": "2"}},
		{"null and rows", `{"items":null,"items":[1]}`, []string{"1"}, Array, nil},
		{"rows and null", `{"items":[1],"items":{}}`, []string{"1"}, Array, nil},
		{"BOM and spaces", bom + " \n{ \"items\" : [ {\"a\" : 1} , {} ] } \r\n", []string{`{"a" : 1}`, `{}`}, Array, nil},
		{"any kind of row", `{"items":[1,"x",null,true,[2],-1.5e3]}`, []string{"1", `"x"`, "null", "true", "[2]", "-1.5e3"}, Array, nil},
		{"members before and after", `{"status":"success","code":"1","items":[{}],"count":2,"ok":true,"none":null,"deep":{"items":[7]},"list":[1,[2]]}`,
			[]string{"{}"}, Array, map[string]string{"status": "success", "code": "1", "count": "2", "ok": "true"}},
		{"escaped name and value", `{"\u0069tems":[1],"msg":"\u672a\u6388\u6743"}`, []string{"1"}, Array, map[string]string{"msg": "未授权"}},
		{"names are case-sensitive", `{"Items":[1]}`, nil, Absent, nil},
		{"duplicate names", `{"a":1,"a":2,"items":[{"b":1,"b":2}]}`, []string{`{"b":1,"b":2}`}, Array, map[string]string{"a": "2"}},
		{"invalid UTF-8", "{\"m\":\"\xff\",\"items\":[\"\xff\"]}", []string{"\"\xff\""}, Array, map[string]string{"m": "\uFFFD"}},
		{"large integer", `{"n":9007199254740993,"items":[9007199254740993]}`, []string{"9007199254740993"}, Array, map[string]string{"n": "9007199254740993"}},
	}
	for _, tt := range tests {
		for _, slow := range []bool{false, true} {
			var in io.Reader = strings.NewReader(tt.in)
			if slow {
				in = iotest.OneByteReader(in)
			}
			r := New(in, "items", 1<<20)
			got, err := read(r)
			if err != nil || !slices.Equal(got, tt.want) || r.Found() != tt.found {
				t.Errorf("%s: got %q, %v, %v, want %q, %v", tt.name, got, r.Found(), err, tt.want, tt.found)
			}
			if !maps.Equal(r.Members(), tt.members) {
				t.Errorf("%s: got members %v, want %v", tt.name, r.Members(), tt.members)
			}
		}
	}
}

func TestBroken(t *testing.T) {
	tests := []struct {
		name, in string
		want     int // rows before the error
		cut      bool
	}{
		{"nothing", "", 0, true},
		{"not JSON", "oops", 0, false},
		{"not an object", `[{"items":[]}]`, 0, false},
		{"rows in an object", `{"items":{"0":{}}}`, 0, false},
		{"rows as text", `{"items":"none"}`, 0, false},
		{"rows as a number", `{"items":0}`, 0, false},
		{"rows in a large object", `{"items":{"0":"` + strings.Repeat("x", maxScalar) + `"}}`, 0, false},
		{"large text", `{"items":"` + strings.Repeat(" ", maxScalar) + `"}`, 0, false},
		{"cut in an empty object", `{"items":{`, 0, true},
		{"broken empty object", `{"items":{]}`, 0, false},
		{"bad row", `{"items":[{"a":1},{"a":},{"a":3}]}`, 1, false},
		{"bad separator", `{"items":[{"a":1};{"a":3}]}`, 1, false},
		{"more after the end", `{"items":[1]} {"items":[2]}`, 1, false},
		{"a message after the end", `{"items":[1]}<b>Notice</b>`, 1, false},
		{"rows twice", `{"items":[1],"items":[2]}`, 1, false},
		{"large member", `{"a":"` + strings.Repeat("x", maxScalar) + `","items":[1]}`, 0, false},
		{"large gap", `{"items":[1,` + strings.Repeat(" ", maxScalar+100) + `2]}`, 1, false},
	}
	whole := `{"n":1,"items":[{"a":"b"},2,"three"],"m":"x"}`
	for n := range whole {
		tests = append(tests, struct {
			name, in string
			want     int
			cut      bool
		}{fmt.Sprintf("cut at %d", n), whole[:n], -1, true})
	}
	for _, tt := range tests {
		got, err := read(New(strings.NewReader(tt.in), "items", 1<<20))
		if err == nil || tt.want >= 0 && len(got) != tt.want {
			t.Errorf("%s: got rows %q and error %v, want %d and an error", tt.name, got, err, tt.want)
		}
		if tt.cut && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: got %v, want unexpected EOF", tt.name, err)
		}
	}
	failing := io.MultiReader(strings.NewReader(`{"items":[1,2`), iotest.ErrReader(io.ErrClosedPipe))
	if _, err := read(New(failing, "items", 1<<20)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v, want the reader's error", err)
	}
}

// TestTooLarge checks rows around the limit: those above it are hashed and
// cut, and their neighbours are whole.
func TestTooLarge(t *testing.T) {
	const limit = 300 << 10
	text := func(n int) string { return `{"a":"` + strings.Repeat(`\"`, (n-8)/2) + strings.Repeat("x", n%2) + `"}` }
	tests := []struct {
		name, row string
		cut       bool
	}{
		{"at the limit", text(limit), false},
		{"one above", text(limit + 1), true},
		{"far above", text(3 * limit), true},
		{"nested", `[{"x":"]}",` + strings.Repeat(`"k":[1,{}],`, limit/8) + `"z":[]}]`, true},
		{"number at the limit", strings.Repeat("7", limit), false},
		{"number", strings.Repeat("7", limit+100), true},
		{"brackets in text", `{"a":"` + strings.Repeat("x", limit) + `\"]}","b":"\\"}`, true},
		{"string", `"` + strings.Repeat("x", limit) + `\\"`, true},
	}
	for _, tt := range tests {
		for _, space := range []string{"", "\n\t "} {
			in := `{"items":[{"n":1},` + space + tt.row + space + `,{"n":2},` + tt.row + space + `],"end":"yes"}`
			r := New(strings.NewReader(in), "items", limit)
			var got []Row
			for row, err := range r.Rows() {
				if err != nil {
					t.Fatalf("%s: %v", tt.name, err)
				}
				row.Raw = bytes.Clone(row.Raw)
				got = append(got, row)
			}
			if len(got) != 4 || string(got[0].Raw) != `{"n":1}` || string(got[2].Raw) != `{"n":2}` || r.Members()["end"] != "yes" {
				t.Fatalf("%s: got %d rows, members %v", tt.name, len(got), r.Members())
			}
			sum := sha256.Sum256([]byte(tt.row))
			for _, row := range []Row{got[1], got[3]} {
				want := Row{Raw: []byte(tt.row), Size: int64(len(tt.row))}
				if tt.cut {
					want.Raw, want.SHA256 = want.Raw[:schema.MaxDeadLetterRaw], hex.EncodeToString(sum[:])
				}
				if !bytes.Equal(row.Raw, want.Raw) || row.Size != want.Size || row.SHA256 != want.SHA256 {
					t.Errorf("%s: got %d of %d bytes, hash %q; want %d of %d, %q", tt.name, len(row.Raw), row.Size, row.SHA256, len(want.Raw), want.Size, want.SHA256)
				}
			}
		}
	}
	for _, tail := range []string{"", "x", `"`, `"}`} {
		in := `{"items":[{"a":"` + strings.Repeat("x", 2*limit) + tail
		if _, err := read(New(strings.NewReader(in), "items", limit)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut in a large row: got %v, want unexpected EOF", err)
		}
	}
}

// TestTooDeep checks rows around the deepest level that can be read: those
// below it are skipped, and their neighbours are whole.
func TestTooDeep(t *testing.T) {
	nest := func(open, end string, levels int) string {
		return strings.Repeat(open, levels) + `"]}"` + strings.Repeat(end, levels)
	}
	skipped := 0
	for levels := maxDepth - 4; levels < maxDepth+3; levels++ {
		for i, deep := range []string{nest("[", "]", levels), nest(`{"":`, "}", levels), nest(`{"a/b~":`, "}", levels), nest("[", "]", 4*levels)} {
			in := `{"items":[{"n":1}, ` + deep + `,` + deep + ` , {"n":2},` + deep + `],"end":"yes"}`
			r := New(iotest.HalfReader(strings.NewReader(in)), "items", 600<<10)
			var got []Row
			for row, err := range r.Rows() {
				if err != nil {
					t.Fatalf("%d levels, kind %d: %.300v", levels, i, err)
				}
				row.Raw = bytes.Clone(row.Raw)
				got = append(got, row)
			}
			if len(got) != 5 || string(got[0].Raw) != `{"n":1}` || string(got[3].Raw) != `{"n":2}` || r.Members()["end"] != "yes" {
				t.Fatalf("%d levels, kind %d: got %d rows, members %v", levels, i, len(got), r.Members())
			}
			for _, row := range []Row{got[1], got[2], got[4]} {
				if !strings.HasPrefix(deep, string(row.Raw)) || row.Size != int64(len(deep)) || row.TooDeep != (row.SHA256 != "") {
					t.Errorf("%d levels, kind %d: got %d of %d bytes, want %d", levels, i, len(row.Raw), row.Size, len(deep))
				}
				if !row.TooDeep {
					continue
				}
				skipped++
				if class, _ := fault.Class(row.Record("X").Fault); class != "decode" || row.SHA256 != Sum([]byte(deep)) {
					t.Errorf("%d levels, kind %d: got class %q, hash %q", levels, i, class, row.SHA256)
				}
			}
		}
	}
	if want := 3 * (7 + 3*4); skipped != want { // the outermost object and the array are two levels
		t.Errorf("got %d rows skipped, want %d", skipped, want)
	}
	if _, err := read(New(strings.NewReader(`{"x":`+nest("[", "]", 2*maxDepth)+`}`), "items", 1<<20)); err == nil || len(err.Error()) > 300 {
		t.Errorf("a member too deep: got %.500v, want a short error", err)
	}
}

// TestMemory reads 8 MiB in one row and in many with little memory.
func TestMemory(t *testing.T) {
	const size = 8 << 20
	for name, in := range map[string]io.Reader{
		"one row":       io.MultiReader(strings.NewReader(`{"items":["`), io.LimitReader(repeat("x"), size), strings.NewReader(`"]}`)),
		"large numbers": io.MultiReader(strings.NewReader(`{"items":[`), io.LimitReader(repeat("7"), size), strings.NewReader(`]}`)),
		"many rows":     io.MultiReader(strings.NewReader(`{"items":[`), io.LimitReader(repeat(`{"a":1},`), size), strings.NewReader(`{}]}`)),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		n := 0
		for _, err := range New(in, "items", 256<<10).Rows() {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			n++
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 2<<20 {
			t.Errorf("%s: got %d bytes allocated for %d rows, want at most 2 MiB", name, got, n)
		}
	}
}

type repeat string

func (r repeat) Read(p []byte) (int, error) {
	n := 0
	for n+len(r) <= len(p) {
		n += copy(p[n:], r)
	}
	return n, nil
}

// FuzzRows compares with decoding the whole answer at once. Accepted answers
// must give the same rows, refused ones an error.
func FuzzRows(f *testing.F) {
	for _, s := range []string{
		`{"items":[]}`, `{"items":[{"a":[1,2,{"b":"]"}]},2,"x\\\"",null],"n":1}`, `{"items":null}`, `{"a":{"items":[1]},"items":[1 , 2]}`,
		`{"items":[1,2`, `{"items":["\ud800"]}`, `{"items":{ }}`, `{"items":" ","n":1}`, bom + `{"items":[1]}`, `{"items":[12345678901234567890,"` + strings.Repeat("x", 40) + `",3],"n":"m"}`,
	} {
		f.Add([]byte(s), 32)
		f.Add([]byte(s), 4)
	}
	f.Fuzz(func(t *testing.T, in []byte, maxRow int) {
		maxRow = max(1, maxRow%1000)
		r := New(iotest.HalfReader(bytes.NewReader(in)), "items", maxRow)
		var rows []Row
		var failed error
		for row, err := range r.Rows() {
			if failed = err; err == nil {
				row.Raw = bytes.Clone(row.Raw)
				rows = append(rows, row)
			}
		}
		want, ok := whole(bytes.TrimPrefix(in, []byte(bom)))
		if ok && failed != nil && maxRow > len(in) {
			t.Fatalf("refused a good answer: %v", failed)
		}
		if failed != nil || !ok { // a row too large is not checked to be JSON
			return
		}
		if len(rows) != len(want) {
			t.Fatalf("got %d rows, want %d", len(rows), len(want))
		}
		for i, row := range rows {
			sum := sha256.Sum256(want[i])
			switch large := len(want[i]) > maxRow; {
			case row.Size != int64(len(want[i])), !bytes.HasPrefix(want[i], row.Raw), large != (row.SHA256 != ""):
				t.Fatalf("row %d: got %q of %d bytes, hash %q, want %q", i, row.Raw, row.Size, row.SHA256, want[i])
			case large && row.SHA256 != hex.EncodeToString(sum[:]), !large && len(row.Raw) != len(want[i]):
				t.Fatalf("row %d: got %q, hash %q, want %q", i, row.Raw, row.SHA256, want[i])
			}
		}
	})
}

// whole returns the rows of an answer by decoding it in one piece, and whether it is one this package accepts.
func whole(in []byte) (rows []jsontext.Value, ok bool) {
	opts := []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}
	if !jsontext.Value(in).IsValid(opts...) || jsontext.Value(in).Kind() != '{' {
		return nil, false
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(bytes.Clone(in)), opts...)
	_, _ = dec.ReadToken()
	seen := false
	for dec.PeekKind() != '}' {
		name, _ := dec.ReadToken()
		items := name.String() == "items"
		kind := dec.PeekKind()
		if !items || kind != '[' {
			v, _ := dec.ReadValue()
			if items && !holdsNothing(v) {
				return nil, false
			}
			continue
		}
		if seen {
			return nil, false
		}
		seen = true
		_, _ = dec.ReadToken()
		for dec.PeekKind() != ']' {
			v, _ := dec.ReadValue()
			rows = append(rows, v.Clone())
		}
		_, _ = dec.ReadToken()
	}
	return rows, true
}

func holdsNothing(v jsontext.Value) bool {
	v = v.Clone()
	_ = v.Compact(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	return string(v) == "null" || string(v) == "{}" || v.Kind() == '"' && strings.TrimSpace(scalar(v)) == ""
}

func answer(rows int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"items":[`)
	for i := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"name":"名称1","messageId":"HMocIFTDM1x400","flowId":"110000","dataLinkId":"","messageCenterConfigId":null,"nodeName":"节点名称",`+
			`"nodeId":"51A5F3CD-8D15-43BB-B449-21E5E59748E9","request":{"aa":"bb","list":[1,2,3]},"response":{"code":"E500"},"state":"FAILURE","id":"%d",`+
			`"type":"INVOKING","version":4,"active":true,"createTime":1505372614157,"updateTime":1505372614157,"corporationId":"Uq08cj71400000","messageType":"flow"}`, i)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

// Benchmark compares reading rows with framing them by the decoder alone.
func Benchmark(b *testing.B) {
	const rows = 20_000
	in := answer(rows)
	measure := func(name string, read func(r io.Reader) int) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				if n := read(bytes.NewReader(in)); n != rows {
					b.Fatalf("got %d rows, want %d", n, rows)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
		})
	}
	measure("rows", func(r io.Reader) (n int) {
		for _, err := range New(r, "items", 4<<20).Rows() {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		return n
	})
	measure("jsontext", func(r io.Reader) (n int) {
		dec := jsontext.NewDecoder(struct{ io.Reader }{r}, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
		for range 3 {
			_, _ = dec.ReadToken()
		}
		for dec.PeekKind() == '{' {
			if _, err := dec.ReadValue(); err != nil {
				b.Fatal(err)
			}
			n++
		}
		return n
	})
}
