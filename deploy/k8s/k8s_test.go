// Package k8s holds the manifests; its tests check what schemas cannot: that
// the program accepts the environment the pods get.
package k8s

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"connector/internal/config"
	"connector/sinks/kafka"
	"connector/sinks/nats"
	"connector/sources/ekuaibao"
	"connector/sources/submail"
)

// secretDir is where base/deployment.yaml mounts the Secret.
const secretDir = "/etc/connector/secrets/"

var (
	assignment = regexp.MustCompile(`(?m)^([A-Z_]+)=(.*)$`)
	commented  = regexp.MustCompile(`(?m)^# ([A-Z_]+=)`)
	imageEnv   = regexp.MustCompile(`(CONNECTOR_[A-Z_]+)=(\S+)`)
)

func catalog() config.Catalog {
	return config.Catalog{
		Sources: map[string]config.Source{"ekuaibao": source(ekuaibao.NewConfig), "submail": source(submail.NewConfig)},
		Sinks:   map[string]config.Sink{"kafka": sink(kafka.NewConfig), "nats": sink(nats.NewConfig)},
	}
}

func source[C config.AccountConfig](section func() C) config.Source {
	return config.Source{New: func() config.AccountConfig { return section() }}
}

func sink[C config.Section](section func() C) config.Sink {
	return config.Sink{New: func() config.Section { return section() }}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// podEnvironment merges the variables of the image, the base and an overlay's file.
func podEnvironment(t *testing.T, overlay string) map[string]string {
	t.Helper()
	env := map[string]string{}
	for _, pair := range imageEnv.FindAllStringSubmatch(read(t, "../../Dockerfile"), -1) {
		env[pair[1]] = pair[2]
	}
	for _, pair := range assignment.FindAllStringSubmatch(read(t, "base/connector.env")+"\n"+overlay, -1) {
		env[pair[1]] = pair[2]
	}
	return env
}

// mountSecrets writes the files that env names below secretDir to a folder, and
// returns env as a list with their new paths, and the keys of the Secret.
func mountSecrets(t *testing.T, env map[string]string) (environ, keys []string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range slices.Sorted(maps.Keys(env)) {
		value := env[name]
		if key, ok := strings.CutPrefix(value, secretDir); ok {
			value = filepath.Join(dir, key)
			keys = append(keys, key)
			if err := os.WriteFile(value, []byte("x\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		environ = append(environ, name+"="+value)
	}
	return environ, keys
}

func TestProgramAcceptsOverlays(t *testing.T) {
	deployment, docs := read(t, "base/deployment.yaml"), read(t, "../../docs/kubernetes.md")
	if mount := "mountPath: " + strings.TrimSuffix(secretDir, "/"); !strings.Contains(deployment, mount) {
		t.Fatalf("deployment.yaml has no %s", mount)
	}
	for _, name := range []string{"kafka", "nats"} {
		overlay := read(t, filepath.Join("overlays", name, name+".env"))
		for variant, overlay := range map[string]string{
			"as is":           overlay,
			"all uncommented": commented.ReplaceAllString(overlay, "$1"),
		} {
			t.Run(name+"/"+variant, func(t *testing.T) {
				environ, keys := mountSecrets(t, podEnvironment(t, overlay))
				cfg, err := config.Load(environ, catalog())
				if err != nil {
					t.Fatal(err)
				}
				if cfg.Connector.Sink != name || len(cfg.Warnings) > 0 {
					t.Errorf("got sink %s and warnings %q, want %s and none", cfg.Connector.Sink, cfg.Warnings, name)
				}
				for _, key := range keys {
					if !strings.Contains(docs, key) {
						t.Errorf("docs/kubernetes.md does not name the key %s of the Secret", key)
					}
				}
			})
		}
	}
}
