package file

import (
	"connector/schema"
	"connector/sinks"
)

// appendLine appends m as one line: a CloudEvents 1.0 event in the JSON
// format, whether m is in binary or in structured mode.
func appendLine(dst []byte, m *schema.Message) []byte {
	return append(m.AppendStructured(dst), '\n')
}

// decodeLine undoes appendLine.
func decodeLine(line []byte) (sinks.Received, error) {
	attributes, data, err := schema.ParseStructured(line)
	if err != nil {
		return sinks.Received{}, err
	}
	r := sinks.Received{Attributes: attributes, Body: data}
	r.Dead = schema.IsDeadLetter(r.Attribute("type"))
	return r, nil
}
