package schema

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSizeCountsAttributesAndBody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String()
		m := Message{
			ID: text.Draw(t, "id"), Type: text.Draw(t, "type"),
			Source:   Source{System: text.Draw(t, "system"), Account: text.Draw(t, "account"), Stream: text.Draw(t, "stream")},
			RecordID: text.Draw(t, "record"), Time: time.Unix(rapid.Int64Range(0, 1<<36).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")),
			DataSchema: text.Draw(t, "schema"), Replay: text.Draw(t, "replay"), Body: rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
		}
		want := len(m.Body)
		for _, a := range m.Attributes() {
			want += len(a.Name) + len(a.Value)
		}
		if got := m.Size(); got != want {
			t.Fatalf("got %d, want %d", got, want)
		}
	})
}

// TestLister holds a Lister to what each message alone has; what it listed
// before stays as it was.
func TestLister(t *testing.T) {
	var l Lister
	var times []string
	for i := range 1000 {
		m := Message{
			ID: strconv.Itoa(i), Source: Source{System: "submail", Account: strconv.Itoa(i / 3), Stream: "sms"},
			Time: time.Unix(int64(i), int64(i%2)), Replay: strings.Repeat("r", i%5),
		}
		got := l.Attributes(&m)
		if want := m.Attributes(); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		times = append(times, got[5].Value)
	}
	for i, got := range times {
		if want := time.Unix(int64(i), int64(i%2)).UTC().Format(time.RFC3339Nano); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
}

func TestTime(t *testing.T) {
	created, updated, observed := time.Unix(1, 0).UTC(), time.Unix(2, 0).UTC(), time.Unix(3, 0).UTC()
	for _, tt := range []struct {
		name  string
		event Event
		want  time.Time
	}{
		{"changed", Event{CreatedAt: created, UpdatedAt: updated, ObservedAt: observed}, updated},
		{"not changed yet", Event{CreatedAt: created, ObservedAt: observed}, created},
		{"left", Event{CreatedAt: created, ObservedAt: observed, Record: Record{Left: true}}, observed},
	} {
		m, err := tt.event.Message(Format{})
		if err != nil || !m.Time.Equal(tt.want) {
			t.Errorf("%s: got %v and error %v, want %v", tt.name, m.Time, err, tt.want)
		}
	}
}

func TestSubjectIsAllowed(t *testing.T) {
	for record, want := range map[string]string{
		"失败 100% \"1\" 😀": "失败 100% \"1\" 😀", "tab\tline\r\nnul\x00": "tab\ufffdline\ufffd\ufffdnul\ufffd",
		"\u0085\u009f\u007f": "\ufffd\ufffd\ufffd", "\ufdd0 \U0001ffff": "\ufffd \ufffd", "\xff": "\ufffd",
	} {
		m := Message{RecordID: record}
		if got := m.Attributes()[4]; got != (Attribute{"subject", want}) {
			t.Errorf("%q: got %q, want %q", record, got, want)
		}
		if got, want := m.Key(), "//"+record; got != want {
			t.Errorf("got key %q, want %q", got, want)
		}
	}
}
