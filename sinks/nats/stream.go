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
)

// duplicateWindow is how long a created stream remembers message ids.
const duplicateWindow = 2 * time.Minute

// codeSubjectOverlap is JetStream's error code when another stream has one of
// the subjects; nats.go does not name it.
const codeSubjectOverlap jetstream.ErrorCode = 10065

// codeNoStorage is JetStream's error code when the server or the account has not
// the storage left that a stream reserves; nats.go does not name it.
const codeNoStorage jetstream.ErrorCode = 10047

func subjectOf(prefix, kind string) string { return prefix + "." + kind + ".>" }

// streamConfig returns the configuration of a stream that is created. It is
// never applied to one that exists.
func streamConfig(cfg *Config) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name:        cfg.Stream,
		Description: "delivery events of connector",
		Subjects: []string{
			subjectOf(cfg.SubjectPrefix, eventToken), subjectOf(cfg.SubjectPrefix, deadToken), subjectOf(cfg.SubjectPrefix, checkpointToken),
		},
		Storage:            jetstream.FileStorage,
		Discard:            jetstream.DiscardNew,
		Duplicates:         duplicateWindow,
		MaxBytes:           -1,
		AllowAtomicPublish: true, // events and checkpoint as one
		AllowMsgTTL:        true, // the checkpoint stays when a max_age is set later, until the server starts anew
	}
	if cfg.URL.Embedded() {
		c.MaxBytes = embeddedStreamBytes
	}
	return c
}

// openStream creates the stream, or checks one that exists.
func openStream(ctx context.Context, js jetstream.JetStream, cfg *Config, log *slog.Logger) (jetstream.StreamConfig, error) {
	stream, err := js.Stream(ctx, cfg.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, streamConfig(cfg))
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // someone was faster
			stream, err = js.Stream(ctx, cfg.Stream)
		}
	}
	if err != nil {
		return jetstream.StreamConfig{}, streamError(ctx, js, cfg, err)
	}
	found := stream.CachedInfo().Config
	if err := verifyStream(&found, cfg); err != nil {
		return jetstream.StreamConfig{}, err
	}
	for _, w := range streamWarnings(&found) {
		log.Warn("NATS stream: "+w, "stream", cfg.Stream)
	}
	return found, nil
}

func streamError(ctx context.Context, js jetstream.JetStream, cfg *Config, err error) error {
	what := fmt.Errorf("opening NATS stream %s: %w", cfg.Stream, err)
	var api *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, natsio.ErrNoResponders):
		return fault.Fatal(what, "enable JetStream on the server and for the account, or set NATS_URL to a server that has it")
	case errors.As(err, &api) && api.ErrorCode == codeSubjectOverlap:
		return fault.Fatal(what, overlapRemedy(ctx, js, cfg))
	case errors.As(err, &api) && api.ErrorCode == codeNoStorage:
		return fault.Fatal(what, storageRemedy(cfg))
	case errors.As(err, &api) && api.Code < 500:
		return fault.Fatal(what, "create the stream yourself with subjects "+strings.Join(streamConfig(cfg).Subjects, ", ")+", or check NATS_STREAM and NATS_SUBJECT_PREFIX")
	}
	return what
}

func storageRemedy(cfg *Config) string {
	if cfg.URL.Embedded() {
		return "the embedded server has room for one stream: go on with the NATS_STREAM and NATS_SUBJECT_PREFIX it was made with, or set another CONNECTOR_DATA_DIR"
	}
	return "raise the storage limit of the server or the account"
}

func overlapRemedy(ctx context.Context, js jetstream.JetStream, cfg *Config) string {
	for _, s := range streamConfig(cfg).Subjects {
		if name, err := js.StreamNameBySubject(ctx, s); err == nil {
			return fmt.Sprintf("stream %s has %s already: set NATS_STREAM to %s or choose another NATS_SUBJECT_PREFIX", name, s, name)
		}
	}
	return "another stream has some of the subjects: choose another NATS_SUBJECT_PREFIX"
}

// verifyStream refuses a stream that would lose events or never acknowledge them.
func verifyStream(found *jetstream.StreamConfig, cfg *Config) error {
	refuse := func(remedy, format string, args ...any) error {
		return fault.Fatal(fmt.Errorf("NATS stream %s cannot be used: %s", cfg.Stream, fmt.Sprintf(format, args...)), remedy)
	}
	for _, s := range streamConfig(cfg).Subjects[:2] {
		if !covers(found.Subjects, s) {
			return refuse(fmt.Sprintf("add the subject to the stream (nats stream edit %s), or set NATS_STREAM or NATS_SUBJECT_PREFIX", cfg.Stream),
				"its subjects %q do not include %s", found.Subjects, s)
		}
	}
	switch {
	case found.Retention != jetstream.LimitsPolicy:
		return refuse("use a stream with limits retention; it cannot be changed on this one, so set NATS_STREAM and NATS_SUBJECT_PREFIX to new names",
			"with retention %v, events without a consumer are deleted", found.Retention)
	case found.NoAck:
		return refuse("turn no_ack off on the stream, or set NATS_STREAM to another", "it does not acknowledge messages")
	case found.SubjectTransform != nil:
		return refuse("remove the transform, or set NATS_STREAM to another", "it stores messages under other subjects")
	case found.Sealed:
		return refuse("set NATS_STREAM to another", "it is sealed")
	}
	return nil
}

// streamWarnings says what in an existing stream weakens the guarantee.
func streamWarnings(found *jetstream.StreamConfig) []string {
	var w []string
	if found.Storage == jetstream.MemoryStorage {
		w = append(w, "it is kept in memory; events are lost when the server stops")
	}
	if found.Discard == jetstream.DiscardOld && (found.MaxBytes > 0 || found.MaxMsgs > 0 || found.MaxMsgsPerSubject > 0) {
		w = append(w, "when it is full it drops the oldest events, read or not; discard policy new would make the connector wait instead")
	}
	if found.Duplicates < duplicateWindow {
		w = append(w, fmt.Sprintf("its duplicate window is only %v; events published again after a longer interruption appear twice", found.Duplicates))
	}
	return w
}

// covers reports whether one of the filters takes every subject that wanted takes.
func covers(filters []string, wanted string) bool {
	for _, f := range filters {
		if subset(strings.Split(wanted, "."), strings.Split(f, ".")) {
			return true
		}
	}
	return false
}

// subset reports whether each subject that matches a, matches b.
func subset(a, b []string) bool {
	for i, t := range b {
		switch {
		case t == ">":
			return len(a) > i
		case i >= len(a), a[i] == ">":
			return false
		case t == "*":
		case t != a[i]:
			return false
		}
	}
	return len(a) == len(b)
}
