package checkpoint

import (
	"testing"
	"time"

	"connector/sources"
)

func TestSplitPrefix(t *testing.T) {
	for _, s := range []sources.Stream{{Name: "sms"}, {Name: "flow", Filters: "ab12"}} {
		account, stream, filters := SplitPrefix(Prefix("hq", s))
		if account != "hq" || stream != s.Name || filters != s.Filters {
			t.Errorf("%+v: got %q, %q, %q", s, account, stream, filters)
		}
	}
}

// TestTickOf must not show a hole between ranges that touch.
func TestTickOf(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(1_700_000_000_000 + int64(ms)).UTC() }
	span := func(from, to int) sources.Span { return sources.Span{From: at(from), To: at(to)} }
	tests := []struct {
		ranges coverage
		want   time.Duration
	}{
		{nil, time.Second},
		{coverage{{span(0, 5000), Watched}, {span(6000, 9000), Young}}, time.Second},
		{coverage{{span(0, 5000), Watched}, {span(5001, 9000), Young}}, time.Millisecond},
	}
	for i, tt := range tests {
		if got := tickOf(head{start: at(0), ranges: tt.ranges}); got != tt.want {
			t.Errorf("%d: got %v, want %v", i, got, tt.want)
		}
	}
}
