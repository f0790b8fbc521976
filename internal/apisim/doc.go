// Package apisim simulates the two provider APIs, speaking real HTTP: ekuaibao's outboundMessageLogs with its token and location calls, and
// SUBMAIL's log/message and sms/log, which show the same rows, with its timestamp service. Tests and the demo read from it; it knows
// nothing of the product.
//
//	sim := apisim.NewSubmail(apisim.SubmailConfig{Population: apisim.Population{Seed: 1, Every: time.Second, Change: 0.5}})
//	url := sim.Serve(listener) // any net.Listener; in a synctest bubble NewPipeListener and its DialContext
//	defer sim.Close()
//
// What exists at a time is a function of the Population, the rows placed with Add, and the clock, which may be injected to be
// skewed or stopped. Served is the log of truth: the record versions that complete answers carried, to be compared with what a
// reader published. It is exact for a reader that has one query of a stream under way at a time.
//
// # Rows
//
//	Population.Every, Limit        how fast rows arrive, and how many
//	Population.Tick                creation times cut to it; above Every it makes ties
//	Population.Late, MaxLate       rows that appear after their creation
//	Population.Change, MaxChange   rows that change: retries and FAILURE → SUCCESS, request → pending → sending → delivered
//	Population.Leave               rows that leave the log after their last change
//	Population.Poison, Row.Poison  MissingID, NotObject, WrongType, Oversize; listed by Poisoned, not by Served
//	                               generated rows hold made-up phone numbers, codes, names, e-mail addresses and identity numbers
//	Add(Row{…})                    rows by hand, with any fields, times and versions; Absent leaves a field out
//
// # Standing behaviour
//
// Set at the start in the configuration, or while serving with sim.Switches.Set(func(s *…Switches) { … }).
//
//	ekuaibao  Order          Unordered (default), OldestFirst, NewestFirst
//	ekuaibao  ByUpdateTime   the window selects by updateTime instead of createTime
//	ekuaibao  Cap            answers silently end after so many rows
//	ekuaibao  TokenLife      lifetime of tokens, 2 h by default; after it 401 with an errorCode
//	ekuaibao  TokenDelay     a token just issued is refused with 403 for so long
//	ekuaibao  OneToken       a new token ends the earlier ones; also RevokeTokens()
//	ekuaibao  InnerCode      errors come in an HTTP 200 answer
//	ekuaibao  Errors         shape of errors: Mixed (default), PlainText, ErrorCode, CodeMsg, NullItems
//	ekuaibao  TextCodes      error codes come as JSON strings
//	ekuaibao  Location       base URL that the location call gives; by default the one it was sent to. null for unknown companies
//	both      Gzip           answers are compressed, for clients that take gzip: sim.Gzip.Store(true)
//	SUBMAIL   MinInterval    a query too soon gets the previous complete answer of either call again, with its foreign echo
//	SUBMAIL   ClampRows      every rows parameter counts as invalid: 50
//	SUBMAIL   CountTotal     log/message: count is the total instead of the rows on the page
//	SUBMAIL   Descending     sms/log: the newest rows come first; ascending by default
//	SUBMAIL   Unordered      sms/log: rows come in no order, the same for the same window
//	SUBMAIL   Pending        sms/log: any status before delivered and dropped is pending, as documented
//	SUBMAIL   UnknownMethod  a host that does not have the call of this path
//	SUBMAIL   ShuffleTies    rows of one second change places from request to request
//	SUBMAIL   Padded         spaces around the text of all XML elements (errors always have them)
//	SUBMAIL   BOM            a UTF-8 byte order mark leads JSON
//	SUBMAIL   Quoted         numbers come as JSON strings
//	SUBMAIL   NumericCodes   error codes come as JSON numbers
//	SUBMAIL   ErrorStatus    HTTP status of errors, 200 by default; the hosts of sms/log document 400
//	SUBMAIL   Config.Zone    IANA zone of the local times, Asia/Shanghai by default
//
// # Faults
//
// One per answer, from sim.Faults: Hook (a function asked for each request), Queue (the next queries of the log), Random (a
// seeded share of them).
//
//	HTTPStatus  Status, Body, RetryAfter  any HTTP error, 429 with Retry-After in seconds or as a date
//	HTMLPage                              200 with a web page
//	APIError    Code, Body                200 with the API's own error body
//	Reset       After                     connection reset after so many bytes of the body; 0: instead of an answer
//	Truncate    After                     connection closed in the middle of the body
//	Cut         After                     body ends early in an HTTP answer that is complete
//	Slow        Delay, After              a wait before the header and before each After bytes
//	Drip        Delay                     200 and spaces without end, one after each Delay
//	Redirect    Status, Location          302, or another status, to a URL or a path
//	Stale       Delay                     the data of a while ago
//	Revoke                                all ekuaibao tokens revoked, this request's too
//	Endless     Body, After               ekuaibao: a 200 answer of Body, the last After bytes of which never end
//
// sim.Freeze() ends the world: nothing new is shown any more, so that a reader catches up with what it was served. sim.End() only
// ends the arrival of rows; Timelines lists all that answers may then have shown, also to a client that died with them.
//
// # Signatures
//
// A test has vectors, of which SUBMAIL's own Go client gives the same. The client on PyPI, submail 0.4, is no further witness: it
// computes no signature but sends the one it is given. With the key as signature (sign_type normal) it reads log/message from this
// simulator, and is refused with 109 for another key.
package apisim
