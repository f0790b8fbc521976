package sources_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"connector/checkpoint"
	"connector/internal/apisim"
	"connector/internal/config"
	"connector/internal/secret"
	"connector/sources"
	"connector/sources/ekuaibao"
	"connector/sources/httpx"
	"connector/sources/submail"
)

// benchRows is the number of rows a benchmark reads again and again.
const benchRows = 20_000

var benchStart = time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)

// BenchmarkScan is the cost of a row on its way from the answer to the
// ledger: request, decoding, checks, record, scan, admission and the commit's
// state, without the store's disk. Rows are known (the difference is empty) or
// new. Beside it stands what plain code needs in the same run for the same
// answers: request, and decoding of three fields of a row.
func BenchmarkScan(b *testing.B) {
	for _, c := range []struct {
		name string
		open func(testing.TB) *reading
	}{
		{"ekuaibao", openEkuaibao},
		{"submail-json", func(tb testing.TB) *reading { return openSubmail(tb, submail.FormatJSON) }},
		{"submail-xml", func(tb testing.TB) *reading { return openSubmail(tb, submail.FormatXML) }},
	} {
		b.Run(c.name+"/known", func(b *testing.B) {
			r := c.open(b)
			known := newLedger(r.stream)
			r.scan(b, known)
			r.compare(b, func() int { return r.scan(b, known) })
		})
		b.Run(c.name+"/new", func(b *testing.B) {
			r := c.open(b)
			var last *ledger
			r.compare(b, func() int {
				last = newLedger(r.stream)
				return r.scan(b, last)
			})
			b.ReportMetric(float64(last.stored())/benchRows, "storedB/row")
		})
	}
}

// reading is a source, the window it reads, and the same without it.
type reading struct {
	source  sources.Source
	stream  sources.Stream
	window  sources.Span
	answers *prepared
	count   func(io.Reader) (int, error) // rows of an answer, decoded by plain code
}

func openEkuaibao(tb testing.TB) *reading {
	const every = 150 * time.Millisecond
	at := &prepared{answers: map[string]*httptest.ResponseRecorder{}}
	at.handler = apisim.NewEkuaibao(apisim.EkuaibaoConfig{
		AccessToken: "token", NoLog: true, Clock: func() time.Time { return benchStart.Add(2 * time.Hour) },
		Population: apisim.Population{Seed: 1, Start: benchStart, Every: every, Limit: benchRows + 100},
	})
	cfg := ekuaibao.Config{
		BaseURL: "http://api", AccessToken: secret.New("token"), MessageTypes: ekuaibao.MessageTypes{"flow"}, Rate: 1e6,
		Common: config.Common{MaxRowBytes: 4 * config.MiB},
	}
	s, err := ekuaibao.New("hq", cfg, httpx.Options{Transport: at})
	if err != nil {
		tb.Fatal(err)
	}
	r := &reading{source: s, stream: s.Streams()[0], answers: at, count: countJSON[struct {
		ID         string `json:"id"`
		CreateTime int64  `json:"createTime"`
		Version    int64  `json:"version"`
	}]}
	// A larger answer, which is proven by its parts: those of the benchmark
	// are smaller, and proven without further requests.
	r.window = sources.Span{From: benchStart, To: benchStart.Add((benchRows + 100) * every)}
	r.scan(tb, newLedger(r.stream))
	r.window.To = benchStart.Add(benchRows * every)
	r.scan(tb, newLedger(r.stream))
	return r
}

func openSubmail(tb testing.TB, format submail.Format) *reading {
	at := &prepared{answers: map[string]*httptest.ResponseRecorder{}}
	at.handler = apisim.NewSubmail(apisim.SubmailConfig{
		NoLog: true, Clock: func() time.Time { return benchStart.Add(24 * time.Hour) },
		Population: apisim.Population{Seed: 1, Start: benchStart, Every: time.Second, Limit: benchRows},
	})
	var zone config.TimeZone
	if err := zone.Decode("Asia/Shanghai"); err != nil {
		tb.Fatal(err)
	}
	cfg := submail.Config{
		BaseURL: "http://api", AppID: apisim.DefaultSubmailID, AppKey: secret.New(apisim.DefaultSubmailKey), SignType: submail.SignNormal,
		Format: format, ContentType: submail.ContentForm, Rows: 1000, MinInterval: time.Nanosecond, TimeZone: zone,
		Common: config.Common{MaxRowBytes: 4 * config.MiB},
	}
	s, err := submail.New("otp", cfg, httpx.Options{Transport: at})
	if err != nil {
		tb.Fatal(err)
	}
	r := &reading{
		source: s, stream: s.Streams()[0], answers: at, count: countXML,
		window: sources.Span{From: benchStart, To: benchStart.Add(benchRows * time.Second)},
	}
	if format == submail.FormatJSON {
		r.count = countJSON[struct {
			SendID       string `json:"sendID"`
			ResultStatus string `json:"result_status"`
			SendDate     string `json:"send_date"`
		}]
	}
	r.scan(tb, newLedger(r.stream))
	return r
}

// scan reads the window into the ledger and returns the number of rows read.
func (r *reading) scan(tb testing.TB, l *ledger) (rows int) {
	r.answers.asked = nil
	for chunk, err := range r.source.Scan(tb.Context(), r.stream, r.window) {
		if err == nil {
			err = l.take(tb.Context(), chunk, r.window)
		}
		if err != nil {
			tb.Fatal(err)
		}
		rows += len(chunk.Records)
	}
	return rows
}

// plain sends the requests of the latest scan and decodes the answers.
func (r *reading) plain(tb testing.TB) (rows int) {
	client := http.Client{Transport: r.answers}
	for _, ask := range r.answers.asked {
		req, err := http.NewRequestWithContext(tb.Context(), ask.method, ask.url, strings.NewReader(ask.body))
		if err != nil {
			tb.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			tb.Fatal(err)
		}
		n, err := r.count(resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			tb.Fatal(err)
		}
		rows += n
	}
	return rows
}

// compare measures read and plain in turn.
func (r *reading) compare(b *testing.B, read func() int) {
	var full, plain cost
	for b.Loop() {
		full.add(read)
		asked := r.answers.asked
		plain.add(func() int { return r.plain(b) })
		r.answers.asked = asked
	}
	if full.rows != plain.rows || full.rows < b.N*benchRows*99/100 {
		b.Fatalf("got %d rows, plain code %d", full.rows, plain.rows)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(full.rows)/full.took.Seconds(), "rows/s")
	b.ReportMetric(full.per(float64(full.took)), "ns/row")
	b.ReportMetric(full.per(float64(full.bytes)), "B/row")
	b.ReportMetric(full.per(float64(full.allocs)), "allocs/row")
	b.ReportMetric(plain.per(float64(plain.took)), "plain-ns/row")
	b.ReportMetric(plain.per(float64(plain.bytes)), "plain-B/row")
	b.ReportMetric(full.per(float64(full.took))/plain.per(float64(plain.took)), "x-plain")
}

// cost is what reading rows took.
type cost struct {
	rows          int
	took          time.Duration
	bytes, allocs uint64
}

func (c *cost) add(read func() int) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	c.rows += read()
	c.took += time.Since(began)
	runtime.ReadMemStats(&after)
	c.bytes += after.TotalAlloc - before.TotalAlloc
	c.allocs += after.Mallocs - before.Mallocs
}

func (c *cost) per(total float64) float64 { return total / float64(c.rows) }

// ledger is a ledger over a store in memory, whose rows stay young.
type ledger struct {
	*checkpoint.Ledger
	state map[string][]byte
}

func newLedger(s sources.Stream) *ledger {
	l := &ledger{state: map[string][]byte{}}
	get := func(_ context.Context, key string) ([]byte, error) { return l.state[key], nil }
	l.Ledger = checkpoint.New("hq", s, benchStart, checkpoint.NewPages(get, checkpoint.DefaultPageBytes))
	return l
}

// take admits the records of a chunk and commits what changed.
func (l *ledger) take(ctx context.Context, c sources.Chunk, w sources.Span) error {
	batch := l.Begin()
	if err := batch.Read(ctx, c.Records, w); err != nil {
		return err
	}
	for _, r := range c.Records {
		if _, err := batch.Admit(ctx, r, w); err != nil {
			return err
		}
	}
	batch.Cover(c.Proven, w.To, 24*time.Hour)
	if batch.Empty() {
		return nil
	}
	changed, err := batch.Entries(ctx)
	for _, e := range changed {
		l.state[e.Key] = e.Value
	}
	batch.Apply()
	return err
}

// stored returns the bytes of the state.
func (l *ledger) stored() (n int) {
	for _, v := range l.state {
		n += len(v)
	}
	return n
}

// prepared answers a request that it has seen before with the same bytes,
// from memory.
type prepared struct {
	handler http.Handler
	answers map[string]*httptest.ResponseRecorder
	asked   []ask
}

type ask struct{ method, url, body string }

func (p *prepared) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
	}
	a := ask{req.Method, req.URL.String(), string(body)}
	p.asked = append(p.asked, a)
	answer := p.answers[a.url+a.body]
	if answer == nil {
		req.Body = io.NopCloser(bytes.NewReader(body))
		answer = httptest.NewRecorder()
		p.handler.ServeHTTP(answer, req)
		p.answers[a.url+a.body] = answer
	}
	return &http.Response{
		StatusCode: answer.Code, Header: answer.Header(), Body: io.NopCloser(bytes.NewReader(answer.Body.Bytes())), ContentLength: -1, Request: req,
	}, nil
}

// countJSON decodes the rows of an answer one by one, as fast as the JSON
// library of this program can.
func countJSON[row any](r io.Reader) (rows int, err error) {
	dec := jsontext.NewDecoder(r, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for dec.PeekKind() != jsontext.KindBeginArray {
		if _, err := dec.ReadToken(); err != nil {
			return 0, err
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return 0, err
	}
	for ; dec.PeekKind() != jsontext.KindEndArray; rows++ {
		var v row
		if err := json.UnmarshalDecode(dec, &v); err != nil {
			return rows, err
		}
	}
	_, err = io.Copy(io.Discard, r)
	return rows, err
}

// countXML decodes the rows of an answer by the tokens of encoding/xml, which
// takes a fraction of the time of its Unmarshal.
func countXML(r io.Reader) (rows int, err error) {
	var row struct{ sendID, status, date string }
	var field *string
	dec := xml.NewDecoder(r)
	for {
		t, err := dec.RawToken()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return rows, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			switch t.Name.Local {
			case "sendID":
				field = &row.sendID
			case "result_status":
				field = &row.status
			case "send_date":
				field = &row.date
			}
		case xml.CharData:
			if field != nil {
				*field = string(t)
			}
		case xml.EndElement:
			field = nil
			if t.Name.Local == "result" {
				rows++
			}
		}
	}
}
