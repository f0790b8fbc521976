package schematest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// JSON draws any JSON but null, nested to levels at most, as text.
func JSON(levels int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string { return drawJSON(t, levels) })
}

func drawJSON(t *rapid.T, levels int) string {
	kinds := 2
	if levels > 0 {
		kinds = 4
	}
	var parts []string
	switch rapid.IntRange(0, kinds).Draw(t, "kind") {
	case 0:
		return rapid.StringMatching(`-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?`).Draw(t, "number")
	case 1:
		return quote(rapid.String().Draw(t, "text"))
	case 2:
		return rapid.SampledFrom([]string{"true", "false"}).Draw(t, "boolean")
	case 3:
		for range rapid.IntRange(0, 4).Draw(t, "elements") {
			parts = append(parts, drawJSON(t, levels-1))
		}
		return "[ " + strings.Join(parts, " , ") + "]"
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "members") {
		parts = append(parts, fmt.Sprintf(`"k%d" : `, i)+drawJSON(t, levels-1))
	}
	return "{" + strings.Join(parts, ",") + " }"
}

// odd are values that are no field's own, or hardly.
var odd = []string{
	`null`, `""`, `" "`, `"\ud800"`, `"\u0000"`, `0`, `-0`, `-1`, `1e400`, `-1e400`, `1e-400`, `9007199254740993`, `9223372036854775808`, `253402300800000`,
	`"9999-12-31 23:59:59"`, `"0000-00-00 00:00:00"`, `{"a":1,"a":2}`, `"delivered"`, `"SUCCESS"`,
}

// strange are names that events use, and that a provider may use for other things.
var strange = []string{
	"schemaVersion", "source", "record", "channel", "status", "providerStatus", "createdAt", "replay", "privacy", "webhook", "sms", "raw", "rawBase64",
	"recipient", "recipientHash", "text", "credits", "sentAt", "reportedAt", "direction", "request", "ekuaibao", "submail", "api", "appid", "type", "active",
	"sent_at", "report_at", "send_date", "sent_date", "ip_address", "flowId", "", "字段",
}

// CheckRows is [rapid.Check] with a row of a provider, as [Row] draws it. It
// draws more than is usual: a row that breaks a rule is rare.
func CheckRows(t *testing.T, fields map[string]string, check func(t *rapid.T, row string)) {
	t.Helper()
	for range 5 {
		rapid.Check(t, func(t *rapid.T) { check(t, Row(fields).Draw(t, "row")) })
	}
}

// Row draws a row of a provider, as text: fields are its own and their values
// as given. A few are absent, or given again with a value of any type, null
// included, and some rows have fields of other names.
func Row(fields map[string]string) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		var members []string
		absent := rapid.SliceOfNDistinct(rapid.SampledFrom(slices.Sorted(maps.Keys(fields))), 0, 3, rapid.ID).Draw(t, "absent")
		for name, value := range fields {
			if !slices.Contains(absent, name) {
				members = append(members, quote(name)+":"+value)
			}
		}
		slices.Sort(members)
		names := rapid.OneOf(rapid.SampledFrom(slices.Sorted(maps.Keys(fields))), rapid.SampledFrom(strange), rapid.String())
		for range rapid.IntRange(0, 3).Draw(t, "others") { // the last of a name counts
			value := rapid.OneOf(rapid.SampledFrom(odd), JSON(2)).Draw(t, "value")
			members = append(members, quote(names.Draw(t, "name"))+":"+value)
		}
		if rapid.Bool().Draw(t, "in order") {
			return "{" + strings.Join(members, ",") + "}"
		}
		return "{" + strings.Join(rapid.Permutation(members).Draw(t, "order"), ",") + "}"
	})
}

func quote(text string) string {
	quoted, _ := json.Marshal(text) // a string always encodes
	return string(quoted)
}
