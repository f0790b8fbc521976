//go:build unix

package chaos

import (
	"net"
	"testing"
	"time"

	"connector/internal/apisim"
)

// Rows of the providers show and change for so long after their creation.
const (
	maxLate   = time.Second
	maxChange = 4 * time.Second
)

var messageTypes = []string{"flow", "message"}

// world is the two simulated providers.
type world struct {
	ekuaibao *apisim.Ekuaibao
	submail  *apisim.Submail
	vars     []string // of a connector that reads them
}

// startWorld serves providers whose rows arrive until they are told to end.
func startWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	population := apisim.Population{
		Seed: seed, Start: time.Now().Add(-20 * time.Second), Every: 100 * time.Millisecond,
		Late: 0.3, MaxLate: maxLate, Change: 0.6, MaxChange: maxChange, Poison: 0.02, PoisonBytes: 100_000,
	}
	w := &world{
		ekuaibao: apisim.NewEkuaibao(apisim.EkuaibaoConfig{Population: population}),
		submail:  apisim.NewSubmail(apisim.SubmailConfig{Population: population}),
	}
	t.Cleanup(func() { _, _ = w.ekuaibao.Close(), w.submail.Close() })
	w.vars = []string{
		"CONNECTOR_SOURCES=hq=ekuaibao,otp=submail", "CONNECTOR_START=1h", "CONNECTOR_HTTP_ADDR=127.0.0.1:0", "CONNECTOR_PRIVACY_KEY=" + privacyKey, "TZ=UTC",
		"HQ_BASE_URL=" + w.ekuaibao.Serve(listen(t)), "HQ_APP_KEY=" + apisim.DefaultEkuaibaoKey, "HQ_APP_SECURITY=" + apisim.DefaultEkuaibaoSecurity,
		"HQ_MESSAGE_TYPES=flow,message", "HQ_POLL_INTERVAL=200ms", "HQ_RATE=1000", "HQ_LAG=0s", "HQ_LATENESS=3s", "HQ_GIVE_UP=6h", "HQ_MAX_ROW_BYTES=64KiB",
		"OTP_BASE_URL=" + w.submail.Serve(listen(t)), "OTP_APP_ID=" + apisim.DefaultSubmailID, "OTP_APP_KEY=" + apisim.DefaultSubmailKey,
		"OTP_POLL_INTERVAL=200ms", "OTP_MIN_INTERVAL=1ms", "OTP_LAG=1s", "OTP_LATENESS=3s", "OTP_GIVE_UP=6h", "OTP_MAX_ROW_BYTES=64KiB",
	}
	return w
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// end lets no more rows arrive and returns when the last one will change no more.
func (w *world) end() {
	w.ekuaibao.End()
	w.submail.End()
	time.Sleep(max(maxLate, maxChange) + time.Second) // SUBMAIL's times are in seconds
}

// truth returns what the providers had.
func (w *world) truth(t *testing.T) *truth {
	t.Helper()
	tr := newTruth()
	add := func(list []apisim.Timeline, err error) {
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range list {
			tr.add(row)
		}
	}
	for _, stream := range messageTypes {
		add(w.ekuaibao.Timelines(stream))
	}
	add(w.submail.Timelines("sms"))
	return tr
}
