package submail

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestLargePages checks that pages with too many bytes make the next ones ask for fewer rows, and good ones for more again.
func TestLargePages(t *testing.T) {
	row := `{"sendID":"1","send_date":"2015-01-19 15:21:27","message":"` + strings.Repeat("x", 1<<20) + `"}`
	var asked []string
	s := answers(t, func(c *Config) { c.Rows = 45 }, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.FormValue("rows"))
		n := 2
		if len(asked) < 5 {
			_, _ = fmt.Sscan(r.FormValue("rows"), &n)
		}
		fmt.Fprint(w, `{"status":"success","results":[`+strings.Repeat(row+",", n-2)+row+`]}`)
	})
	for i := range 11 {
		if _, _, err := read(t.Context(), s, seedSpan); (err == nil) != (i >= 2) {
			t.Errorf("scan %d: got %v", i, err)
		}
	}
	if want := []string{"45", "22", "11", "11", "11", "11", "11", "22", "22", "22", "44"}; !slices.Equal(asked, want) {
		t.Errorf("asked for %v rows, want %v", asked, want)
	}
}

// TestLargestPage has 10 rows, of which the API gives no fewer, with too many bytes.
func TestLargestPage(t *testing.T) {
	row := `{"sendID":"1","send_date":"2015-01-19 15:21:27","message":"` + strings.Repeat("x", 8<<20) + `"}`
	s := answers(t, func(c *Config) { c.Rows, c.MaxRowBytes = 10, 10<<20 }, text(`{"status":"success","results":[`+strings.Repeat(row+",", 8)+row+`]}`))
	if _, _, err := read(t.Context(), s, seedSpan); err == nil || !strings.Contains(err.Error(), "set OTP_MAX_ROW_BYTES lower") {
		t.Errorf("got %v, want the variable that helps", err)
	}
}

// TestEndlessPage has an answer whose rows never end: no more than was asked for may be kept.
func TestEndlessPage(t *testing.T) {
	s := answers(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		part := strings.Repeat("0,", 1000)
		_, err := fmt.Fprint(w, `{"status":"success","results":[`)
		for err == nil {
			_, err = fmt.Fprint(w, part)
		}
	})
	ended := make(chan error, 1)
	go func() {
		_, _, err := read(t.Context(), s, seedSpan)
		ended <- err
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, ErrRows) || !strings.Contains(err.Error(), "asked for 1000, got 1001") {
			t.Errorf("got %v, want ErrRows at row 1001", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("still reading")
	}
}
