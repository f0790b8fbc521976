package nats

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"time"

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

// viewPause lets a commit pass that came while the state was read.
const viewPause = 20 * time.Millisecond

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
		case !errors.Is(err, errChanged):
			return err
		}
		if err := wait.For(ctx, viewPause); err != nil {
			return err
		}
	}
}

func (v *view) read(ctx context.Context) error {
	fences := v.at.subject(checkpoint.FenceKey)
	before, err := v.last(ctx, fences)
	if err != nil {
		return err
	}
	if before == nil {
		return fs.ErrNotExist
	}
	if v.live, err = v.readLive(ctx, v.at, before.seq); err != nil {
		return err
	}
	_, err = checkpoint.LoadUnit("", func(key string) []byte { return v.live[key] })
	torn, tornErr := v.tornTail(ctx, before.seq)
	after, readErr := v.last(ctx, fences)
	switch {
	case tornErr != nil, readErr != nil:
		return errors.Join(tornErr, readErr)
	case after == nil || after.seq != before.seq:
		return errChanged
	case torn != nil: // it hides the state before it
		return &partError{v.cfg.Stream, torn.seq}
	}
	return err
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
