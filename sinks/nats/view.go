package nats

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"connector/checkpoint"
	"connector/internal/fault"
	"connector/internal/wait"
)

// View reads the state of a unit from the stream of cfg at url, as of one
// commit, and takes nothing over. Get reads the present state. The error
// matches [fs.ErrNotExist] when the stream holds none.
func View(ctx context.Context, cfg Config, url, unit string) (checkpoint.Reader, error) {
	log := slog.New(slog.DiscardHandler)
	conn, err := connect(ctx, &cfg, url, log)
	if err != nil {
		return nil, err
	}
	v := &view{client: client{conn: conn, cfg: cfg, log: log}, at: placeOf(&cfg, unit)}
	if err := v.open(ctx, unit); err != nil {
		conn.Close()
		return nil, err
	}
	return v, nil
}

type view struct {
	client

	at   place
	live map[string][]byte
}

func (v *view) open(ctx context.Context, unit string) error {
	js, err := jetstream.New(v.conn.Conn)
	if err != nil {
		return fmt.Errorf("preparing JetStream: %w", err)
	}
	v.js = js
	for torn := uint64(0); ; {
		err := v.read(ctx)
		switch part, _ := errors.AsType[*partError](err); {
		case part != nil && part.seq == torn:
			return fault.Fatal(err, "free space and start the connector, which deletes the part or completes the commit")
		case part != nil: // or it is being stored
			torn = part.seq
			if err := wait.For(ctx, tornPatience); err != nil {
				return err
			}
			continue
		case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("NATS stream %s holds no checkpoint of unit %s: %w", v.cfg.Stream, unit, fs.ErrNotExist)
		case !errors.Is(err, errStalled):
			return err
		}
	}
}

// read follows the unit's messages until it has seen the fence that is the
// present one: then nothing that it read was replaced, or missed because it was
// replaced before. A busy owner leaves it little time, but it asks once only.
func (v *view) read(ctx context.Context) error {
	if fence, err := v.last(ctx, v.at.subject(checkpoint.FenceKey)); err != nil {
		return err
	} else if fence == nil {
		return fs.ErrNotExist
	}
	messages, err := v.followLive(ctx, v.at)
	if err != nil {
		return err
	}
	defer messages.Stop()
	v.live = map[string][]byte{}
	for {
		msg, err := nextWithin(ctx, messages)
		if err != nil {
			return err
		}
		key, err := v.at.add(v.live, msg)
		if err != nil {
			return err
		}
		if key != checkpoint.FenceKey {
			continue
		}
		if present, err := v.isLast(ctx, msg.seq); err != nil {
			return err
		} else if present {
			_, err := checkpoint.LoadUnit("", func(key string) []byte { return v.live[key] })
			return err
		}
	}
}

// isLast reports whether the fence with sequence seq is the last one.
func (v *view) isLast(ctx context.Context, seq uint64) (bool, error) {
	m, err := v.last(ctx, v.cfg.SubjectPrefix+".>")
	if err != nil || m == nil || m.seq == seq {
		return m != nil, err
	}
	fence, err := v.last(ctx, v.at.subject(checkpoint.FenceKey))
	if err != nil || fence == nil || fence.seq != seq {
		return false, err
	}
	if m.torn() { // it hides the state before it
		return false, &partError{v.cfg.Stream, m.seq}
	}
	return true, nil
}

// partError says that a stream ends in a part of a commit, in message seq.
type partError struct {
	stream string
	seq    uint64
}

func (e *partError) Error() string {
	return "NATS stream " + e.stream + " holds a part of a commit only, because its storage was full"
}

// Load implements [checkpoint.Reader].
func (v *view) Load(ctx context.Context, yield func(checkpoint.Entry) error) error {
	for _, key := range slices.Sorted(maps.Keys(v.live)) {
		if key == checkpoint.FenceKey || key == checkpoint.ManifestKey {
			continue
		}
		if err := errors.Join(ctx.Err(), yield(checkpoint.Entry{Key: key, Value: v.live[key]})); err != nil {
			return err
		}
	}
	return nil
}

// Get implements [checkpoint.Reader].
func (v *view) Get(ctx context.Context, key string) ([]byte, error) { return v.value(ctx, v.at, key) }

// Close implements [checkpoint.Reader].
func (v *view) Close() error {
	v.conn.Close()
	return nil
}
