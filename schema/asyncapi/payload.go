package asyncapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"connector/schema"
)

// definitions is where a schema keeps what it refers to.
const definitions = "$defs"

// embed puts a JSON Schema and its definitions into the schemas of a document,
// and returns the schema's examples. AsyncAPI reads schemas as draft-07 with
// references from the root of the document, so each definition becomes a schema
// <name>.<definition>, and what tells draft and identity is left out. The other
// keywords must mean the same in draft-07.
func embed(into map[string]jsontext.Value, name string, file []byte) (examples []jsontext.Value, err error) {
	var parts struct {
		Defs     map[string]jsontext.Value `json:"$defs"`
		Examples []jsontext.Value          `json:"examples"`
	}
	if err := json.Unmarshal(file, &parts); err != nil {
		return nil, fmt.Errorf("reading the schema of %s: %w", name, err)
	}
	root := "#/components/schemas/" + name + "."
	if into[name], err = relocate(file, root, "$schema", "$id", definitions, "examples"); err != nil {
		return nil, fmt.Errorf("embedding the schema of %s: %w", name, err)
	}
	for def, value := range parts.Defs {
		if into[name+"."+def], err = relocate(value, root); err != nil {
			return nil, fmt.Errorf("embedding %s of the schema of %s: %w", def, name, err)
		}
	}
	return parts.Examples, nil
}

// relocate copies a schema without some of its outermost members, and makes its
// references begin with root.
func relocate(value []byte, root string, without ...string) (jsontext.Value, error) {
	var out bytes.Buffer
	d, e := jsontext.NewDecoder(bytes.NewReader(value)), jsontext.NewEncoder(&out)
	for last := ""; ; {
		token, err := d.ReadToken()
		if errors.Is(err, io.EOF) {
			return out.Bytes(), nil
		}
		if err == nil && token.Kind() == '"' {
			before := last
			last = token.String()
			if slices.Contains(without, last) && isOutermostName(d) {
				err = d.SkipValue()
				token = jsontext.Token{}
			} else if before == "$ref" {
				token = jsontext.String(strings.Replace(last, "#/"+definitions+"/", root, 1))
			}
		}
		if err == nil && token.Kind() != 0 {
			err = e.WriteToken(token)
		}
		if err != nil {
			return nil, err
		}
	}
}

// isOutermostName reports whether the string just read names a member of the
// outermost object.
func isOutermostName(d *jsontext.Decoder) bool {
	kind, length := d.StackIndex(d.StackDepth())
	return d.StackDepth() == 1 && kind == jsontext.KindBeginObject && length%2 == 1
}

// eventExamples encodes the examples of a schema as they are published.
func eventExamples(list []jsontext.Value, f schema.Format) ([]schema.Message, error) {
	return encode(list, func(e *schema.Event) (schema.Message, error) {
		e.ID = schema.EventID(e.Source.Account, e.Source.Stream, e.Record.ID, "example "+strconv.Itoa(e.Record.Revision))
		return e.Message(f)
	})
}

func deadLetterExamples(list []jsontext.Value, f schema.Format) ([]schema.Message, error) {
	return encode(list, func(d *schema.DeadLetter) (schema.Message, error) { return d.Message(f) })
}

func resolutionExamples(list []jsontext.Value, f schema.Format) ([]schema.Message, error) {
	return encode(list, func(r *schema.Resolution) (schema.Message, error) { return r.Message(f) })
}

func encode[T any](list []jsontext.Value, message func(*T) (schema.Message, error)) ([]schema.Message, error) {
	var all []schema.Message
	for i, value := range list {
		var v T
		if err := json.Unmarshal(value, &v); err != nil {
			return nil, fmt.Errorf("reading example %d of a schema: %w", i+1, err)
		}
		m, err := message(&v)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}
