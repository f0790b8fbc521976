package main

import (
	"context"
	"io"
	"log/slog"

	"connector/checkpoint"
	"connector/internal/config"
	"connector/sinks"
	"connector/sinks/file"
	"connector/sinks/kafka"
	"connector/sinks/nats"
	"connector/sources"
	"connector/sources/ekuaibao"
	"connector/sources/httpx"
	"connector/sources/submail"
)

// sourceKinds is the catalog of sources, by kind of account: one line each.
var sourceKinds = map[string]sourceKind{
	"ekuaibao": holding(source(ekuaibao.Doc, ekuaibao.NewConfig, ekuaibao.New), ekuaibao.RowFields),
	"submail":  holding(alternative(source(submail.Doc, submail.NewConfig, submail.New), (*submail.Config).Other), submail.RowFields),
}

// sinkKinds is the catalog of sinks, by value of CONNECTOR_SINK: one line each.
var sinkKinds = map[string]sinkKind{
	"nats":   described(sink(nats.Doc, nats.NewConfig, openNATS, viewNATS, tailNATS), describeNATS),
	"kafka":  described(repeating(sink(kafka.Doc, kafka.NewConfig, openKafka, viewKafka, tailKafka), kafkaRepeats), describeKafka),
	"file":   beside(sink(file.Doc, file.NewConfig, openFile, viewFile, tailFile)),
	"stdout": {Sink: config.Sink{Doc: "Prints events to standard output, one JSON object per line.", Repeats: stdoutRepeats}, open: openStdout, view: viewStdout, beside: true},
}

// sourceKind is what the program knows of a kind of account.
type sourceKind struct {
	config.Source
	open func(account string, section config.AccountConfig, opts httpx.Options) (sources.Source, error)
	// other returns the section for another call that reads the same log, and
	// the setting, NAME=value, that chooses it; nil when there never is one.
	other func(section config.AccountConfig) (other config.AccountConfig, setting string, ok bool)
}

// source makes the catalog entry of a kind whose section is a *C.
func source[C any, S sources.Source](doc string, section func() config.AccountConfig, open func(string, C, httpx.Options) (S, error)) sourceKind {
	return sourceKind{
		Source: config.Source{Doc: doc, New: section},
		open: func(account string, section config.AccountConfig, opts httpx.Options) (sources.Source, error) {
			return open(account, *any(section).(*C), opts)
		},
	}
}

// alternative adds the other call of a kind whose section is a *C.
func alternative[C any](kind sourceKind, other func(*C) (C, string, bool)) sourceKind {
	kind.other = func(section config.AccountConfig) (config.AccountConfig, string, bool) {
		c, setting, ok := other(any(section).(*C))
		return any(&c).(config.AccountConfig), setting, ok
	}
	return kind
}

// holding adds what the rows of a kind hold.
func holding(kind sourceKind, fields sources.Fields) sourceKind {
	kind.Fields = fields
	return kind
}

// place is what a sink may use of the process.
type place struct {
	dataDir    string
	checkpoint string // folder of the checkpoint of a sink that does not keep it itself
	stdout     io.Writer
	log        *slog.Logger
}

// sinkKind is what the program knows of a sink.
type sinkKind struct {
	config.Sink
	open openFunc
	view viewFunc
	tail tailFunc // nil when the sink cannot be read
	// beside says that the checkpoint lies in the data folder, whatever the server.
	beside bool
	// describe says where messages go, for consumers; nil when that is no broker.
	describe func(config.Section) brokerPlaces
}

type (
	openFunc func(context.Context, config.Section, place, sinks.Options) (sinks.Sink, error)
	// viewFunc reads the state of a unit and takes nothing over; its error is
	// fs.ErrNotExist when there is none.
	viewFunc func(ctx context.Context, section config.Section, at place, unit string) (checkpoint.Reader, error)
	tailFunc func(context.Context, config.Section, place, sinks.TailOptions, func(sinks.Received) error) error
)

// sink makes the catalog entry of a sink whose section is a *C.
func sink[C any](doc string, section func() config.Section,
	open func(context.Context, C, place, sinks.Options) (sinks.Sink, error),
	view func(context.Context, C, place, string) (checkpoint.Reader, error),
	tail func(context.Context, C, place, sinks.TailOptions, func(sinks.Received) error) error,
) sinkKind {
	return sinkKind{
		Sink: config.Sink{Doc: doc, New: section},
		open: func(ctx context.Context, section config.Section, at place, opts sinks.Options) (sinks.Sink, error) {
			return open(ctx, *any(section).(*C), at, opts)
		},
		view: func(ctx context.Context, section config.Section, at place, unit string) (checkpoint.Reader, error) {
			return view(ctx, *any(section).(*C), at, unit)
		},
		tail: func(ctx context.Context, section config.Section, at place, opts sinks.TailOptions, yield func(sinks.Received) error) error {
			return tail(ctx, *any(section).(*C), at, opts, yield)
		},
	}
}

// repeating adds to a sink whose section is a C when that makes it publish twice.
func repeating[C any](kind sinkKind, repeats func(C) string) sinkKind {
	kind.Repeats = func(section config.Section) string { return repeats(*any(section).(*C)) }
	return kind
}

// beside adds to a sink that its checkpoint lies in the data folder.
func beside(kind sinkKind) sinkKind {
	kind.beside = true
	return kind
}

// described adds to a sink whose section is a C where its messages go.
func described[C any](kind sinkKind, places func(C) brokerPlaces) sinkKind {
	kind.describe = func(section config.Section) brokerPlaces { return places(*any(section).(*C)) }
	return kind
}

// configCatalog is the part of the catalog that the configuration needs.
func configCatalog() config.Catalog {
	c := config.Catalog{Sources: map[string]config.Source{}, Sinks: map[string]config.Sink{}}
	for name, kind := range sourceKinds {
		c.Sources[name] = kind.Source
	}
	for name, kind := range sinkKinds {
		c.Sinks[name] = kind.Sink
	}
	return c
}
