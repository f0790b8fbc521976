package examples

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"connector/internal/apisim"
	"connector/internal/simrun"
)

// world is a simulated day: the providers, and where the connector publishes it.
type world struct {
	clock     simrun.Clock
	connector string
	vars      []string // that lead to the providers
	answers   answers

	commands  []command
	readers   []string // variables of the examples
	file      string
	brokers   []string
	topic     string
	realKafka bool
}

// set sets a variable of the examples.
func (w *world) set(name, value string) { w.readers = append(w.readers, name+"="+value) }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{connector: simrun.Build(t, "connector/cmd/connector")}
	w.commands = commands(t)
	w.set(pythonVariable, os.Getenv(pythonVariable))
	w.set("STATE", t.TempDir())
	w.set("FLINK_JARS", os.Getenv(flinkVariable))
	hq, otp, alerts := population()
	w.answers = answer(hq, otp, alerts)
	ekuaibao := apisim.NewEkuaibao(apisim.EkuaibaoConfig{Clock: w.clock.Now})
	submail := apisim.NewSubmail(apisim.SubmailConfig{Clock: w.clock.Now})
	other := apisim.NewSubmail(apisim.SubmailConfig{Clock: w.clock.Now, AppID: "10002"})
	t.Cleanup(func() { _, _, _ = ekuaibao.Close(), submail.Close(), other.Close() })
	place := func(add func(...apisim.Row) error, rows []row) {
		for _, r := range rows {
			if err := add(r.placed()); err != nil {
				t.Fatal(err)
			}
		}
	}
	place(ekuaibao.Add, hq)
	place(submail.Add, otp)
	place(other.Add, alerts)
	for i, add := range []func(...apisim.Row) error{ekuaibao.Add, submail.Add, other.Add} { // and what becomes dead letters
		stream := []string{"flow", "sms", "sms"}[i]
		if err := add(apisim.Row{Stream: stream, ID: "poison", Created: midnight.Add(passes[0].Sub(midnight) / 2), Poison: apisim.WrongType}); err != nil {
			t.Fatal(err)
		}
	}
	w.vars = []string{
		"CONNECTOR_SOURCES=hq=ekuaibao,otp=submail,alerts=submail", "CONNECTOR_START=" + midnight.Format("2006-01-02T15:04:05Z"), "CONNECTOR_HTTP_ADDR=127.0.0.1:0",
		"HQ_BASE_URL=" + ekuaibao.Serve(simrun.Listen(t)), "HQ_APP_KEY=" + apisim.DefaultEkuaibaoKey, "HQ_APP_SECURITY=" + apisim.DefaultEkuaibaoSecurity,
		"HQ_MESSAGE_TYPES=flow,message", "HQ_RATE=1000", "HQ_LAG=0s",
		"OTP_BASE_URL=" + submail.Serve(simrun.Listen(t)), "OTP_APP_ID=" + apisim.DefaultSubmailID, "OTP_APP_KEY=" + apisim.DefaultSubmailKey,
		"OTP_MIN_INTERVAL=1ms", "OTP_LAG=0s",
		"ALERTS_BASE_URL=" + other.Serve(simrun.Listen(t)), "ALERTS_APP_ID=10002", "ALERTS_APP_KEY=" + apisim.DefaultSubmailKey,
		"ALERTS_API=sms/log", "ALERTS_MIN_INTERVAL=1ms", "ALERTS_LAG=0s",
	}
	return w
}

// sink is where the connector publishes the day to.
type sink struct {
	name      string
	vars      []string
	meanwhile func(t *testing.T) // called after the first pass; may skip
}

// day lets a connector for each sink publish the day: it reads at each of the passes, then publishes hours of the day
// again, some under the ids that they had, some under ids of their own.
func (w *world) day(t *testing.T, all ...sink) {
	t.Helper()
	data := t.TempDir()
	step := func(name string, do func(t *testing.T, s sink, vars []string)) {
		done := t.Run(name, func(t *testing.T) {
			for _, s := range all {
				t.Run(s.name, func(t *testing.T) {
					t.Parallel()
					do(t, s, slices.Concat(s.vars, w.vars, []string{"CONNECTOR_DATA_DIR=" + filepath.Join(data, s.name)}))
				})
			}
		})
		if !done {
			t.FailNow()
		}
	}
	for i, at := range passes {
		w.clock.Set(at)
		step("read at "+at.Format("15:04"), func(t *testing.T, s sink, vars []string) {
			simrun.Run(t, vars, w.connector, "run", "--once")
			if i == 0 && s.meanwhile != nil {
				s.meanwhile(t)
			}
		})
	}
	hour := func(n int) string { return midnight.Add(time.Duration(n) * time.Hour).Format(time.RFC3339) }
	step("replay", func(t *testing.T, _ sink, vars []string) {
		simrun.Run(t, vars, w.connector, "replay", "--from", hour(2), "--to", hour(4))
		simrun.Run(t, vars, w.connector, "replay", "--from", hour(3), "--to", hour(6), "--new-ids")
	})
}
