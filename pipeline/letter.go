package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
	"unicode/utf8"

	"connector/internal/fault"
	"connector/internal/privacy"
	"connector/schema"
	"connector/sources"
)

// bury makes a dead letter of the latest version of a record.
func (b *batch) bury(rec sources.Record, reason error) {
	b.ledger.Dead(rec)
	b.letter(rec, reason, "", b.mark(rec))
}

// letter adds a dead letter; replay names the one that publishes it again, and
// mark says what the state makes of it.
func (b *batch) letter(rec sources.Record, reason error, replay string, mark []byte) {
	class, ok := fault.Class(reason)
	if !ok {
		class = "normalize"
	}
	d := schema.DeadLetter{
		SchemaVersion: schema.Version, Source: b.runner.from, RecordID: b.runner.shortID(rec.ID), Class: class, Reason: cut(b.runner.account.Privacy.Reason(reason), maxReason),
		CreatedAt: rec.Created.UTC(), Position: b.position(rec), ObservedAt: time.Now().UTC(), Replay: replay,
	}
	b.runner.account.Privacy.DeadLetter(&d, rec, b.runner.stream.Fields)
	m, err := d.Message(b.runner.format)
	if err == nil {
		err = b.runner.commits.fits(m)
	}
	if err != nil {
		m = bare(d, b.runner.format)
	}
	m.Mark = mark
	b.dead = append(b.dead, m)
	b.buried = append(b.buried, burial{record: d.RecordID, class: class, reason: d.Reason})
}

// burial is what is told of a dead letter.
type burial struct{ record, class, reason string }

// tell counts the dead letters, which are durable now, and logs one of each class:
// there may be one for each row.
func (b *batch) tell() {
	count := map[string]int{}
	for _, d := range b.buried {
		count[d.class]++
		b.runner.metrics.dead.WithLabelValues(d.class).Inc()
	}
	for _, d := range b.buried {
		n := count[d.class]
		if n == 0 {
			continue
		}
		args := []any{"record", d.record, "class", d.class, "reason", d.reason}
		if n > 1 {
			args = append(args, "others", n-1)
		}
		b.runner.log.Warn("row became a dead letter", args...)
		count[d.class] = 0
	}
}

// position returns where reading again finds a record: the window, which
// requests exceed by a tick.
func (b *batch) position(rec sources.Record) schema.Position {
	at, tick := rec.Created, b.runner.stream.Tick
	p := schema.Position{From: b.window.From.UTC(), To: b.window.To.UTC()}
	switch {
	case !at.Before(p.From.Add(-tick)) && at.Before(p.From):
		p.From = p.From.Add(-tick)
	case !at.After(p.To.Add(tick)) && at.After(p.To):
		p.To = p.To.Add(tick)
	}
	return p
}

// What a dead letter says of its row is bounded, so that every sink takes it.
const (
	maxID     = 512  // bytes
	maxReason = 1000 // bytes
)

// shortID returns id, or the digest of one too long for headers and keys.
func (r *runner) shortID(id string) string {
	if len(id) <= maxID {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return privacy.Hashed + r.account.Privacy.Digest(hex.EncodeToString(sum[:]))
}

// cut shortens a text to n bytes at most, at a whole rune.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// bare is the dead letter without the row, which some sink could not take;
// size and digest remain.
func bare(d schema.DeadLetter, f schema.Format) schema.Message {
	d.Raw, d.RawBase64, d.Truncated = "", "", d.RawBytes > 0
	m, _ := d.Message(f) // plain text and numbers always encode
	return m
}
