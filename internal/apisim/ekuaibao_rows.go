package apisim

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// ekuaibaoProvider returns the names and rows of ekuaibao's log of failed outbound messages.
func ekuaibaoProvider(corporation string) provider {
	return provider{
		system: "ekuaibao", streams: MessageTypes(), defaultStream: "flow", tick: time.Millisecond, maxChanges: 4,
		json: jsonRows{}, idField: "id", timeField: "createTime", bulkField: "request",
		shortKey: "version", longKey: []string{"version", "updateTime", "state", "active"},
		order: []string{
			"name", "messageId", "flowId", "dataLinkId", "messageCenterConfigId", "repaymentApplyId", "nodeName", "nodeId", "request",
			"response", "state", "id", "type", "version", "active", "createTime", "updateTime", "corporationId", "messageType",
		},
		fields: func(r *rand.Rand, it item, v int) Fields { return ekuaibaoFields(r, it, v, corporation) },
		fill: func(f Fields, id string, it item, v int) {
			f["id"], f["messageType"], f["version"], f["state"] = id, it.stream, v+1, "FAILURE"
			f["createTime"], f["updateTime"] = it.created.UnixMilli(), it.versions[v].UnixMilli()
		},
	}
}

// ekuaibaoFields builds one row. Automatic retries make versions that stay FAILURE; the last of several may be a SUCCESS.
// One row in eight has the shape of an older one, without the fields that came later.
func ekuaibaoFields(r *rand.Rand, it item, v int, corporation string) Fields {
	n := r.IntN(100)
	f := Fields{
		"name": "出站消息" + string(rune('A'+n%26)), "messageId": "HMo" + randomID(r, 11), "flowId": "", "dataLinkId": "",
		"messageCenterConfigId": nil, "repaymentApplyId": nil, "nodeName": "", "nodeId": nil,
		"request": ekuaibaoRequest(r, it.stream), "response": ekuaibaoResponse(r, v),
		"state": "FAILURE", "id": uniqueID(it, r), "type": "INVOKING", "version": v + 1, "active": true,
		"createTime": it.created.UnixMilli(), "updateTime": it.versions[v].UnixMilli(),
		"corporationId": corporation, "messageType": it.stream,
	}
	if v > 0 && v == len(it.versions)-1 && n%2 == 0 {
		f["state"] = "SUCCESS"
	}
	if n%10 == 3 {
		f["type"] = "CALLBACK"
	}
	own := randomID(r, 14)
	switch it.stream {
	case "flow", "message", "InternalMessage":
		f["flowId"], f["nodeName"] = own, "节点"+string(rune('A'+n%7))
		f["nodeId"] = fmt.Sprintf("%08X-8D15-43BB-B449-%012X", r.Uint32(), r.Uint64()>>16)
	case "dataLink":
		f["dataLinkId"] = own
	case "message_center":
		f["messageCenterConfigId"] = own
	case "repayment":
		f["repaymentApplyId"] = own
	}
	if n%8 == 0 {
		for _, name := range []string{"messageCenterConfigId", "repaymentApplyId", "type", "messageId", "dataLinkId", "nodeId"} {
			delete(f, name)
		}
	}
	return f
}

// ekuaibaoRequest draws what was sent: any JSON, personal data and integers beyond 2^53 included.
func ekuaibaoRequest(r *rand.Rand, stream string) any {
	phone := fmt.Sprintf("138%08d", r.IntN(1e8))
	switch r.IntN(8) {
	case 0:
		return nil
	case 1:
		return "action=" + stream + "&phone=" + phone + "&note=<b>重试</b>"
	case 2:
		return []any{phone, 1.5, true, nil}
	case 3:
		return json.Number("9007199254740993")
	default:
		return map[string]any{
			"action": stream, "staff": map[string]any{"realName": "张三", "phone": phone, "email": "staff@example.com", "身份证": "11010519491231002X"},
			"serial": json.Number("1234567890123456789"), "remark": strings.Repeat("备注", r.IntN(20)),
		}
	}
}

// ekuaibaoResponse draws what came back at the v-th attempt; an HTTP 200 does not make it a success.
func ekuaibaoResponse(r *rand.Rand, v int) any {
	switch (r.IntN(6) + v) % 6 {
	case 0:
		return nil
	case 1:
		return "<html><body>502 Bad Gateway</body></html>"
	case 2:
		return false
	default:
		return map[string]any{"status": 200, "code": "E500", "message": "timeout after 3000 ms", "attempt": v + 1}
	}
}

const idLetters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// randomID draws n letters and digits.
func randomID(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = idLetters[r.IntN(len(idLetters))]
	}
	return string(b)
}

// uniqueID returns an id no other generated row of the stream has.
func uniqueID(it item, r *rand.Rand) string { return fmt.Sprintf("%s%07x", randomID(r, 7), it.number) }
