package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"connector/schema"
)

// bars shows a bar for each stream below what is written to the screen.
type bars struct {
	verb      string
	screen    *console
	container *mpb.Progress

	mu     sync.Mutex // guards latest, which the container reads when it draws
	latest map[schema.Source]measured
	bars   map[schema.Source]*mpb.Bar
}

func newBars(screen *console, verb string) *bars {
	b := &bars{
		verb: verb, screen: screen, latest: map[schema.Source]measured{}, bars: map[schema.Source]*mpb.Bar{},
		container: mpb.New(mpb.WithOutput(screen.file), mpb.WithRefreshRate(measureEvery)),
	}
	screen.bars(b.container)
	return b
}

// show draws the streams that have work.
func (b *bars) show(list []measured) {
	for _, m := range list {
		if m.Total == 0 {
			continue
		}
		b.mu.Lock()
		b.latest[m.Source] = m
		b.mu.Unlock()
		bar := b.bars[m.Source]
		if bar == nil {
			bar = b.add(m.Source)
			b.bars[m.Source] = bar
		}
		bar.SetTotal(int64(m.Total), false)
		bar.SetCurrent(int64(m.Done))
	}
}

func (b *bars) add(from schema.Source) *mpb.Bar {
	text := func(format func(m measured) string) decor.Decorator {
		return decor.Any(func(decor.Statistics) string {
			b.mu.Lock()
			defer b.mu.Unlock()
			return format(b.latest[from])
		}, decor.WCSyncSpace)
	}
	return b.container.AddBar(0,
		mpb.PrependDecorators(decor.Name(b.verb+" "+from.Account+"/"+from.Stream, decor.WCSyncSpaceR)),
		mpb.AppendDecorators(
			text(func(m measured) string { return percent(int64(m.Done), int64(m.Total)) }),
			text(func(m measured) string { return fmt.Sprintf("%d rows", m.Rows) }),
			text(measured.paceText),
			text(measured.etaText),
		))
}

// paceText is empty for what moved too fast, or not at all, to be measured.
func (m measured) paceText() string {
	if m.rowsPerSecond == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f/s", m.rowsPerSecond)
}

func (m measured) etaText() string {
	switch {
	case m.finished():
		return "done"
	case m.Stopped:
		return "stopped"
	case m.eta < 0:
		return "ETA unknown"
	}
	return "ETA " + m.eta.Round(time.Second).String()
}

// end draws the bars once more and leaves them on the screen.
func (b *bars) end() {
	for _, bar := range b.bars {
		bar.Abort(false)
	}
	b.container.Wait()
	b.screen.bars(nil)
}
