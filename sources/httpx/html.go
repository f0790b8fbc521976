package httpx

import "strings"

const (
	bom   = "\xef\xbb\xbf"
	space = " \t\r\n"
)

// isHTML reports whether head begins a web page.
func isHTML(head []byte) bool {
	text := strings.ToLower(strings.TrimLeft(strings.TrimPrefix(string(head), bom), space))
	for _, prolog := range []struct{ begin, end string }{{"<?xml", "?>"}, {"<!--", "-->"}} {
		for strings.HasPrefix(text, prolog.begin) {
			_, rest, ok := strings.Cut(text, prolog.end)
			if !ok {
				return prolog.begin == "<!--"
			}
			text = strings.TrimLeft(rest, space)
		}
	}
	for _, tag := range []string{"<!doctype html", "<!doctypehtml", "<html", "<head", "<body", "<title", "<script"} {
		if strings.HasPrefix(text, tag) {
			return true
		}
	}
	return false
}
