package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// asyncAPI is what tests read of a document.
type asyncAPI struct {
	AsyncAPI string                                     `json:"asyncapi"`
	Servers  map[string]struct{ Host, Protocol string } `json:"servers"`
	Channels map[string]struct{ Address string }        `json:"channels"`
	Parts    struct {
		Messages map[string]struct{ ContentType string } `json:"messages"`
	} `json:"components"`
}

func TestAsyncAPI(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		vars []string
		want string // servers, channels and content type
	}{
		"kafka": {
			[]string{"CONNECTOR_SINK=kafka", "KAFKA_BROKERS=a:9092,b:9093", "KAFKA_TOPIC=orders", "KAFKA_TLS=true", "KAFKA_SASL_MECHANISM=PLAIN", "KAFKA_SASL_USERNAME=robot", "KAFKA_SASL_PASSWORD=canary-1"},
			"map[broker-1:{a:9092 kafka-secure} broker-2:{b:9093 kafka-secure}] map[deadLetters:{delivery.deadletters} events:{orders}] application/json",
		},
		"structured": {
			[]string{"CONNECTOR_SINK=kafka", "KAFKA_BROKERS=a:9092", "CONNECTOR_CLOUDEVENTS=structured"},
			"map[broker-1:{a:9092 kafka}] map[deadLetters:{delivery.deadletters} events:{delivery.events}] application/cloudevents+json",
		},
		"embedded nats": {
			nil,
			"map[embedded:{127.0.0.1 nats}] map[deadLetters:{delivery.deadletter.{system}.{account}.{stream}} events:{delivery.event.{system}.{account}.{stream}}] application/json",
		},
		"nats": {
			[]string{"NATS_URL=tls://n:4222,wss://m", "NATS_SUBJECT_PREFIX=a.b", "NATS_USER=robot", "NATS_PASSWORD=canary-2"},
			"map[server-1:{n:4222 nats} server-2:{m wss}] map[deadLetters:{a.b.deadletter.{system}.{account}.{stream}} events:{a.b.event.{system}.{account}.{stream}}] application/json",
		},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := command(t.Context(), tt.vars, "schema", "asyncapi")
			if code != exitOK {
				t.Fatalf("got code %d: %s", code, stderr)
			}
			var d asyncAPI
			if err := json.Unmarshal([]byte(stdout), &d); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(d.Servers, " ", d.Channels, " ", d.Parts.Messages["event"].ContentType); got != tt.want || d.AsyncAPI != "3.0.0" {
				t.Errorf("AsyncAPI %s:\ngot  %s\nwant %s", d.AsyncAPI, got, tt.want)
			}
			for _, secret := range []string{"canary", "robot"} {
				if strings.Contains(stdout, secret) {
					t.Errorf("the document holds %q", secret)
				}
			}
		})
	}
}

func TestAsyncAPIRefused(t *testing.T) {
	t.Parallel()
	for _, sink := range []string{"stdout", "file"} {
		code, stdout, stderr := command(t.Context(), []string{"CONNECTOR_SINK=" + sink, "FILE_PATH=x"}, "schema", "asyncapi")
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, "sink "+sink+" is no broker") {
			t.Errorf("sink %s: got code %d, %q and %q", sink, code, stdout, stderr)
		}
	}
}
