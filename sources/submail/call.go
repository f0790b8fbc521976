package submail

import (
	"strconv"
	"strings"
	"time"

	"connector/internal/config"
	"connector/sources/jsonrows"
)

// call is what the calls that read the log do not have in common.
type call struct {
	api   API
	hosts []config.URL // the vendor's, in the order they are tried
	list  string       // member of an answer that holds the rows
	row   string       // XML element of a row; empty: of any one name
	born  string       // field of a row with the time of its creation

	// params sets the parameters of q that the other call spells otherwise.
	params func(params map[string]string, cfg *Config, q query)
	// echo reads what an answer says about its place among all rows.
	echo func(members map[string]string) echo
	// local returns a date of an answer as local time of zone.
	local func(date string, zone *time.Location) string
	// keys and read decode a row.
	keys func(raw []byte, zone *time.Location) (keys, error)
	read func(raw []byte, zone *time.Location) (row, error)
}

// path returns the path of the call for answers in a format.
func (c call) path(f Format) string { return "/" + string(c.api) + "." + string(f) }

// call returns the call that a names, log/message if none.
func (a API) call() call {
	if a == APISMSLog {
		return call{
			api: APISMSLog, hosts: []config.URL{"https://api-v4.mysubmail.com"}, list: "data", born: "send_at",
			params: smsParams, echo: smsEcho, local: smsLocal, keys: smsKeys, read: readSMS,
		}
	}
	return call{
		api: APILogMessage, hosts: []config.URL{"https://api.mysubmail.com", "https://api.submail.cn"}, list: "results", row: "result", born: "send_date",
		params: messageParams, echo: messageEcho, local: messageLocal, keys: messageKeys, read: readMessage,
	}
}

// other returns the other call.
func (a API) other() API {
	if a == APISMSLog {
		return APILogMessage
	}
	return APISMSLog
}

// echo is what an answer says about its place among all rows; -1 where it
// says nothing.
type echo struct {
	start, end int // number of the first and the last row, from 1
	count      int // of the rows on this page, or on all
	rows       int // most rows of a page
}

// short reports whether an answer with n rows says that a page has fewer than q
// asks for. A number like that of the rows may mean those, when the answer says
// that no more follow.
func (e echo) short(q query, n int) bool {
	last := n == 0 || e.count >= 0 && e.count <= q.offset*q.rows+n
	return e.rows >= 0 && e.rows != q.rows && (e.rows != n || !last)
}

// number reads a number of an echo.
func number(members map[string]string, name string) int {
	n, err := strconv.Atoi(strings.TrimSpace(members[name]))
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// keys identify a row and tell its versions apart.
type keys struct {
	appID, id  string
	status     string // in one spelling
	send, sent moment
}

// print hashes status and sent time, which is the same for JSON, XML and both
// calls. It holds nothing of the message.
func (k *keys) print() string {
	sent := k.sent.local
	if strings.HasPrefix(sent, "0000-00-00") {
		sent = ""
	}
	return jsonrows.Sum([]byte(k.status + "\x00" + sent))
}
