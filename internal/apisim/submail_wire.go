package apisim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

const xmlHeader = `<?xml version="1.0" encoding="utf-8"?>` + "\n"

// encoding is one of the two formats SUBMAIL answers in.
type encoding struct {
	xml         bool
	contentType string
	bom         string
	pad         string // around the text of XML elements
	json        jsonRows
	numeric     bool // error codes
	status      int  // HTTP status of errors
	rows        encoder
	call        submailCall
}

// encoding returns that of answers to a call in the format named by the suffix of the path; without one it is JSON.
func (s *Submail) encoding(call submailCall, format string) encoding {
	sw := s.Switches.Get()
	e := encoding{
		xml: format == "xml", contentType: "application/json; charset=utf-8",
		json: jsonRows{php: true, quoted: sw.Quoted}, numeric: sw.NumericCodes, status: cmp.Or(sw.ErrorStatus, http.StatusOK), call: call,
	}
	if sw.BOM {
		e.bom = "\ufeff"
	}
	if sw.Padded {
		e.pad = " "
	}
	e.rows = e.json
	if e.xml {
		e.contentType, e.bom = "text/xml; charset=utf-8", ""
		e.rows = xmlRows{name: call.row, pad: e.pad}
	}
	return e
}

// frame returns what surrounds the rows of a page.
func (e encoding) frame(p *page) (head, tail string) {
	fields, order, list := e.call.members(p), e.call.order, e.call.list
	if e.xml {
		return xmlHeader + "<xml>" + e.elements(fields, order, e.pad) + "\n    <" + list + ">", "\n    </" + list + ">\n</xml>"
	}
	object, _ := e.json.row(fields, order) // strings and numbers encode
	return e.bom + string(object[:len(object)-1]) + `,"` + list + `":[`, "]}"
}

func (e encoding) elements(f Fields, order []string, pad string) string {
	var b bytes.Buffer
	for _, name := range f.names(order) {
		b.WriteString("\n    ")
		xmlRows{pad: pad}.element(&b, name, text(f[name]))
	}
	return b.String()
}

// join appends the i-th row to the body.
func (e encoding) join(body *bytes.Buffer, raw []byte, i int) {
	switch {
	case e.xml:
		body.WriteString("\n        ")
	case i > 0:
		body.WriteByte(',')
	}
	body.Write(raw)
}

// refuse answers with an error.
func (e encoding) refuse(a *answer, err apiError) {
	f := Fields{"status": "error", "code": err.code, "msg": err.msg}
	if e.numeric {
		f["code"] = json.Number(err.code)
	}
	a.w.WriteHeader(e.status)
	e.small(a, f, []string{"status", "code", "msg"}, " ")
}

// timestamp answers the timestamp service.
func (e encoding) timestamp(a *answer) {
	e.small(a, Fields{"timestamp": int(a.now.Unix())}, nil, e.pad)
}

func (e encoding) small(a *answer, f Fields, order []string, pad string) {
	if e.xml {
		_, _ = fmt.Fprintf(a, "%s<xml>%s\n</xml>", xmlHeader, e.elements(f, order, pad))
		return
	}
	object, _ := e.json.row(f, order) // strings and numbers encode
	_, _ = io.WriteString(a, e.bom+string(object))
}
