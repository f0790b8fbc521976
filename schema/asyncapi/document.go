package asyncapi

import "github.com/go-json-experiment/json/jsontext"

// Document is an AsyncAPI 3.0 document, as far as it is used here. Field names
// and meanings are those of https://www.asyncapi.com/docs/reference/specification/v3.0.0.
type Document struct {
	AsyncAPI   string               `json:"asyncapi"`
	Info       info                 `json:"info"`
	Servers    map[string]Server    `json:"servers"`
	Channels   map[string]channel   `json:"channels"`
	Operations map[string]operation `json:"operations"`
	Components components           `json:"components"`
}

type info struct {
	Title       string `json:"title"`
	Version     string `json:"version"`
	Description string `json:"description"`
}

// Server is where the channels are. It must hold no credentials.
type Server struct {
	Host        string      `json:"host"` // host, and port where it is known
	Protocol    string      `json:"protocol"`
	Description string      `json:"description,omitzero"`
	Security    []*Security `json:"security,omitzero"` // ways to log in; none when nil
}

// Security is a way to log in, such as "userPassword" or "scramSha256".
type Security struct {
	Type        string `json:"type"`
	Description string `json:"description,omitzero"`
}

type channel struct {
	Address     string               `json:"address"`
	Title       string               `json:"title"`
	Description string               `json:"description"`
	Messages    map[string]reference `json:"messages"`
	Parameters  map[string]Parameter `json:"parameters,omitzero"`
	Bindings    map[string]any       `json:"bindings,omitzero"`
}

// Parameter is a part of an address.
type Parameter struct {
	Description string   `json:"description"`
	Examples    []string `json:"examples,omitzero"`
}

type operation struct {
	Action   string      `json:"action"` // "send": seen from the application that is described, the connector
	Channel  reference   `json:"channel"`
	Summary  string      `json:"summary"`
	Messages []reference `json:"messages"`
}

type components struct {
	Messages map[string]message        `json:"messages"`
	Schemas  map[string]jsontext.Value `json:"schemas"`
}

type message struct {
	Name          string         `json:"name"`
	Title         string         `json:"title"`
	Summary       string         `json:"summary"`
	ContentType   string         `json:"contentType"`
	Headers       object         `json:"headers"`
	Payload       any            `json:"payload"` // object or reference
	CorrelationID correlation    `json:"correlationId"`
	Bindings      map[string]any `json:"bindings,omitzero"`
	Examples      []example      `json:"examples,omitzero"`
}

type correlation struct {
	Description string `json:"description"`
	Location    string `json:"location"`
}

type example struct {
	Headers map[string]string `json:"headers"`
	Payload jsontext.Value    `json:"payload"`
}

type reference struct {
	Ref string `json:"$ref"`
}

// object is the JSON Schema of headers, or of an event in structured mode.
type object struct {
	Type       string         `json:"type"`
	Required   []string       `json:"required"`
	Properties map[string]any `json:"properties"`
}

// text is the JSON Schema of a string.
type text struct {
	Type        string `json:"type"`
	Description string `json:"description,omitzero"`
	Const       string `json:"const,omitzero"`
	Pattern     string `json:"pattern,omitzero"`
	Format      string `json:"format,omitzero"`
}
