package schematest_test

import (
	"strings"
	"testing"

	"connector/schema"
	"connector/schema/schematest"
)

// TestClosed wants undescribed fields refused by the closed form only, and but for what is any JSON.
func TestClosed(t *testing.T) {
	released, err := schema.NewValidator(schema.Released().Newest().Event)
	if err != nil {
		t.Fatal(err)
	}
	const whole = `{"schemaVersion":"1.0","source":{"system":"submail","account":"otp","stream":"sms"},"record":{"id":"1","revision":1,"terminal":true},` +
		`"channel":"sms","status":"delivered","providerStatus":"","createdAt":"2015-01-19T07:21:27Z","observedAt":"2015-01-19T07:23:00Z","privacy":"off",` +
		`"webhook":{"request":{},"nodeId":"n"},"sms":{"length":1},"submail":{"api":"x"}}`
	for old, tt := range map[string]struct {
		added string
		open  bool
	}{
		`{"schemaVersion"`: {`{"x":1,"schemaVersion"`, false},
		`"source":{`:       {`"source":{"x":1,`, false},
		`"record":{`:       {`"record":{"x":1,`, false},
		`"webhook":{`:      {`"webhook":{"x":1,`, false},
		`"sms":{`:          {`"sms":{"x":1,`, false},
		`"request":{`:      {`"request":{"x":1`, true},
		`"submail":{`:      {`"submail":{"x":1,`, true},
		`"system":"submail","account":"otp","stream":"sms"},`: {`"system":"pigeon","account":"otp","stream":"sms"},"pigeon":{"x":1},`, true},
	} {
		body := []byte(strings.Replace(whole, old, tt.added, 1))
		if err := released.Validate(body); err != nil {
			t.Errorf("released form: %v: %s", err, body)
		}
		if err := schematest.Event(body); (err == nil) != tt.open {
			t.Errorf("got %v, want it to pass %v: %s", err, tt.open, body)
		}
	}
}
