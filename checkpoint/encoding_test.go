package checkpoint

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"connector/internal/fault"

	"connector/sources"
)

const key = "hq/flow/k"

func sampleDelta() delta {
	k := bucketKey{block: 490896 * 12}
	return delta{number: 77, dropped: []bucketKey{{block: 490000}, {block: 490000, undated: true}}, puts: []put{{
		bucket: k, reach: reach{from: 490890, until: 490899, elsewhere: []hour{490897, 490899}},
		tally: tally{5, 1 << 63},
		entries: map[uint64]entry{
			7:       {print: 1<<48 - 1, prev: 3, rank: 4, revision: maxRevision, state: terminal},
			8:       {state: missing, named: true, dead: true},
			9:       {state: left, named: true},
			1 << 63: {print: 1, rank: 1<<32 - 1, wasOpen: true, owing: true},
		},
		names: map[uint64]name{8: {id: "a", created: 299 * time.Second, missing: 1767225600}, 9: {id: strings.Repeat("b", maxName)}},
	}, {bucket: bucketKey{block: -5, undated: true}, entries: map[uint64]entry{}}}}
}

func sampleIndex() index {
	k := bucketKey{block: 490896 * 12}
	return index{number: 9, buckets: map[bucketKey]*bucket{k: {
		reach: reach{from: 490896, until: 490896}, tally: tally{6, 77}, born: 3, parts: []part{
			{key: "p/" + pageName(k, 0), count: 5, open: 2, folded: 9},
			{start: 1 << 63, key: "p/" + pageName(k, 1<<63)},
		},
	}}, sealed: map[day]Day{20000: {Start: day(20000).start(), Records: 3, Open: 1, Digest: 9}}}
}

func samplePage() content {
	return content{}.merge(
		map[uint64]entry{1: {}, 2: {state: terminal}, 3: {state: missing, named: true}, 4: {named: true}},
		map[uint64]name{3: {id: "three", created: time.Second, missing: 1767225600}, 4: {id: "four"}})
}

func sampleHead() head {
	start := time.Unix(1_700_000_000, 0).UTC()
	after := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	return head{
		start: start, number: 5, folded: 2, indexed: 4, latest: after(70), owner: 1 << 60, config: 3, saved: []time.Time{start, after(60)},
		ranges: coverage{
			{sources.Span{From: after(-20), To: after(-10)}, Backfill},
			{sources.Span{From: start, To: after(60)}, Sealed},
			{sources.Span{From: after(61), To: after(61)}, Gap},
			{sources.Span{From: after(90), To: after(100)}, Young},
		},
	}
}

func FuzzDecodeHead(f *testing.F) {
	b := encodeHead(key, sampleHead())
	f.Add(b[1 : len(b)-sumSize])
	f.Fuzz(func(t *testing.T, body []byte) {
		h, err := decodeHead(key, seal(key, append([]byte{encodingVersion}, body...)), time.Second)
		if err != nil {
			return
		}
		if got, err := decodeHead(key, encodeHead(key, h), time.Second); err != nil || !got.equal(h) {
			t.Errorf("got %v, %v after a round trip, want %v", got, err, h)
		}
	})
}

func FuzzDecodeDelta(f *testing.F) {
	b := encodeDelta(key, sampleDelta())
	f.Add(b[1 : len(b)-sumSize])
	f.Add([]byte{1, 0, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := decodeDelta(key, seal(key, append([]byte{encodingVersion}, body...)))
		if err != nil {
			return
		}
		if got, err := decodeDelta(key, encodeDelta(key, d)); err != nil || !reflect.DeepEqual(got, d) {
			t.Errorf("got %v, %v after a round trip, want %v", got, err, d)
		}
	})
}

func FuzzDecodeIndex(f *testing.F) {
	b := encodeIndex("p/"+indexName, sampleIndex())
	f.Add(b[1 : len(b)-sumSize])
	f.Add([]byte{1, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		x, err := decodeIndex("p/", seal("p/"+indexName, append([]byte{encodingVersion}, body...)))
		if err != nil {
			return
		}
		l := Ledger{buckets: x.buckets}
		l.Open(time.Unix(0, 0), time.Unix(1<<31, 0))
		if got, err := decodeIndex("p/", encodeIndex("p/"+indexName, x)); err != nil || !reflect.DeepEqual(got, x) {
			t.Errorf("got %v, %v after a round trip, want %v", got, err, x)
		}
	})
}

func listed(c content) (all []held) {
	for _, h := range c.all() {
		all = append(all, h)
	}
	return all
}

// FuzzDecodeSecondEncoding reads values of every kind as encoding 2 wrote them.
func FuzzDecodeSecondEncoding(f *testing.F) {
	f.Add(append(make([]byte, 8), appendEntry(nil, 1, entry{})...))
	f.Add([]byte{1, 0, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		value := func(key string) []byte { return seal(key, append([]byte{v2Encoding}, body...)) }
		if p, err := decodePage(key, value(key)); err == nil {
			if again, err := decodePage(key, p); err != nil || !reflect.DeepEqual(again, p) {
				t.Errorf("page: got %v, %v, want %v", again, err, p)
			}
		}
		if d, err := decodeDelta(key, value(key)); err == nil {
			if _, err := decodeDelta(key, encodeDelta(key, d)); err != nil {
				t.Errorf("delta %v: %v", d, err)
			}
		}
		if x, err := decodeIndex("p/", value("p/"+indexName)); err == nil {
			if _, err := decodeIndex("p/", encodeIndex("p/"+indexName, x)); err != nil {
				t.Errorf("index %v: %v", x, err)
			}
		}
	})
}

func FuzzDecodePage(f *testing.F) {
	b := newPage(key, 7, samplePage())
	f.Add([]byte(b[1 : len(b)-sumSize]))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := decodePage(key, seal(key, append([]byte{encodingVersion}, body...)))
		if err != nil {
			return
		}
		for rest := p.entries(); len(rest) > 0; rest = rest[entrySize:] {
			id, want := entryAt(rest)
			if got, ok := find(p.entries(), id); !ok || got != want {
				t.Errorf("entry %x: got %v, %v, want %v", id, got, ok, want)
			}
		}
		whole := p.content()
		low, high := whole.split(len(p.entries()) / entrySize / 2 * entrySize)
		if !low.sound() || !high.sound() || !reflect.DeepEqual(append(listed(low), listed(high)...), listed(whole)) {
			t.Errorf("got %v and %v of %v", listed(low), listed(high), listed(whole))
		}
	})
}

func TestRoundTrip(t *testing.T) {
	if got, err := decodeHead(key, encodeHead(key, sampleHead()), time.Second); err != nil || !got.equal(sampleHead()) {
		t.Errorf("head: got %+v, %v, want %+v", got, err, sampleHead())
	}
	d := sampleDelta()
	if got, err := decodeDelta(key, encodeDelta(key, d)); err != nil || !reflect.DeepEqual(got, d) {
		t.Errorf("delta: got %+v, %v, want %+v", got, err, d)
	}
	got, err := decodeIndex("p/", encodeIndex("p/"+indexName, sampleIndex()))
	if err != nil || !reflect.DeepEqual(got, sampleIndex()) {
		t.Errorf("index: got %+v, %v, want %+v", got, err, sampleIndex())
	}
}

// TestDamageIsRefused flips every bit of every kind of value, and reads it
// under another key.
func TestDamageIsRefused(t *testing.T) {
	decode := map[string]func(key string, b []byte) error{
		"head":  func(key string, b []byte) error { _, err := decodeHead(key, b, time.Second); return err },
		"delta": func(key string, b []byte) error { _, err := decodeDelta(key, b); return err },
		"page":  func(key string, b []byte) error { _, err := decodePage(key, b); return err },
		"index": func(key string, b []byte) error {
			_, err := decodeIndex(strings.TrimSuffix(key, indexName), b)
			return err
		},
	}
	for name, value := range map[string][]byte{
		"head":  encodeHead("p/i", sampleHead()),
		"delta": encodeDelta("p/i", sampleDelta()),
		"page":  newPage("p/i", 7, samplePage()),
		"index": encodeIndex("p/i", sampleIndex()),
	} {
		if err := decode[name]("p/i", value); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := decode[name]("q/i", value); err == nil {
			t.Errorf("%s under another key: got no error", name)
		}
		for bit := range len(value) * 8 {
			bad := slices.Clone(value)
			bad[bit/8] ^= 1 << (bit % 8)
			if err := decode[name]("p/i", bad); err == nil {
				t.Errorf("%s, bit %d: got no error", name, bit)
			}
		}
		for n := range value {
			if err := decode[name]("p/i", value[:n]); err == nil {
				t.Errorf("%s, the first %d bytes: got no error", name, n)
			}
		}
	}
}

func TestUnsortedPageIsRefused(t *testing.T) {
	for _, ids := range [][]uint64{{2, 1}, {1, 1}} {
		b := appendEntry(appendEntry(nil, ids[0], entry{}), ids[1], entry{})
		if _, err := decodePage(key, newPage(key, 7, content{entries: b})); err == nil {
			t.Errorf("ids %v: got no error", ids)
		}
	}
}

func TestFoldRankKeepsOrder(t *testing.T) {
	const day, year = int64(24 * 3600 * 1000), int64(365 * 24 * 3600 * 1000)
	h := block(490896 * 12)
	at := h.start().UnixMilli()
	ranks := []int64{0, 1, 2, firstTime - 1, at + 1, at + 2, at + 12*day, at + 13*day, at + 13*day + 1000, at + year, at + 34*year}
	for i, r := range ranks[1:] {
		if foldRank(ranks[i], h) >= foldRank(r, h) {
			t.Errorf("got %d for rank %d, want more than %d, of rank %d", foldRank(r, h), r, foldRank(ranks[i], h), ranks[i])
		}
	}
	if got, want := foldRank(at-day, h), foldRank(firstTime, h); got != want {
		t.Errorf("before the hour: got %d, want %d", got, want)
	}
	for rank, want := range map[int64]bool{-1: false, 0: true, firstTime: true, lastTime: true, lastTime + 1: false} {
		if err := CheckRank(rank); (err == nil) != want {
			t.Errorf("rank %d: got %v, want sound %v", rank, err, want)
		}
	}
}

func TestDamagedIsFatal(t *testing.T) {
	if err := damaged("k", errMissing); !fault.IsFatal(err) || !strings.Contains(err.Error(), "restore the checkpoint from a backup") {
		t.Errorf("got %v, want a fatal error with a remedy", err)
	}
}

// TestThirdEncoding reads values whose entries have 12 bits of revision and no word of dead versions.
func TestThirdEncoding(t *testing.T) {
	v3 := func(id uint64, revision uint16) []byte {
		b := appendEntry(nil, id, entry{print: 5, rank: 1})
		binary.BigEndian.PutUint16(b[22:], revision|uint16(terminal)<<stateShift)
		return b
	}
	third := func(key string, value []byte) []byte {
		b := bytes.Clone(value[:len(value)-sumSize])
		b[0] = v3Encoding
		return seal(key, b)
	}
	want := map[uint64]entry{
		1: {print: 5, rank: 1, state: terminal, dead: true},
		2: {print: 5, rank: 1, state: terminal, revision: 7},
		3: {print: 5, rank: 1, state: terminal, revision: maxRevision},
	}
	entries := slices.Concat(v3(1, 0), v3(2, 7), v3(3, 3072))

	p, err := decodePage(key, third(key, newPage(key, 9, content{entries: entries})))
	if err != nil || p.folded() != 9 || p.count() != 3 {
		t.Fatalf("page: got %v, %v", p, err)
	}
	for id, h := range p.content().all() {
		if h.entry != want[id] {
			t.Errorf("page: got %+v, want %+v", h.entry, want[id])
		}
	}

	same := map[uint64]entry{}
	for rest := entries; len(rest) > 0; rest = rest[entrySize:] {
		id, e := entryAt(rest)
		same[id] = e
	}
	d, err := decodeDelta(key, third(key, encodeDelta(key, delta{number: 1, puts: []put{{bucket: bucketKey{block: 1}, entries: same}}})))
	if err != nil || !reflect.DeepEqual(d.puts[0].entries, want) {
		t.Errorf("delta: got %+v, %v, want %+v", d, err, want)
	}

	l := New("hq", sources.Stream{Name: "flow", Tick: time.Second}, time.Unix(0, 0), nil)
	b := l.Begin()
	b.records[hash("a")] = slot{at: bucketKey{block: 1}, entry: same[3], known: true}
	b.reached[bucketKey{block: 1}] = reach{}
	if m, err := decodeMark(third(markName, b.Mark("a"))); err != nil || m.entry != want[3] {
		t.Errorf("mark: got %+v, %v, want %+v", m, err, want[3])
	}
}

// TestSecondEncodingOfRevisions reads an entry whose revision has the bits of today's flags.
func TestSecondEncodingOfRevisions(t *testing.T) {
	for given, want := range map[uint16]entry{3072: {revision: maxRevision}, 0: {dead: true}} {
		b := appendEntry(nil, 1, entry{})
		binary.BigEndian.PutUint16(b[22:], given)
		if _, got := entryOfV2(b); got != want {
			t.Errorf("revision %d: got %+v, want %+v", given, got, want)
		}
	}
}
