package sinktest

import (
	"context"
	"fmt"
	"time"

	"connector/checkpoint"
	"connector/schema"
	"connector/sources"
)

// newMarker returns what gives each message a mark of its own, in order. The
// marks are made by a ledger that is never committed.
func newMarker(ctx context.Context) func([]schema.Message) {
	pages := checkpoint.NewPages(func(context.Context, string) ([]byte, error) { return nil, nil }, checkpoint.DefaultPageBytes)
	batch := checkpoint.New("kit", sources.Stream{Name: "orders", Tick: time.Second}, created, pages).Begin()
	made := 0
	return func(list []schema.Message) {
		for i := range list {
			made++
			r := sources.Record{ID: fmt.Sprint("record ", made), Created: created, Print: "print"}
			// Only a page could fail to be read, and there is none.
			_, _ = batch.Admit(ctx, r, sources.Span{From: created, To: created})
			list[i].Mark = batch.Mark(r.ID)
		}
	}
}
