package schema

import (
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
