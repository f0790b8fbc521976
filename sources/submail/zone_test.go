package submail

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"connector/internal/apisim"
	"connector/sources"
)

func TestInstants(t *testing.T) {
	tests := []struct {
		zone, local string
		want        []string // UTC
	}{
		{"Asia/Shanghai", "2015-01-19 15:21:27", []string{"2015-01-19 07:21:27"}},
		{"UTC", "2015-01-19 15:21:27", []string{"2015-01-19 15:21:27"}},
		{"America/New_York", "2025-11-02 01:30:00", []string{"2025-11-02 05:30:00", "2025-11-02 06:30:00"}}, // fold
		{"America/New_York", "2025-11-02 00:59:59", []string{"2025-11-02 04:59:59"}},
		{"America/New_York", "2025-11-02 02:00:00", []string{"2025-11-02 07:00:00"}},
		{"America/New_York", "2025-03-09 02:30:00", []string{"2025-03-09 07:30:00"}}, // skipped
		{"Australia/Lord_Howe", "2025-04-06 01:45:00", []string{"2025-04-05 14:45:00", "2025-04-05 15:15:00"}},
		{"Asia/Shanghai", "1969-12-31 23:59:59", nil},
		{"Asia/Shanghai", "9999-12-31 23:59:59", nil},
		{"Asia/Shanghai", "2015-02-30 00:00:00", nil},
		{"Asia/Shanghai", "", nil},
	}
	for _, tt := range tests {
		times, err := instants(tt.local, zone(tt.zone).Location)
		var got []string
		for _, at := range times {
			got = append(got, at.UTC().Format(time.DateTime))
		}
		if strings.Join(got, ", ") != strings.Join(tt.want, ", ") || (err == nil) != (tt.want != nil) {
			t.Errorf("%s %s: got %v, %v, want %v", tt.zone, tt.local, got, err, tt.want)
		}
	}
}

// TestFold scans each of two hours that have the same local times.
func TestFold(t *testing.T) {
	newYork := zone("America/New_York").Location
	now := time.Date(2025, 11, 3, 0, 0, 0, 0, time.UTC)
	sim := apisim.NewSubmail(apisim.SubmailConfig{AppKey: canaryKey, Zone: newYork, Clock: func() time.Time { return now }})
	first, second := time.Date(2025, 11, 2, 5, 30, 0, 0, time.UTC), time.Date(2025, 11, 2, 6, 30, 0, 0, time.UTC)
	if err := sim.Add(apisim.Row{ID: "first", Created: first}, apisim.Row{ID: "second", Created: second}); err != nil {
		t.Fatal(err)
	}
	cfg := settings(serve(t, sim), "")
	cfg.BackupURL, cfg.TimeZone = cfg.BaseURL, zone("America/New_York")
	s := newSource(t, cfg)
	for id, at := range map[string]time.Time{"first": first, "second": second} {
		records, _, err := read(t.Context(), s, sources.Span{From: at.Add(-10 * time.Minute), To: at.Add(10 * time.Minute)})
		if err != nil || len(records) != 1 || records[0].ID != id || !records[0].Created.Equal(at) {
			t.Errorf("%s: got %+v, %v, want created %v", id, records, err, at)
		}
	}
	if got := s.instant(moment{local: "2025-11-02 01:30:05"}, second); !got.Equal(second.Add(5 * time.Second)) {
		t.Errorf("got %v for a sent_date behind the second creation", got)
	}
}

// TestFoldWithin scans windows that hold both hours with the same local times: every row keeps its own hour, so that the right
// one is read again while the row may change.
func TestFoldWithin(t *testing.T) {
	berlin := zone("Europe/Berlin")
	change := time.Date(2025, 10, 26, 1, 0, 0, 0, time.UTC) // 3:00 becomes 2:00
	sim := apisim.NewSubmail(apisim.SubmailConfig{AppKey: canaryKey, Zone: berlin.Location, Clock: func() time.Time { return change.Add(24 * time.Hour) }})
	truth := map[string]time.Time{}
	add := func(at time.Time) {
		id := at.Format(time.TimeOnly)
		if err := sim.Add(apisim.Row{ID: id, Created: at}); err != nil {
			t.Fatal(err)
		}
		truth[id] = at
	}
	for at := change.Add(-2 * time.Hour); at.Before(change.Add(2 * time.Hour)); at = at.Add(time.Minute) {
		add(at)
	}
	for _, near := range []time.Duration{-3601, -3599, -3, -2, -1, 1, 2, 3, 3599, 3601} {
		add(change.Add(near * time.Second))
	}
	cfg := settings(serve(t, sim), "")
	cfg.BackupURL, cfg.TimeZone = cfg.BaseURL, berlin
	for _, rows := range []int{10, 1000} {
		cfg.Rows = rows
		s := newSource(t, cfg)
		for from := -2; from <= 2; from++ {
			for _, to := range []time.Duration{-3602, -3600, -2, -1, 0, 1, 2, 3600, 7200} {
				window := sources.Span{From: change.Add(time.Duration(from) * time.Hour), To: change.Add(to * time.Second)}
				records, proven, err := read(t.Context(), s, window)
				if err != nil || proven != window {
					t.Errorf("%d rows a page, %v: got proven %v, %v", rows, window, proven, err)
				}
				seen := map[string]bool{}
				for _, r := range records {
					if seen[r.ID] = true; !r.Created.Equal(truth[r.ID]) {
						t.Errorf("%d rows a page, %v: got %s created %v", rows, window, r.ID, r.Created)
					}
				}
				for id, at := range truth {
					if window.Contains(at) && !seen[id] {
						t.Errorf("%d rows a page, %v: %s is missing", rows, window, id)
					}
				}
			}
		}
	}
}

func TestPieces(t *testing.T) {
	change := time.Date(2025, 10, 26, 1, 0, 0, 0, time.UTC)
	tests := []struct {
		zone     string
		from, to int // seconds from the change
		want     string
	}{
		{"Asia/Shanghai", -9000, 9000, "-9000,9000"},
		{"Europe/Berlin", -9000, 9000, "-9000,-2 -1,0 1,9000"},
		{"Europe/Berlin", -9000, -2, "-9000,-2"},
		{"Europe/Berlin", -9000, -1, "-9000,-2 -1,-1"},
		{"Europe/Berlin", -9000, 0, "-9000,-2 -1,0"},
		{"Europe/Berlin", -1, 9000, "-1,0 1,9000"},
		{"Europe/Berlin", 0, 9000, "0,0 1,9000"},
		{"Europe/Berlin", 1, 9000, "1,9000"},
		{"Europe/Berlin", 0, 0, "0,0"},
	}
	for _, tt := range tests {
		var got []string
		at := func(sec int) time.Time { return change.Add(time.Duration(sec) * time.Second) }
		for _, p := range pieces(sources.Span{From: at(tt.from), To: at(tt.to)}, location(tt.zone)) {
			got = append(got, fmt.Sprintf("%.0f,%.0f", p.From.Sub(change).Seconds(), p.To.Sub(change).Seconds()))
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s [%d, %d]: got %v, want %s", tt.zone, tt.from, tt.to, got, tt.want)
		}
	}
}
