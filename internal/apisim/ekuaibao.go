package apisim

import (
	"bufio"
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
	EkuaibaoTokenPath = "/api/openapi/v1/auth/getAccessToken" //nolint:gosec // a path, no credential
	EkuaibaoLogPath   = "/api/openapi/v1/outboundMessageLogs"
)

// Credentials an Ekuaibao accepts where its configuration names none.
const (
	DefaultEkuaibaoKey      = "demo-app-key"
	DefaultEkuaibaoSecurity = "demo-app-security"
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
	InnerCode    bool          // token errors come as errorCode in an HTTP 200 answer
}

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

// Ekuaibao simulates the ekuaibao API: tokens and the log of failed outbound messages. It is an http.Handler.
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
		code, _ := strconv.Atoi(a.fault.Code)
		a.json(http.StatusOK, map[string]any{"errorCode": code, "errorMessage": a.fault.Body})
	case r.Method == http.MethodPost && r.URL.Path == EkuaibaoTokenPath:
		e.issue(a)
	case r.Method == http.MethodGet && r.URL.Path == EkuaibaoLogPath:
		e.logs(a)
	default:
		a.json(http.StatusNotFound, map[string]any{"errorCode": 404, "errorMessage": "Not Found"})
	}
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
		a.refuse(Fault{Status: http.StatusBadRequest, Body: "请求参数格式错误"})
		return
	}
	if login.AppKey != e.appKey || login.AppSecurity != e.appSecurity {
		a.refuse(Fault{Status: http.StatusForbidden, Body: "密钥无效"})
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
	access = fmt.Sprintf("%s:%s_%d", randomID(r, 8), randomID(r, 6), e.issued)
	expires = now.Add(s.TokenLife).Truncate(time.Millisecond)
	e.tokens[access] = token{from: now.Add(s.TokenDelay), to: expires}
	return access, randomID(r, 14), expires
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
	inner := e.Switches.Get().InnerCode
	switch {
	case known && !a.now.Before(t.from) && a.now.Before(t.to):
		return true
	case inner:
		a.json(http.StatusOK, map[string]any{"errorCode": 403, "errorMessage": "未授权"})
	case known && !a.now.Before(t.to):
		a.json(http.StatusUnauthorized, map[string]any{"errorCode": 401, "errorMessage": "accessToken已过期"})
	default:
		a.refuse(Fault{Status: http.StatusForbidden, Body: "未授权"})
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
	params := a.r.URL.Query()
	from, err1 := strconv.ParseInt(params.Get("startDate"), 10, 64)
	to, err2 := strconv.ParseInt(params.Get("endDate"), 10, 64)
	if err1 != nil || err2 != nil {
		a.json(http.StatusBadRequest, map[string]any{"errorCode": 400, "errorMessage": "startDate和endDate不能为空且必须为毫秒级时间戳"})
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
