package apisim

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Paths of the ekuaibao API.
const (
	EkuaibaoLocationPath = "/api/openapi/v2/location"

	EkuaibaoTokenPath = "/api/openapi/v1/auth/getAccessToken" //nolint:gosec // a path, no credential
	EkuaibaoLogPath   = "/api/openapi/v1/outboundMessageLogs"
)

// Credentials an Ekuaibao accepts where its configuration names none. They and the tokens it issues hold the word canary, by
// which a leak is found.
const (
	DefaultEkuaibaoKey      = "canary-app-key"
	DefaultEkuaibaoSecurity = "canary-app-security"
)

// MessageTypes lists the six values of messageType, each a stream.
func MessageTypes() []string {
	return []string{"message", "dataLink", "message_center", "repayment", "flow", "InternalMessage"}
}

// Order is the order of the rows in an ekuaibao answer; which one the provider has is not documented.
type Order int

// The orders. Unordered mixes blocks of up to 1024 neighbours, the same way for the same window.
const (
	Unordered Order = iota
	OldestFirst
	NewestFirst
)

// EkuaibaoSwitches is the standing behaviour of an Ekuaibao.
type EkuaibaoSwitches struct {
	Order        Order
	ByUpdateTime bool          // startDate and endDate select by updateTime instead of createTime
	Cap          int           // hidden cap: an answer silently ends after so many rows; 0: none
	TokenLife    time.Duration // of tokens issued from now on; 0: 2 h
	TokenDelay   time.Duration // a token just issued is refused with 403 for so long
	OneToken     bool          // issuing a token makes the earlier ones invalid
	InnerCode    bool          // errors come in an HTTP 200 answer
	Errors       ErrorShape    // bodies of the answers with an error
	TextCodes    bool          // error codes come as JSON strings
	Location     string        // value of the location call; default where it was sent
}

// ErrorShape is the body of an answer with an error.
type ErrorShape int

// The shapes, as the documents and clients of the API show them. With
// InnerCode, Mixed counts as ErrorCode.
const (
	Mixed     ErrorShape = iota // a text for 403, else {errorCode, errorMessage}
	PlainText                   // a text
	ErrorCode                   // {errorCode, errorMessage, errorDetails: null, code: null, data: null}
	CodeMsg                     // {code, msg, data: null, traceId}
	NullItems                   // {items: null, errorCode, errorMessage}
)

// EkuaibaoConfig configures an Ekuaibao; every field may be left zero.
type EkuaibaoConfig struct {
	Population    Population
	Clock         func() time.Time // the provider's clock; default time.Now
	AppKey        string
	AppSecurity   string
	AccessToken   string // one more token that is valid and does not expire
	CorporationID string // default Uq08cj71400000
	NoLog         bool   // Served, Overtaken and Poisoned stay empty: for runs of many millions of rows
	Switches      EkuaibaoSwitches
}

// Ekuaibao simulates the ekuaibao API: the location call, tokens, and the log of failed outbound messages. It is an http.Handler.
type Ekuaibao struct {
	*simulator
	// Switches is the standing behaviour.
	Switches Switches[EkuaibaoSwitches]

	appKey, appSecurity, corporation string

	mu     sync.Mutex
	issued int
	tokens map[string]token
}

// token is the span in which an access token is accepted.
type token struct{ from, to time.Time }

// endlessPiece is about how many bytes of an endless answer are written at a time.
const endlessPiece = 32 << 10

// NewEkuaibao returns a simulator that serves nothing yet.
func NewEkuaibao(c EkuaibaoConfig) *Ekuaibao {
	e := &Ekuaibao{
		appKey: or(c.AppKey, DefaultEkuaibaoKey), appSecurity: or(c.AppSecurity, DefaultEkuaibaoSecurity),
		corporation: or(c.CorporationID, "Uq08cj71400000"),
		tokens:      map[string]token{},
	}
	e.simulator = newSimulator(c.Population, ekuaibaoProvider(e.corporation), c.Clock, c.NoLog)
	e.Switches.value = c.Switches
	if c.AccessToken != "" {
		e.tokens[c.AccessToken] = token{to: e.clock().AddDate(100, 0, 0)}
	}
	return e
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// Serve answers requests on l in the background until Close, and returns the base URL.
func (e *Ekuaibao) Serve(l net.Listener) string { return e.serve(l, e) }

// ServeHTTP answers one request.
func (e *Ekuaibao) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.answering.RLock()
	defer e.answering.RUnlock()
	a, ok := e.begin(w, r, r.URL.Path == EkuaibaoLogPath)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	switch {
	case a.fault.Kind == APIError:
		e.fail(a, http.StatusOK, a.fault.Code, a.fault.Body)
	case r.Method == http.MethodGet && r.URL.Path == EkuaibaoLocationPath:
		e.locate(a)
	case r.Method == http.MethodPost && r.URL.Path == EkuaibaoTokenPath:
		e.issue(a)
	case r.Method == http.MethodGet && r.URL.Path == EkuaibaoLogPath:
		e.logs(a)
	default:
		e.fail(a, http.StatusNotFound, "404", "Not Found")
	}
}

// fail answers with an error in the shape of the switches.
func (e *Ekuaibao) fail(a *answer, status int, code, text string) {
	s := e.Switches.Get()
	if s.InnerCode {
		status = http.StatusOK
	}
	number, err := strconv.Atoi(code)
	var shown any = number
	if s.TextCodes || err != nil {
		shown = code
	}
	shape := s.Errors
	if shape == Mixed {
		shape = ErrorCode
		if status == http.StatusForbidden {
			shape = PlainText
		}
	}
	switch shape {
	case CodeMsg:
		a.json(status, map[string]any{"code": shown, "msg": text, "data": nil, "traceId": "0af7651916cd43dd"})
	case NullItems:
		a.json(status, map[string]any{"items": nil, "errorCode": shown, "errorMessage": text})
	case PlainText:
		a.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		a.w.WriteHeader(status)
		_, _ = io.WriteString(a, text)
	default:
		a.json(status, map[string]any{"errorCode": shown, "errorMessage": text, "errorDetails": nil, "code": nil, "data": nil})
	}
}

// locate answers the location call. It knows one company, and of others that there is no value.
func (e *Ekuaibao) locate(a *answer) {
	var value any
	if a.r.URL.Query().Get("corpId") == e.corporation {
		value = or(e.Switches.Get().Location, "http://"+a.r.Host+"/")
	}
	a.json(http.StatusOK, map[string]any{"value": value})
}

// json writes a small JSON answer.
func (a *answer) json(status int, body any) {
	a.w.WriteHeader(status)
	_ = json.NewEncoder(a).Encode(body)
}

// issue answers getAccessToken.
func (e *Ekuaibao) issue(a *answer) {
	var login struct{ AppKey, AppSecurity string }
	if err := json.NewDecoder(io.LimitReader(a.r.Body, 1<<16)).Decode(&login); err != nil {
		e.fail(a, http.StatusBadRequest, "400", "请求参数格式错误")
		return
	}
	if login.AppKey != e.appKey || login.AppSecurity != e.appSecurity {
		e.fail(a, http.StatusForbidden, "403", "密钥无效")
		return
	}
	access, refresh, expires := e.newToken(a.now)
	a.json(http.StatusOK, map[string]any{"value": map[string]any{
		"accessToken": access, "refreshToken": refresh, "expireTime": expires.UnixMilli(), "corporationId": e.corporation,
	}})
}

func (e *Ekuaibao) newToken(now time.Time) (access, refresh string, expires time.Time) {
	s := e.Switches.Get()
	if s.TokenLife <= 0 {
		s.TokenLife = 2 * time.Hour
	}
	if s.OneToken {
		e.RevokeTokens()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.issued++
	r := e.dice("token", uint64(e.issued), 0)
	access = fmt.Sprintf("canary%s:%s_%d", randomID(r, 8), randomID(r, 6), e.issued)
	expires = now.Add(s.TokenLife).Truncate(time.Millisecond)
	e.tokens[access] = token{from: now.Add(s.TokenDelay), to: expires}
	return access, "canary" + randomID(r, 14), expires
}

// RevokeTokens makes every token known so far invalid, the configured one included.
func (e *Ekuaibao) RevokeTokens() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.tokens)
}

// admit checks the token of a query and answers the query itself when it is refused.
func (e *Ekuaibao) admit(a *answer) bool {
	e.mu.Lock()
	t, known := e.tokens[a.r.URL.Query().Get("accessToken")]
	e.mu.Unlock()
	switch {
	case known && !a.now.Before(t.from) && a.now.Before(t.to):
		return true
	case known && !a.now.Before(t.to):
		e.fail(a, http.StatusUnauthorized, "401", "accessToken已过期")
	default:
		e.fail(a, http.StatusForbidden, "403", "未授权")
	}
	return false
}

// logs answers outboundMessageLogs, row by row as they are generated.
func (e *Ekuaibao) logs(a *answer) {
	if a.fault.Kind == Revoke {
		e.RevokeTokens()
	}
	if !e.admit(a) {
		return
	}
	if a.fault.Kind == Endless {
		a.endless()
		return
	}
	params := a.r.URL.Query()
	from, err1 := strconv.ParseInt(params.Get("startDate"), 10, 64)
	to, err2 := strconv.ParseInt(params.Get("endDate"), 10, 64)
	if err1 != nil || err2 != nil {
		e.fail(a, http.StatusBadRequest, "400", "startDate和endDate不能为空且必须为毫秒级时间戳")
		return
	}
	s := e.Switches.Get()
	q := query{
		stream: or(params.Get("messageType"), "flow"), now: a.data, byUpdate: s.ByUpdateTime, desc: s.Order == NewestFirst,
		from: time.UnixMilli(from), to: time.UnixMilli(to).Add(time.Millisecond - 1),
	}
	out := bufio.NewWriter(a)
	_, _ = out.WriteString(`{"items":[`)
	if err := e.writeRows(a, out, e.items(q, s), s.Cap); err != nil {
		panic(http.ErrAbortHandler) // the client is gone, or a placed row cannot be encoded
	}
	_ = out.Flush()
	a.end("]}", func() {})
}

// endless writes the fault's body and repeats its end until the client is gone.
func (a *answer) endless() {
	whole := []byte(or(a.fault.Body, " "))
	piece := whole[len(whole)-min(max(a.fault.After, 1), len(whole)):]
	piece = bytes.Repeat(piece, 1+endlessPiece/len(piece))
	for _, err := a.pass(whole); err == nil && a.r.Context().Err() == nil; {
		_, err = a.pass(piece)
	}
}

// items returns the rows of q in the order of the switches, none for an unknown messageType.
func (e *Ekuaibao) items(q query, s EkuaibaoSwitches) iter.Seq[item] {
	rows := e.rows(q)
	if s.Order != Unordered {
		return rows
	}
	r := rand.New(rand.NewPCG(e.Seed, uint64(q.from.UnixMilli()))) //nolint:gosec // any number will do
	return shuffled(rows, r, 1024, func(_, _ item) bool { return true })
}

func (e *Ekuaibao) writeRows(a *answer, out *bufio.Writer, rows iter.Seq[item], limit int) error {
	for it := range rows {
		if limit > 0 && a.rows == limit {
			break
		}
		fields, entry := e.show(it, a.data)
		raw, err := e.encode(jsonRows{}, fields, &entry)
		if err != nil {
			return err
		}
		if a.rows > 0 {
			_ = out.WriteByte(',')
		}
		if _, err = out.Write(raw); err != nil {
			return err
		}
		a.add(entry)
	}
	return nil
}
