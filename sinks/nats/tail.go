package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"connector/internal/fault"
	"connector/sinks"
)

// tailPatience is how long a reader that does not follow waits for a message
// before it asks whether there still is one.
const tailPatience = 5 * time.Second

// tailHeartbeat is how often the server shows that it still serves a reader. Two
// that are missed within tailPatience make the reader ask anew: each wait counts
// them from zero.
const tailHeartbeat = 2 * time.Second

// Tail reads the stream of cfg at url by a consumer of its own and calls
// yield for each message in stored order. It returns nil at the end when it
// does not follow, yield's first error, or ctx's when that ends.
func Tail(ctx context.Context, cfg Config, url string, opts sinks.TailOptions, yield func(sinks.Received) error) error {
	conn, err := connect(ctx, &cfg, url, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer conn.Close()
	t := &tail{cfg: &cfg, opts: opts, yield: yield}
	if err := conn.guard(ctx, busyWait, func(ctx context.Context) error { return t.open(ctx, conn) }); err != nil {
		if errors.Is(err, natsio.ErrPermissionViolation) {
			return fault.Fatal(fmt.Errorf("reading NATS stream %s: %w", cfg.Stream, err), "let the user publish to $JS.API.> and subscribe to _INBOX.>")
		}
		return err
	}
	return t.run(ctx)
}

// tail is one reader.
type tail struct {
	cfg   *Config
	opts  sinks.TailOptions
	yield func(sinks.Received) error

	consumer jetstream.Consumer
	last     uint64 // sequence of the stream's last message at the start
}

func (t *tail) open(ctx context.Context, conn *connection) error {
	js, err := jetstream.New(conn.Conn)
	if err != nil {
		return fmt.Errorf("preparing JetStream: %w", err)
	}
	stream, err := js.Stream(ctx, t.cfg.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fault.Fatal(fmt.Errorf("reading NATS stream %s: %w", t.cfg.Stream, err), "check NATS_STREAM and NATS_URL; connector run creates the stream")
	}
	if err != nil {
		return fmt.Errorf("reading NATS stream %s: %w", t.cfg.Stream, err)
	}
	t.last = stream.CachedInfo().State.LastSeq
	consumer := jetstream.OrderedConsumerConfig{}
	if !t.opts.NoEvents {
		consumer.FilterSubjects = append(consumer.FilterSubjects, subjectOf(t.cfg.SubjectPrefix, eventToken))
	}
	if t.opts.Dead {
		consumer.FilterSubjects = append(consumer.FilterSubjects, subjectOf(t.cfg.SubjectPrefix, deadToken))
	}
	if !t.opts.FromStart {
		consumer.DeliverPolicy, consumer.OptStartSeq = jetstream.DeliverByStartSequencePolicy, t.last+1
	}
	t.consumer, err = stream.OrderedConsumer(ctx, consumer)
	if err != nil {
		return fmt.Errorf("reading NATS stream %s: %w", t.cfg.Stream, err)
	}
	return nil
}

func (t *tail) run(ctx context.Context) error {
	if !t.opts.Follow && t.consumer.CachedInfo().NumPending == 0 {
		return nil
	}
	messages, err := t.consumer.Messages(jetstream.PullHeartbeat(tailHeartbeat))
	if err != nil {
		return fmt.Errorf("reading NATS stream %s: %w", t.cfg.Stream, err)
	}
	defer context.AfterFunc(ctx, messages.Stop)()
	defer messages.Stop()
	for {
		msg, err := t.next(ctx, messages)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || msg == nil {
			return err
		}
		if done, err := t.show(msg); done || err != nil {
			return err
		}
	}
}

// next waits for a message. It returns nil when there is none left and the
// reader does not follow.
func (t *tail) next(ctx context.Context, messages jetstream.MessagesContext) (jetstream.Msg, error) {
	for {
		msg, err := messages.Next(jetstream.NextMaxWait(tailPatience))
		if err == nil {
			return msg, nil
		}
		if !errors.Is(err, natsio.ErrTimeout) {
			return nil, fmt.Errorf("reading NATS stream %s: %w", t.cfg.Stream, err)
		}
		if t.opts.Follow {
			continue
		}
		// The rest may have been deleted meanwhile.
		info, err := t.consumer.Info(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading NATS stream %s: %w", t.cfg.Stream, err)
		}
		if info.NumPending == 0 {
			return nil, nil
		}
	}
}

// show hands a message to yield, and reports whether it was the last one that
// a reader that does not follow shows.
func (t *tail) show(msg jetstream.Msg) (done bool, err error) {
	meta, err := msg.Metadata()
	if err != nil {
		return false, fmt.Errorf("reading NATS stream %s: %w", t.cfg.Stream, err)
	}
	if !t.opts.Follow && meta.Sequence.Stream > t.last {
		return true, nil
	}
	position := fmt.Sprintf("%s#%d", t.cfg.Stream, meta.Sequence.Stream)
	m, err := received(msg.Headers(), msg.Data())
	if err != nil {
		return false, fmt.Errorf("reading the event at %s: %w", position, err)
	}
	m.Position, m.Dead = position, strings.HasPrefix(msg.Subject(), t.cfg.SubjectPrefix+"."+deadToken+".")
	err = t.yield(m)
	return !t.opts.Follow && (meta.NumPending == 0 || meta.Sequence.Stream == t.last), err
}
