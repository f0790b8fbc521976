package jsonrows

import (
	"strings"
	"testing"

	"connector/internal/fault"
	"connector/sources"
)

func TestIdentify(t *testing.T) {
	rec := sources.Record{Raw: []byte(`{"a":1}`), Size: 7}
	hash := sources.HashID + Sum(rec.Raw)
	for _, tt := range []struct{ id, want, class string }{
		{"1", "1", ""},
		{strings.Repeat("x", MaxID), strings.Repeat("x", MaxID), ""},
		{strings.Repeat("x", MaxID+1), hash, "too_large"},
		{"", hash, "no_id"},
	} {
		got := Identify(rec, "sendID", tt.id)
		class, _ := fault.Class(got.Fault)
		if got.ID != tt.want || class != tt.class || got.Terminal != (class != "") || class != "" && !strings.Contains(got.Fault.Error(), "sendID") {
			t.Errorf("id of %d bytes: got %+v, want id %s, class %q", len(tt.id), got, tt.want, tt.class)
		}
	}
	if got := Reject(rec, "decode", strings.Repeat("x", MaxID+1), errShape); got.ID != hash || !got.Terminal {
		t.Errorf("rejected: got %+v, want the id %s", got, hash)
	}
}

// TestSkippedRecord wants the hash of a row only where its beginning is kept alone.
func TestSkippedRecord(t *testing.T) {
	row := Row{Raw: []byte(`[1]`), Size: 3, SHA256: Sum([]byte(`[1]`))}
	if got := row.Record("HQ_MAX_ROW_BYTES"); got.SHA256 != "" || got.ID != sources.HashID+row.SHA256 || !strings.Contains(got.Fault.Error(), "HQ_MAX_ROW_BYTES") {
		t.Errorf("whole: got %+v", got)
	}
	row.Size = 4
	if got := row.Record("X"); got.SHA256 != row.SHA256 || got.ID != sources.HashID+row.SHA256 {
		t.Errorf("beginning: got %+v", got)
	}
}
