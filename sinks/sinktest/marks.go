package sinktest

import (
	"context"
	"fmt"
	"time"

	"connector/checkpoint"
	"connector/schema"
	"connector/sources"
)

// marker makes the marks of messages, by a ledger that is never committed.
type marker struct {
	batch *checkpoint.Batch
	made  int
}

func newMarker() *marker {
	pages := checkpoint.NewPages(func(context.Context, string) ([]byte, error) { return nil, nil }, checkpoint.DefaultPageBytes)
	stream := sources.Stream{Name: "orders", Tick: time.Second}
	return &marker{batch: checkpoint.New("kit", stream, created, pages).Begin()}
}

// mark gives each message a mark of its own, in order.
func (k *marker) mark(list []schema.Message) {
	for i := range list {
		k.made++
		r := sources.Record{ID: fmt.Sprint("record ", k.made), Created: created, Print: "print"}
		// Only a page could fail to be read, and there is none.
		_, _ = k.batch.Admit(context.Background(), r, sources.Span{From: created, To: created})
		list[i].Mark = k.batch.Mark(r.ID)
	}
}
