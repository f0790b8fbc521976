// Package asyncapi describes what the connector publishes as an AsyncAPI 3.0
// document.
package asyncapi

import (
	"github.com/go-json-experiment/json/jsontext"

	"connector/schema"
)

// Options say what there is to describe.
type Options struct {
	Format    schema.Format
	Transport Transport
	Events    Channel
	Dead      Channel
}

// Transport is what the channels have in common.
type Transport struct {
	Servers     map[string]Server
	Parameters  map[string]Parameter // of the addresses of both channels
	Prefix      string               // of headers that hold a context attribute in binary mode
	ContentType string               // header of datacontenttype in binary mode
	Delivery    string               // what consumers must know to get each message once, a sentence
	Message     map[string]any       // bindings of messages by protocol; none when nil
}

// Channel is one address.
type Channel struct {
	Address  string         // topic or subject; parameters stand in braces
	Bindings map[string]any // by protocol; none when nil
}

const description = "Each message is one version of one row of a provider's delivery log, as a CloudEvents 1.0 event. " +
	"Drop messages whose id you have. The versions of one record come in order. "

// Describe returns the document. It fails when a schema is not what this
// package can embed.
func Describe(o Options) (*Document, error) {
	d := &Document{
		AsyncAPI: "3.0.0",
		Info:     info{Title: "connector", Version: o.Format.Release().Version, Description: description + o.Transport.Delivery},
		Servers:  o.Transport.Servers, Channels: map[string]channel{}, Operations: map[string]operation{},
		Components: components{Messages: map[string]message{}, Schemas: map[string]jsontext.Value{}},
	}
	for _, k := range []kind{events(&o), deadLetters(&o), resolutions(&o)} {
		if err := d.add(&o, k); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// kind is one sort of message, with its channel.
type kind struct {
	name, title, summary string // of the message; name is also that of its schema
	channel, operation   string // names
	at                   Channel
	typed                text   // schema of the attribute type
	dataSchema           string // the attribute
	file                 []byte // schema of the data
	examples             func(list []jsontext.Value, f schema.Format) ([]schema.Message, error)
}

func events(o *Options) kind {
	return kind{
		name: "event", title: "Delivery event", summary: "A new version of a row: what became of a delivery.",
		channel: "events", operation: "publishEvent", at: o.Events,
		typed:      text{Type: "string", Description: "delivery.<channel>.<status>", Pattern: `^delivery\.[a-z]+\.(pending|delivered|failed|unknown)$`},
		dataSchema: o.Format.Release().Event.ID, file: o.Format.Release().Event.JSON, examples: eventExamples,
	}
}

func deadLetters(o *Options) kind {
	return kind{
		name: "deadLetter", title: "Dead letter", summary: "A row of which no event can be made, with the reason.",
		channel: "deadLetters", operation: "publishDeadLetter", at: o.Dead,
		typed:      text{Type: "string", Const: schema.DeadLetterType},
		dataSchema: o.Format.Release().DeadLetter.ID, file: o.Format.Release().DeadLetter.JSON, examples: deadLetterExamples,
	}
}

func resolutions(o *Options) kind {
	return kind{
		name: "resolution", title: "Resolution", summary: "A record that had dead letters was published after all.",
		channel: "deadLetters", operation: "publishResolution", at: o.Dead,
		typed:      text{Type: "string", Const: schema.ResolutionType},
		dataSchema: o.Format.Release().Resolution.ID, file: o.Format.Release().Resolution.JSON, examples: resolutionExamples,
	}
}

// add adds a kind of message with its operation, its schemas and, unless it
// shares that of a kind before, its channel.
func (d *Document) add(o *Options, k kind) error {
	list, err := embed(d.Components.Schemas, k.name, k.file)
	if err != nil {
		return err
	}
	m, err := describe(o, k, list)
	if err != nil {
		return err
	}
	d.Components.Messages[k.name] = m
	if _, shared := d.Channels[k.channel]; !shared {
		d.Channels[k.channel] = channel{
			Address: k.at.Address, Title: k.title, Description: k.summary, Parameters: o.Transport.Parameters, Bindings: k.at.Bindings,
			Messages: map[string]reference{},
		}
	}
	d.Channels[k.channel].Messages[k.name] = reference{"#/components/messages/" + k.name}
	d.Operations[k.operation] = operation{
		Action: "send", Channel: reference{"#/channels/" + k.channel}, Summary: k.summary,
		Messages: []reference{{"#/channels/" + k.channel + "/messages/" + k.name}},
	}
	return nil
}

// describe returns the message of a kind, with examples of its data.
func describe(o *Options, k kind, list []jsontext.Value) (message, error) {
	m := message{
		Name: k.name, Title: k.title, Summary: k.summary, ContentType: schema.MediaTypeJSON,
		Payload: reference{"#/components/schemas/" + k.name}, Bindings: o.Transport.Message,
		CorrelationID: correlation{Description: "The record: its versions have it in common.", Location: "$message.header#/" + o.Transport.header("subject")},
	}
	m.Headers = attributes(k, o.Transport.header)
	if o.Format.Structured {
		event := attributes(k, func(name string) string { return name })
		event.Required = append(event.Required, "data")
		event.Properties["data"] = m.Payload
		m.Payload, m.ContentType = event, schema.MediaTypeCloudEvent
		m.Headers = object{Type: "object", Required: []string{"content-type"}, Properties: map[string]any{"content-type": text{Type: "string", Const: m.ContentType}}}
		m.CorrelationID.Location = "$message.payload#/subject"
	}
	examples, err := k.examples(list, o.Format)
	for i := range examples {
		m.Examples = append(m.Examples, o.Transport.example(&examples[i]))
	}
	return m, err
}

// header is the name of the header of an attribute in binary mode.
func (t *Transport) header(attribute string) string {
	if attribute == "datacontenttype" {
		return t.ContentType
	}
	return t.Prefix + attribute
}

func (t *Transport) example(m *schema.Message) example {
	e := example{Headers: map[string]string{}, Payload: m.Body}
	if m.Structured {
		e.Headers["content-type"] = m.ContentType()
	}
	for _, a := range m.Attributes() {
		e.Headers[t.header(a.Name)] = a.Value
	}
	return e
}

// attributes is the schema of the context attributes under the names that name
// gives them.
func attributes(k kind, name func(attribute string) string) object {
	o := object{Type: "object", Properties: map[string]any{}}
	for _, a := range []struct {
		name   string
		schema text
	}{
		{"specversion", text{Const: "1.0"}},
		{"id", text{Description: "The same version of a record has the same id always."}},
		{"source", text{Description: "/<system>/<account>/<stream>", Format: "uri-reference"}},
		{"type", k.typed},
		{"subject", text{Description: "Id of the record at the provider."}},
		{"time", text{Description: "When the record changed at the provider, else was created; RFC 3339, UTC.", Format: "date-time"}},
		{"dataschema", text{Const: k.dataSchema}},
		{"datacontenttype", text{Const: schema.MediaTypeJSON}},
	} {
		a.schema.Type = "string"
		o.Required = append(o.Required, name(a.name))
		o.Properties[name(a.name)] = a.schema
	}
	o.Properties[name("replayid")] = text{Type: "string", Description: "Id of the replay that published the message again; absent on first publication."}
	return o
}
