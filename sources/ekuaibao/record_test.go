package ekuaibao

import (
	"strings"
	"testing"
	"time"

	"connector/internal/fault"
	"connector/schema"
	"connector/sources"
	"connector/sources/jsonrows"
)

func TestRecords(t *testing.T) {
	large := `{"id":"8","createTime":1505372614157,"request":"` + strings.Repeat("x", 2000) + `"}`
	tests := []struct {
		name, row string
		want      sources.Record // ID, Created, Rank (of a good row), Terminal; an ID of "sha256" stands for the row's hash
		class     string
	}{
		{"good", `{"id":"1","createTime":1505372614157,"version":4,"state":"FAILURE","updateTime":1505372614200}`, sources.Record{ID: "1", Rank: 1505372614200}, ""},
		{"success is final", `{"id":"1","createTime":1505372614157,"version":5,"state":"SUCCESS"}`, sources.Record{ID: "1", Rank: 5, Terminal: true}, ""},
		{"no updateTime", `{"id":"1","createTime":1505372614157,"version":4}`, sources.Record{ID: "1", Rank: 4}, ""},
		{"no createTime", `{"id":"1","createTime":null,"updateTime":1505372614157}`, sources.Record{ID: "1", Rank: 1505372614157}, ""},
		{"no version", `{"id":"1","createTime":1505372614157,"updateTime":1505372614200}`, sources.Record{ID: "1", Rank: 1505372614200}, ""},
		{"numeric id", `{"id":9007199254740993,"createTime":"1505372614157"}`, sources.Record{ID: "9007199254740993"}, ""},
		{"no id", `{"createTime":1505372614157}`, sources.Record{ID: "sha256", Terminal: true}, "no_id"},
		{"empty id", `{"id":" ","createTime":1505372614157}`, sources.Record{ID: "sha256", Terminal: true}, "no_id"},
		{"no object", `"row"`, sources.Record{ID: "sha256", Terminal: true}, "decode"},
		{"null", `null`, sources.Record{ID: "sha256", Terminal: true}, "decode"},
		{"bad time", `{"id":"1","createTime":"yesterday"}`, sources.Record{ID: "1"}, "decode"},
		{"impossible time", `{"id":"1","createTime":9223372036854775807,"updateTime":1505372614157}`, sources.Record{ID: "1"}, "decode"},
		{"no time", `{"id":"1","createTime":null}`, sources.Record{ID: "1"}, "decode"},
		{"id is an object", `{"id":{},"createTime":1505372614157}`, sources.Record{ID: "sha256", Terminal: true}, "decode"},
		{"no createTime, impossible updateTime", `{"id":"1","updateTime":-1}`, sources.Record{ID: "1"}, "decode"},
		{"too deep", `{"id":"1","createTime":1505372614157,"response":` + nested(10_001) + `}`, sources.Record{ID: "sha256", Terminal: true}, "decode"},
		{"too large", large, sources.Record{ID: "sha256", Terminal: true}, "too_large"},
	}
	for _, tt := range tests {
		s := answers(t, text(`{"items":[`+tt.row+`,{"id":"next","createTime":1505372614157}]}`))
		s.cfg.MaxRowBytes = 1000
		if tt.name == "too deep" {
			s.cfg.MaxRowBytes = 1 << 20
		}
		records, proven, err := read(t.Context(), s, flow(s), window)
		if err != nil || proven != window || len(records) != 2 || records[1].ID != "next" {
			t.Errorf("%s: got %d records, proven %v, %v", tt.name, len(records), proven, err)
			continue
		}
		got := records[0]
		if tt.class != "" {
			tt.want.Rank = sources.UnknownRank
		}
		if tt.want.ID == "sha256" {
			tt.want.ID = sources.HashID + jsonrows.Sum([]byte(tt.row))
		}
		if class, _ := fault.Class(got.Fault); got.ID != tt.want.ID || got.Rank != tt.want.Rank || got.Terminal != tt.want.Terminal || class != tt.class {
			t.Errorf("%s: got %+v, want %+v, class %q", tt.name, got, tt.want, tt.class)
		}
		if timed := tt.class == "" || tt.class == "no_id"; timed != got.Created.Equal(time.UnixMilli(1505372614157)) || !timed && !got.Created.IsZero() {
			t.Errorf("%s: got created %v", tt.name, got.Created)
		}
		if got.Size != int64(len(tt.row)) || got.Print == "" {
			t.Errorf("%s: got size %d, print %q", tt.name, got.Size, got.Print)
		}
	}
}

func nested(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }

// TestLongID wants an id that no sink could take to make a dead letter that all can.
func TestLongID(t *testing.T) {
	for _, n := range []int{jsonrows.MaxID, jsonrows.MaxID + 1, 70_000} {
		id := strings.Repeat("x", n)
		for _, row := range []string{`{"id":"` + id + `","createTime":1505372614157}`, `{"id":"` + id + `"}`, `{"id":"` + id + `","createTime":{}}`} {
			s := answers(t, text(`{"items":[`+row+`,{"id":"next","createTime":1505372614157}]}`))
			records, proven, err := read(t.Context(), s, flow(s), window)
			if err != nil || proven != window || len(records) != 2 {
				t.Fatalf("id of %d bytes: got %d records, proven %v, %v", n, len(records), proven, err)
			}
			want := id
			if n > jsonrows.MaxID {
				want = sources.HashID + jsonrows.Sum([]byte(row))
			}
			if r := records[0]; r.ID != want || n > jsonrows.MaxID && (r.Fault == nil || len(r.Fault.Error()) > 200) {
				t.Errorf("id of %d bytes: got id %.100s, fault %v", n, r.ID, r.Fault)
			}
		}
	}
}

// TestDeep wants a row that can just be read to make an event or a dead letter.
func TestDeep(t *testing.T) {
	for levels := 9_990; levels < 10_003; levels++ {
		s := answers(t, text(`{"items":[{"id":"1","createTime":1505372614157,"response":`+nested(levels)+`},{"id":"2","createTime":1505372614157}]}`))
		records, proven, err := read(t.Context(), s, flow(s), window)
		if err != nil || proven != window || len(records) != 2 {
			t.Fatalf("%d levels: got %d records, proven %v, %v", levels, len(records), proven, err)
		}
		e, err := s.Normalize(flow(s), records[0])
		if err == nil {
			_, err = e.Message(schema.Format{})
		}
		if err != nil && len(err.Error()) > 500 {
			t.Errorf("%d levels: got an error of %d bytes", levels, len(err.Error()))
		}
	}
}

// TestRank wants the rank to grow from each version of a row to the next.
func TestRank(t *testing.T) {
	for _, versions := range [][]string{
		{`{"version":1}`, `{"version":2}`, `{"version":2,"updateTime":1505372614157}`},
		{`{}`, `{"updateTime":1505372614157}`, `{"updateTime":1505372614200,"version":2}`, `{"updateTime":1505372614300,"version":1}`},
	} {
		last := int64(-1)
		for _, row := range versions {
			var k keys
			if err := jsonrows.Decode([]byte(row), &k); err != nil {
				t.Fatal(err)
			}
			if k.rank() <= last {
				t.Errorf("%s: got rank %d after %d", row, k.rank(), last)
			}
			last = k.rank()
		}
	}
}

// TestPrint checks which fields change the print, and that spelling does not.
func TestPrint(t *testing.T) {
	printOf := func(row string) string {
		var k keys
		if err := jsonrows.Decode([]byte(row), &k); err != nil {
			t.Fatal(err)
		}
		return k.print()
	}
	base := printOf(`{"id":"1","version":4,"updateTime":5,"state":"FAILURE","active":true}`)
	for row, same := range map[string]bool{
		`{"active":"true","state":"FAILURE","updateTime":"5","version":"4","id":"1"}`:            true,
		`{"id":"1","version":4,"updateTime":5,"state":"FAILURE","active":true,"request":"text"}`: true,
		`{"id":"1","version":5,"updateTime":5,"state":"FAILURE","active":true}`:                  false,
		`{"id":"1","version":4,"updateTime":6,"state":"FAILURE","active":true}`:                  false,
		`{"id":"1","version":4,"updateTime":5,"state":"SUCCESS","active":true}`:                  false,
		`{"id":"1","version":4,"updateTime":5,"state":"FAILURE","active":false}`:                 false,
		`{"id":"1","version":4,"updateTime":5,"state":"FAILURE"}`:                                false,
	} {
		if got := printOf(row) == base; got != same {
			t.Errorf("%s: got the same print %v, want %v", row, got, same)
		}
	}
}

func TestNormalize(t *testing.T) {
	s := answers(t, text(""))
	tests := []struct {
		name, row, want string
		status          schema.Status
	}{
		{"only an id", `{"id":"1","createTime":1}`, `{},"ekuaibao":{}`, schema.Unknown},
		{"nulls", `{"id":"1","createTime":1,"name":null,"request":null,"active":null,"new":null}`, `{},"ekuaibao":{}`, schema.Unknown},
		{"mixed types", `{"id":222,"createTime":"1","nodeName":7,"active":"false","version":"4","state":"FAILURE"}`,
			`{"nodeName":"7"},"ekuaibao":{"active":false}`, schema.Failed},
		{"any request", `{"id":"1","createTime":1,"request":"a=b","response":[1,{"n":9007199254740993}],"state":"SUCCESS"}`,
			`{"request":"a=b","response":[1,{"n":9007199254740993}]},"ekuaibao":{}`, schema.Delivered},
		{"unknown fields", `{"id":"1","createTime":1,"new":{"a":[1.50]}}`, `{},"ekuaibao":{"new":{"a":[1.50]}}`, schema.Unknown},
		{"half a character", `{"id":"1","createTime":1,"name":"\ud83d","request":{"a":"\ud83d"}}`,
			`{"configurationName":"` + "\uFFFD" + `","request":{"a":"` + "\uFFFD" + `"}},"ekuaibao":{}`, schema.Unknown},
		{"blank texts", `{"id":"1","createTime":1,"name":" ","messageId":"","nodeName":" n\t","request":"","flowId":""}`,
			`{"nodeName":"n","request":""},"ekuaibao":{"flowId":""}`, schema.Unknown},
		{"called", `{"id":"1","createTime":1,"type":"INVOKING"}`, `{"direction":"outgoing"},"ekuaibao":{"type":"INVOKING"}`, schema.Unknown},
		{"called back", `{"id":"1","createTime":1,"type":" CALLBACK "}`, `{"direction":"incoming"},"ekuaibao":{"type":" CALLBACK "}`, schema.Unknown},
		{"another type", `{"id":"1","createTime":1,"type":"invoking"}`, `{},"ekuaibao":{"type":"invoking"}`, schema.Unknown},
	}
	for _, tt := range tests {
		e, err := s.Normalize(flow(s), sources.Record{ID: "1", Created: time.UnixMilli(1), Raw: []byte(tt.row)})
		if err != nil || e.Status != tt.status {
			t.Errorf("%s: got %+v, %v, want status %s", tt.name, e, err, tt.status)
			continue
		}
		m, err := e.Message(schema.Format{})
		if want := `"webhook":` + tt.want + `}`; err != nil || !strings.HasSuffix(string(m.Body), want) {
			t.Errorf("%s:\n got %s, %v\nwant …%s", tt.name, m.Body, err, want)
		}
	}
	for field, row := range map[string]string{
		"name":       `{"id":"1","createTime":1,"name":{"private":1}}`,
		"version":    `{"id":"1","createTime":1,"version":"private"}`,
		"active":     `{"id":"1","createTime":1,"active":"private"}`,
		"request":    `{"id":"1","createTime":1,"request":{"private":1,"private":2}}`,
		"updateTime": `{"id":"1","createTime":1,"updateTime":-1}`,
	} {
		_, err := s.Normalize(flow(s), sources.Record{ID: "1", Created: time.UnixMilli(1), Raw: []byte(row)})
		if class, _ := fault.Class(err); class != "decode" || !strings.Contains(err.Error(), field) || strings.Contains(err.Error(), "private") {
			t.Errorf("%s: got %v, want a rejection that names the field and not the value", field, err)
		}
	}
}

// A row without createTime is dated by a time that changes with it.
func TestMoves(t *testing.T) {
	s := answers(t, text(`{"items":[]}`))
	for raw, want := range map[string]bool{`{"id":"1","createTime":1,"updateTime":2}`: false, `{"id":"1","updateTime":2}`: true} {
		if r, _ := s.decode(jsonrows.Row{Raw: []byte(raw), Size: int64(len(raw))}); r.Moves != want || r.Fault != nil {
			t.Errorf("%s: got moves %v, %v, want %v", raw, r.Moves, r.Fault, want)
		}
	}
}
