package model

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"connector/sources"
)

// recital is a version on the wire.
type recital struct {
	row     *row
	version int
	raw     []byte
}

// dress gives the versions the wire forms of the history's API, and the records
// that the real source makes of them.
func (h *history) dress() {
	h.pair()
	h.pend()
	clear(h.world.byID)
	defer func() { h.form = 0 }()
	for h.form = range h.forms() {
		var all []recital
		for _, r := range h.world.rows {
			for i := range r.versions {
				all = append(all, recital{r, i, h.dialect.row(r, i, len(all))})
			}
		}
		records := h.read(all)
		if h.err == nil && len(records) < len(all) {
			h.violated(1, "of %d rows of a history %d can be read", len(all), len(records))
		}
		if h.err != nil {
			return
		}
		for n, v := range all {
			h.wear(v, records[n])
		}
	}
	for _, r := range h.world.rows {
		r.rankAlike()
	}
}

// wear gives a version the record of one more of its wire forms. What can be
// read is the same record in all.
func (h *history) wear(w recital, rec sources.Record) {
	v := &w.row.versions[w.version]
	if h.form == 0 {
		v.record = rec
	} else if r := v.record; (rec.Fault == nil) != (r.Fault == nil) || r.Fault == nil &&
		(rec.ID != r.ID || rec.Print != r.Print || rec.Rank != r.Rank || rec.Terminal != r.Terminal || !rec.Created.Equal(r.Created)) {
		h.violated(1, "version %d of %s is %+v in one form and %+v in another", w.version, w.row.id, r, rec)
	}
	v.records = append(v.records, rec)
	key := [2]string{v.record.ID, v.record.Print}
	h.raw[key] = append(h.raw[key], string(w.raw))
	h.world.byID[rec.ID] = w.row
}

// pair gives a row that cannot be read two versions at most, one of them good:
// without a rank only its print tells the version that cannot be read from
// news, and the ledger knows the prints of two. In two forms it has as many.
func (h *history) pair() {
	for _, r := range h.world.rows {
		if !slices.ContainsFunc(r.versions, func(v version) bool { return v.poison == undecodable }) {
			continue
		}
		r.versions = r.versions[:min(3-h.forms(), len(r.versions))]
		for i := range r.versions {
			r.versions[i].poison = healthy
		}
		r.versions[r.order>>3%uint64(len(r.versions))].poison = undecodable
	}
}

// rankAlike gives versions without a rank that of a neighbour, from which only
// its print tells it.
func (r *row) rankAlike() {
	for i := range r.versions {
		v := &r.versions[i]
		v.rank = v.record.Rank
		if v.rank != sources.UnknownRank {
			continue
		}
		for _, o := range r.versions {
			if o.record.Rank != sources.UnknownRank {
				v.rank = o.record.Rank
			}
		}
	}
}

// read returns what the real source makes of each row.
func (h *history) read(all []recital) map[int]sources.Record {
	records := map[int]sources.Record{}
	for len(all) > 0 {
		n := min(len(all), defaultPage-1) // a page of 50 is not a whole answer
		h.readSome(all[:n], records)
		all = all[n:]
	}
	return records
}

func (h *history) readSome(part []recital, records map[int]sources.Record) {
	w := sources.Span{From: part[0].row.created, To: part[0].row.created}
	for _, v := range part {
		if v.row.created.Before(w.From) {
			w.From = v.row.created
		}
		if v.row.created.After(w.To) {
			w.To = v.row.created
		}
	}
	src := h.dialect.connect(transport(func(req *http.Request) (*http.Response, error) {
		a := h.dialect.recite(req, part)
		a.head(h.began)
		return a.response(req, nil), nil
	}))
	for chunk, err := range src.Scan(context.Background(), h.dialect.stream(), w) {
		if _, gap := errors.AsType[*sources.GapError](err); err != nil && !gap {
			h.violated(1, "the rows of a history cannot be read: %v", err)
			return
		}
		for _, rec := range chunk.Records {
			records[number(rec.Raw)] = rec
		}
	}
}

// transport is a function that answers requests.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// numbered begins a row; its field n tells it from all other versions.
func numbered(n int) []byte { return fmt.Appendf(nil, `{"n":%d`, n) }

// number reads what numbered wrote.
func number(raw []byte) int {
	raw = bytes.TrimPrefix(bytes.TrimPrefix(raw, []byte("<result>")), []byte("<item>"))
	_, rest, _ := bytes.Cut(raw, []byte("n"))
	rest = bytes.TrimLeft(rest, `":>`)
	n, err := strconv.Atoi(string(rest[:bytes.IndexAny(rest, `",<`)]))
	if err != nil {
		panic(fmt.Sprintf("a row without number: %s", raw))
	}
	return n
}
