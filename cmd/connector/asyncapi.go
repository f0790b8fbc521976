package main

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"connector/internal/config"
	"connector/schema/asyncapi"
	"connector/sinks/kafka"
	"connector/sinks/nats"
)

func schemaAsyncAPICommand(env environment) *cobra.Command {
	return &cobra.Command{
		Use:   "asyncapi",
		Short: "Print an AsyncAPI document of the configured sink",
		Long: `Print an AsyncAPI 3.0 document, in JSON (which is YAML, too), of what "connector run" publishes to
the configured NATS or Kafka: servers, subjects or topics, headers, payloads, examples. The
operations are those of the connector: it sends, consumers receive. It asks no server, needs no
account, and holds no secret.`,
		Example: `  connector schema asyncapi > asyncapi.json
  CONNECTOR_SINK=kafka KAFKA_BROKERS=kafka:9092 CONNECTOR_CLOUDEVENTS=structured connector schema asyncapi`,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := config.LoadSink(env.vars, configCatalog())
			if err != nil {
				return err
			}
			return printAsyncAPI(cfg, env)
		},
	}
}

func printAsyncAPI(cfg *config.Config, env environment) error {
	describe := sinkKinds[cfg.Connector.Sink].describe
	if describe == nil {
		return usageError{fmt.Errorf("sink %s is no broker that consumers read: set CONNECTOR_SINK to another", cfg.Connector.Sink)}
	}
	at := describe(cfg.Sink)
	document, err := asyncapi.Describe(asyncapi.Options{
		Format: formatOf(cfg), Transport: at.transport, Events: at.events, Dead: at.dead,
	})
	if err != nil {
		return fmt.Errorf("describing sink %s: %w", cfg.Connector.Sink, err)
	}
	encoded, err := json.Marshal(document, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return fmt.Errorf("describing sink %s: %w", cfg.Connector.Sink, err)
	}
	_, err = env.stdout.Write(append(encoded, '\n'))
	return err
}

// brokerPlaces is where a sink sends messages.
type brokerPlaces struct {
	transport    asyncapi.Transport
	events, dead asyncapi.Channel
}

// Versions of AsyncAPI bindings.
const kafkaBinding = "0.5.0"

func describeKafka(c kafka.Config) brokerPlaces {
	topic := func(name string) asyncapi.Channel {
		binding := map[string]any{"topic": name, "bindingVersion": kafkaBinding}
		if c.CreateTopics && c.Partitions > 0 {
			binding["partitions"] = c.Partitions
		}
		return asyncapi.Channel{Address: name, Bindings: map[string]any{"kafka": binding}}
	}
	delivery := "Duplicates, with the same id, come only from an earlier connector that still runs."
	if c.Delivery == kafka.Transactional {
		delivery = "Messages are published in transactions: set isolation.level=read_committed."
	}
	return brokerPlaces{
		transport: asyncapi.Transport{
			Servers: kafkaServers(c), Prefix: "ce_", ContentType: "content-type", Delivery: delivery,
			Message: map[string]any{"kafka": map[string]any{
				"key": map[string]any{"type": "string", "description": "<account>/<stream>/<record id>: the versions of a record are in one partition, in order."}, "bindingVersion": kafkaBinding,
			}},
		},
		events: topic(c.Topic), dead: topic(c.DeadletterTopic),
	}
}

func kafkaServers(c kafka.Config) map[string]asyncapi.Server {
	server := asyncapi.Server{Protocol: "kafka"}
	if c.TLS {
		server.Protocol = "kafka-secure"
	}
	login := map[kafka.SASLMechanism]string{kafka.Plain: "plain", kafka.ScramSHA256: "scramSha256", kafka.ScramSHA512: "scramSha512"}
	if kind := login[c.SASLMechanism]; kind != "" {
		server.Security = append(server.Security, &asyncapi.Security{Type: kind})
	}
	if !c.TLSCert.IsZero() {
		server.Security = append(server.Security, &asyncapi.Security{Type: "X509"})
	}
	servers := map[string]asyncapi.Server{}
	for i, broker := range c.Brokers {
		server.Host = broker
		servers["broker-"+strconv.Itoa(i+1)] = server
	}
	return servers
}

func describeNATS(c nats.Config) brokerPlaces {
	return brokerPlaces{
		transport: asyncapi.Transport{
			Servers: natsServers(c), Prefix: "ce-", ContentType: "ce-datacontenttype",
			Delivery: "The JetStream stream " + c.Stream + " holds them: a consumer of it gets what is committed, in order. Values of headers are percent-encoded.",
			Parameters: map[string]asyncapi.Parameter{
				"system":  {Description: "Kind of provider.", Examples: slices.Sorted(maps.Keys(sourceKinds))},
				"account": {Description: "Name of the account in the configuration of the connector."},
				"stream":  {Description: "Query shape of the account; what no token of a subject can hold is percent-encoded.", Examples: []string{"sms", "flow"}},
			},
		},
		events: asyncapi.Channel{Address: nats.Address(c.SubjectPrefix, false)},
		dead:   asyncapi.Channel{Address: nats.Address(c.SubjectPrefix, true)},
	}
}

func natsServers(c nats.Config) map[string]asyncapi.Server {
	if c.URL.Embedded() {
		return map[string]asyncapi.Server{"embedded": {
			Host: "127.0.0.1", Protocol: "nats", Description: `Runs inside the connector, on this machine only; "connector run" logs its port.`,
		}}
	}
	var login []*asyncapi.Security
	switch {
	case c.User != "":
		login = []*asyncapi.Security{{Type: "userPassword"}}
	case !c.Token.IsZero():
		login = []*asyncapi.Security{{Type: "userPassword", Description: "A token instead of user and password."}}
	case !c.Creds.IsZero(), !c.Nkey.IsZero():
		login = []*asyncapi.Security{{Type: "asymmetricEncryption", Description: "NKey or credentials file."}}
	}
	if !c.Cert.IsZero() {
		login = append(login, &asyncapi.Security{Type: "X509"})
	}
	servers := map[string]asyncapi.Server{}
	for i, address := range c.URL {
		u, err := url.Parse(address)
		if err != nil { // it was read before
			continue
		}
		servers["server-"+strconv.Itoa(i+1)] = asyncapi.Server{Host: u.Host, Protocol: strings.Replace(u.Scheme, "tls", "nats", 1), Security: login}
	}
	return servers
}
