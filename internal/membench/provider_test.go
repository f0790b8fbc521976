package membench

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// history is the log of a provider. Its rows are a function of their index:
// any number of them needs no memory.
type history struct {
	rows     int
	first    time.Time     // creation of the first row
	step     time.Duration // from one creation to the next
	filling  int           // bytes of the field that holds any text
	terminal bool
	reads    int // how often a process reads it
}

// span returns the indexes [from, to) of the rows created in the closed
// interval of times, on the API's tick.
func (h history) span(from, to time.Time, tick time.Duration) (lo, hi int) {
	return h.index(from), h.index(to.Add(tick))
}

func (h history) index(t time.Time) int {
	if h.rows == 0 || !t.After(h.first) {
		return 0
	}
	return min(h.rows, int((t.Sub(h.first)+h.step-1)/h.step))
}

func (h history) created(i int) time.Time { return h.first.Add(time.Duration(i) * h.step) }

// provider simulates an API.
type provider struct {
	name     string
	answer   func(h history, w io.Writer, r *http.Request) (rows int)
	settings []string // variables of the connector, beside the address
}

// simulator is a provider that serves a history.
type simulator struct {
	url    string
	served atomic.Int64 // rows
	asked  atomic.Int64 // Unix nanoseconds of the first request
}

func (p provider) serve(b *testing.B, h history) *simulator {
	b.Helper()
	s := &simulator{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.CompareAndSwap(0, time.Now().UnixNano())
		out := bufio.NewWriterSize(w, 32<<10)
		s.served.Add(int64(p.answer(h, out, r)))
		_ = out.Flush()
	}))
	b.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// items writes the rows [lo, hi) between commas, until the reader is gone, and
// returns their number. Before the filling of a row stands what start appends.
func (h history) items(w io.Writer, lo, hi int, start func(to []byte, i int) []byte) (rows int) {
	var row []byte
	for i := lo; i < hi; i++ {
		row = row[:0]
		if i > lo {
			row = append(row, ',')
		}
		if _, err := w.Write(start(row, i)); err != nil {
			return i - lo
		}
		fill(w, h.filling)
		_, _ = io.WriteString(w, `"}`)
	}
	return hi - lo
}

// fill writes n bytes of text.
func fill(w io.Writer, n int) {
	const text = "0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 出站消息失败 重试 "
	for ; n > 0; n -= len(text) {
		if _, err := io.WriteString(w, text); err != nil {
			return
		}
	}
}

var ekuaibao = provider{
	name: "ekuaibao",
	answer: func(h history, w io.Writer, r *http.Request) int {
		millis := func(name string) time.Time { return time.UnixMilli(int64(number(r, name))) }
		state := "FAILURE"
		if h.terminal {
			state = "SUCCESS"
		}
		lo, hi := h.span(millis("startDate"), millis("endDate"), time.Millisecond)
		_, _ = io.WriteString(w, `{"items":[`)
		rows := h.items(w, lo, hi, func(to []byte, i int) []byte {
			to = append(to, `{"messageType":"flow","corporationId":"Uq08cj71400000","version":1,"active":true,"state":"`...)
			to = append(append(to, state...), `","id":"HMo`...)
			to = append(strconv.AppendInt(to, int64(1e10+i), 10), `","createTime":`...)
			at := h.created(i).UnixMilli()
			to = append(strconv.AppendInt(to, at, 10), `,"updateTime":`...)
			return append(strconv.AppendInt(to, at, 10), `,"request":"`...)
		})
		_, _ = io.WriteString(w, "]}")
		return rows
	},
	settings: []string{
		"CONNECTOR_SOURCES=hq=ekuaibao", "HQ_ACCESS_TOKEN=any", "HQ_MESSAGE_TYPES=flow", "HQ_RATE=1000", "HQ_LAG=1s", "HQ_LATENESS=12h",
	},
}

var submail = provider{
	name: "submail",
	answer: func(h history, w io.Writer, r *http.Request) int {
		if r.Method == http.MethodGet {
			_, _ = fmt.Fprintf(w, `{"timestamp":%d}`, time.Now().Unix())
			return 0
		}
		second := func(name string) time.Time { return time.Unix(int64(number(r, name)), 0) }
		status := "sending"
		if h.terminal {
			status = "delivered"
		}
		from, hi := h.span(second("start_date"), second("end_date"), time.Second)
		lo := min(from+number(r, "offset")*number(r, "rows"), hi)
		to := min(lo+number(r, "rows"), hi)
		_, _ = fmt.Fprintf(w, `{"status":"success","appid":"1","count":%d,"start_row":%d,"end_row":%d,"results":[`, hi-from, lo-from+1, to-from)
		rows := h.items(w, lo, to, func(to []byte, i int) []byte {
			to = append(to, `{"project":"Gy1CR1","recipient":"13800000000","credit":1,"result_status":"`...)
			to = append(append(to, status...), `","sendID":"7ac69ff98e48c9b3b0f49a`...)
			to = append(strconv.AppendInt(to, int64(1e9+i), 10), `","send_date":"`...)
			return append(h.created(i).UTC().AppendFormat(to, time.DateTime), `","message":"`...)
		})
		_, _ = io.WriteString(w, "]}")
		return rows
	},
	settings: []string{
		"CONNECTOR_SOURCES=hq=submail", "HQ_APP_ID=1", "HQ_APP_KEY=any", "HQ_SIGN_TYPE=normal", "HQ_TIME_ZONE=UTC",
		"HQ_MIN_INTERVAL=1ms", "HQ_LAG=1s", "HQ_LATENESS=12h",
	},
}

// number returns a parameter of a request.
func number(r *http.Request, name string) int {
	n, _ := strconv.Atoi(r.FormValue(name))
	return n
}
