package privacy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"connector/sources"
)

// Action is what a rule does with a field.
type Action string

// The actions of rules.
const (
	ActKeep Action = "keep" // as it is
	ActMask Action = "mask" // as the mode standard masks such a field; where that would keep it, all of it
	ActHash Action = "hash" // hex HMAC-SHA-256 of the value
	ActDrop Action = "drop" // leave it out
)

var actions = []Action{ActKeep, ActMask, ActHash, ActDrop}

// paths are the fields of the channels' sections that a rule may name, and what
// they hold.
var paths = map[string]sources.Kind{
	"sms.recipient": sources.KindRecipient, "sms.text": sources.KindText, "sms.signature": sources.KindNote, "sms.template": sources.KindNote,
	"sms.carrierStatus": sources.KindNote, "sms.failureReason": sources.KindNote, "sms.carrier": sources.KindNote, "sms.region": sources.KindNote,
	"webhook.configurationId": sources.KindPlain, "webhook.configurationName": sources.KindNote, "webhook.nodeId": sources.KindPlain, "webhook.nodeName": sources.KindNote,
	"webhook.request": sources.KindBody, "webhook.response": sources.KindBody,
}

// Rules say what is done with single fields, whatever the mode.
type Rules struct {
	paths map[string]Action // by path, such as "sms.text" or "submail.ip_address"
	keys  map[string]Action // by name of a member at any depth, as appendKey writes it
	given string
}

// Decode reads a comma-separated list of field=action. The error lists every fault.
func (r *Rules) Decode(value string) error {
	*r = Rules{paths: map[string]Action{}, keys: map[string]Action{}, given: value}
	var faults []string
	for item := range strings.SplitSeq(value, ",") {
		if err := r.add(strings.TrimSpace(item)); err != nil {
			faults = append(faults, err.Error())
		}
	}
	if faults != nil {
		return errors.New(strings.Join(faults, "; "))
	}
	return nil
}

func (r *Rules) add(item string) error {
	field, name, ok := strings.Cut(item, "=")
	field, action := strings.TrimSpace(field), Action(strings.ToLower(strings.TrimSpace(name)))
	switch {
	case item == "":
		return errors.New("has an empty item; separate items with one comma")
	case !ok || field == "":
		return fmt.Errorf("%q is no field=action", item)
	case !slices.Contains(actions, action):
		return fmt.Errorf("%q: use keep, mask, hash or drop", item)
	}
	list, key := r.keys, string(appendKey(nil, field))
	if section, rest, isPath := strings.Cut(field, "."); isPath {
		if _, known := paths[field]; !known && (section == "sms" || section == "webhook") {
			return fmt.Errorf("%q is no field; use one of %s, a field of a provider's section such as submail.ip_address, or a bare key", field, strings.Join(slices.Sorted(maps.Keys(paths)), ", "))
		}
		if section == "" || rest == "" || strings.Contains(rest, ".") {
			return fmt.Errorf("%q is no field; within bodies and sections name members by their bare keys", field)
		}
		list, key = r.paths, field
	}
	if key == "" {
		return fmt.Errorf("%q is no field", field)
	}
	if _, twice := list[key]; twice {
		return fmt.Errorf("names %q twice", field)
	}
	list[key] = action
	return nil
}

// String returns the rules as Decode reads them.
func (r Rules) String() string { return r.given }

// IsZero reports whether there are none.
func (r Rules) IsZero() bool { return r.given == "" }

// OfProviders returns the fields of providers' sections that rules name, such as
// submail.ip_address.
func (r Rules) OfProviders() []string {
	var list []string
	for _, path := range slices.Sorted(maps.Keys(r.paths)) {
		if section, _, _ := strings.Cut(path, "."); section != "sms" && section != "webhook" {
			list = append(list, path)
		}
	}
	return list
}

// Accepts describes the values of the type.
func (Rules) Accepts() string {
	return "a list of field=action, where action is keep, mask, hash or drop"
}

// treatment returns what an action does with a field of a kind.
func (a Action) treatment(kind sources.Kind) treatment {
	switch a {
	case ActKeep:
		return keep
	case ActHash:
		return hash
	case ActDrop:
		return drop
	case ActMask:
	}
	switch kind {
	case sources.KindRecipient:
		return recipient
	case sources.KindText:
		return text
	case sources.KindBody:
		return body
	case sources.KindPlain, sources.KindNote:
	}
	return hide
}
