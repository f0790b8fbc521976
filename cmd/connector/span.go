package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"connector/internal/config"
	"connector/pipeline"
	"connector/schema"
	"connector/sources"
)

// timeForms says how a past time is written on the command line.
const timeForms = "an RFC 3339 time, a date such as 2026-01-31 (its first instant, UTC), or a duration back from now such as 720h"

// parsePast reads a time that is not in the future.
func parsePast(value string, now time.Time) (time.Time, error) {
	if value == "" {
		return time.Time{}, errors.New("is missing; use " + timeForms)
	}
	at, err := time.Parse(time.RFC3339, value)
	if err != nil {
		at, err = time.Parse(time.DateOnly, value)
	}
	if ago, notDuration := time.ParseDuration(value); notDuration == nil && ago >= 0 {
		at, err = now.Add(-ago), nil
	}
	switch {
	case err != nil || at.Unix() < 0:
		return time.Time{}, fmt.Errorf("%q is no time; use %s", value, timeForms)
	case at.After(now):
		return time.Time{}, fmt.Errorf("%s lies in the future; use a time up to now, %s", value, now.UTC().Format(time.RFC3339))
	}
	return at, nil
}

// spanFlags are --from, --to, --account, --stream and --output.
type spanFlags struct{ from, to, account, stream, output string }

// addRange adds --from and --to.
func (f *spanFlags) addRange(c *cobra.Command) {
	c.Flags().StringVar(&f.from, "from", "", "beginning of the range, `T` as above")
	c.Flags().StringVar(&f.to, "to", "", "end of the range, `T` as above")
}

// addChoice adds --account and --stream.
func (f *spanFlags) addChoice(c *cobra.Command) {
	c.Flags().StringVar(&f.account, "account", "", "only the streams of the account `NAME`")
	c.Flags().StringVar(&f.stream, "stream", "", "only streams of the name `S`")
}

// load reads the configuration and opens the sources, with the log, which env
// gets, too. Its error says all that is wrong with the configuration and with the flags, of
// which some faults are known.
func (f *spanFlags) load(env *environment, faults []string) (*config.Config, pipeline.Options, error) {
	faults = append(faults, outputFaults(f.output, "text", "json")...)
	env.output = f.output
	cfg, err := config.Load(env.vars, configCatalog())
	if err != nil {
		return nil, pipeline.Options{}, errors.Join(err, usage(faults))
	}
	env.log = newLogger(cfg, env.stderr)
	opts, err := pipelineOptions(cfg, *env)
	if err != nil {
		return nil, opts, errors.Join(err, usage(faults))
	}
	return cfg, opts, usage(append(faults, f.unknown(configured(opts))...))
}

// span reads --from and --to, and says all that is wrong with them.
func (f *spanFlags) span(now time.Time) (span sources.Span, faults []string) {
	from, fromErr := parsePast(f.from, now)
	to, toErr := parsePast(f.to, now)
	if fromErr != nil {
		faults = append(faults, "--from: "+fromErr.Error())
	}
	if toErr != nil {
		faults = append(faults, "--to: "+toErr.Error())
	}
	if faults == nil && from.After(to) {
		faults = append(faults, fmt.Sprintf("--from: %s lies after --to %s; swap them", f.from, f.to))
	}
	return sources.Span{From: from, To: to}, faults
}

// unknown says which of --account and --stream name nothing there is.
func (f *spanFlags) unknown(known []schema.Source) (faults []string) {
	var accounts, streams []string
	for _, s := range known {
		accounts = append(accounts, s.Account)
		streams = append(streams, s.Stream)
	}
	if f.account != "" && !slices.Contains(accounts, f.account) {
		faults = append(faults, fmt.Sprintf("--account: there is no account %q; use one of %s", f.account, list(accounts)))
	} else if f.account != "" {
		known = slices.DeleteFunc(slices.Clone(known), func(s schema.Source) bool { return s.Account != f.account })
		streams = nil
		for _, s := range known {
			streams = append(streams, s.Stream)
		}
	}
	if f.stream != "" && !slices.Contains(streams, f.stream) {
		faults = append(faults, fmt.Sprintf("--stream: there is no stream %q; use one of %s", f.stream, list(streams)))
	}
	return faults
}

// chooses reports whether the flags choose a stream.
func (f *spanFlags) chooses(account, stream string) bool {
	return (f.account == "" || f.account == account) && (f.stream == "" || f.stream == stream)
}

func list(names []string) string {
	names = slices.Clone(names)
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// configured lists the streams of all accounts.
func configured(opts pipeline.Options) []schema.Source {
	var known []schema.Source
	for _, a := range opts.Accounts {
		for _, s := range a.Source.Streams() {
			known = append(known, schema.Source{System: a.System, Account: a.Name, Stream: s.Name})
		}
	}
	return known
}

// usage makes one error of all faults of a command line, nil of none.
func usage(faults []string) error {
	switch len(faults) {
	case 0:
		return nil
	case 1:
		return usageError{errors.New(faults[0])}
	}
	return usageError{fmt.Errorf("the command line has %d faults:\n  %s", len(faults), strings.Join(faults, "\n  "))}
}

// days writes a length of time for people: to the second, and from an hour on
// to the minute.
func days(d time.Duration) string {
	d = d.Round(time.Second)
	if d > time.Hour {
		d = d.Round(time.Minute)
	}
	if n := d / day; n > 0 {
		return strings.TrimSuffix(fmt.Sprintf("%dd%s", n, short(d%day)), "0s")
	}
	return short(d)
}

// short leaves out the zeros at the end of a length of time.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
