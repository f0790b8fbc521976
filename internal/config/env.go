package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"text/template"
	"time"

	"github.com/kelseyhightower/envconfig"

	"connector/internal/secret"
)

// This file closes what envconfig lacks: values from files, all faults at
// once and without values, empty variables, unknown variables.

// field is one variable of a section.
type field struct {
	key, def, desc string
	value          any
}

// fields lists the variables of spec, a pointer to a struct, with its present values.
func fields(prefix string, spec any) []field {
	var list []field
	add := func(key string, value any, def, desc string) string {
		list = append(list, field{key, def, desc, value})
		if def == "" {
			list[len(list)-1].def = text(value)
		}
		return ""
	}
	tmpl := template.Must(template.New("").Funcs(template.FuncMap{"add": add}).Parse(
		`{{range .}}{{add .Key .Field.Interface (.Tags.Get "default") (.Tags.Get "desc")}}{{end}}`))
	if err := envconfig.Usaget(prefix, spec, io.Discard, tmpl); err != nil {
		panic(fmt.Sprintf("config: section %s, %T: %v", prefix, spec, err)) // a mistake in the catalog
	}
	return list
}

// text returns a value as a user writes it.
func text(value any) string {
	s := fmt.Sprint(value)
	if _, ok := value.(time.Duration); !ok {
		return s
	}
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

// accepts describes the values a variable takes.
func accepts(value any) string {
	switch v := value.(type) {
	case interface{ Accepts() string }:
		return v.Accepts()
	case interface{ Choices() []string }:
		return orList(v.Choices())
	case secret.String:
		return "text, kept secret"
	case string:
		return "text"
	case bool:
		return "true or false"
	case int:
		return "a whole number"
	case float64:
		return "a number"
	case time.Duration:
		return "a duration such as 30s, 5m or 72h"
	case slog.Level:
		return "debug, info, warn or error"
	default:
		panic(fmt.Sprintf("config: %T needs a method Accepts or Choices", v)) // a mistake in the catalog
	}
}

// resolve returns the values given for fields and, for those read from a file, its path.
func resolve(env map[string]string, list []field, faults *Faults) (values, files map[string]string) {
	values, files = map[string]string{}, map[string]string{}
	for _, f := range list {
		value, path := env[f.key], env[f.key+"_FILE"]
		switch {
		case value != "" && path != "":
			faults.refuse(f.key, f.key, "set either this or "+f.key+"_FILE, not both")
			continue
		case path != "":
			content, err := readSmall(path)
			value = strings.TrimRight(string(content), "\r\n")
			if err == nil && value == "" {
				err = errors.New("the file is empty")
			}
			if err != nil {
				faults.refuse(f.key, f.key+"_FILE", "cannot be read: "+err.Error())
				continue
			}
			files[f.key] = path
		}
		if strings.Contains(value, "\x00") {
			faults.refuse(f.key, f.key, "holds a NUL byte")
		} else if value != "" {
			values[f.key] = value
		}
	}
	return values, files
}

// environment guards the variables of the process while process replaces them.
var environment sync.Mutex

// process fills spec from values. Meanwhile the process environment holds
// exactly values, as far as spec's variables go: envconfig reads nothing else.
func process(prefix string, spec any, list []field, values map[string]string, faults *Faults) {
	environment.Lock()
	defer environment.Unlock()
	for _, f := range list {
		old, had := os.LookupEnv(f.key)
		defer setEnv(f.key, old, had)
		value, given := values[f.key]
		setEnv(f.key, value, given)
	}
	for {
		err := envconfig.Process(prefix, spec)
		if err == nil {
			return
		}
		parse, ok := errors.AsType[*envconfig.ParseError](err)
		if !ok || faults.unread[parse.KeyName] {
			panic(fmt.Sprintf("config: section %s, %T: %v", prefix, spec, err)) // a mistake in the catalog
		}
		i := slices.IndexFunc(list, func(f field) bool { return f.key == parse.KeyName })
		faults.refuse(parse.KeyName, parse.KeyName, refusal(list[i].value, parse.Err))
		setEnv(parse.KeyName, "", false)
	}
}

// setEnv sets or unsets a variable of the process. It cannot fail: key is a
// Go identifier and value holds no NUL byte.
func setEnv(key, value string, set bool) {
	if set {
		_ = os.Setenv(key, value)
	} else {
		_ = os.Unsetenv(key)
	}
}

// refusal says why a variable of value's type could not be decoded. Errors
// about Go's own types hold what was given, ours do not.
func refusal(value any, err error) string {
	switch value.(type) {
	case bool, int, float64, time.Duration, slog.Level:
		return "use " + accepts(value)
	default:
		return err.Error()
	}
}

var (
	// https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables
	serviceLink = regexp.MustCompile(`_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`)
	serviceURL  = regexp.MustCompile(`^(tcp|udp|sctp)://`)
)

// isServiceLink reports whether Kubernetes sets such a variable for each service.
func isServiceLink(name, value string) bool {
	return serviceLink.MatchString(name) || strings.HasSuffix(name, "_PORT") && serviceURL.MatchString(value)
}

// owner returns the longest of prefixes that name lies under, or "".
func owner(name string, prefixes map[string]policy) string {
	longest := ""
	for prefix := range prefixes {
		if strings.HasPrefix(name, prefix+"_") && len(prefix) > len(longest) {
			longest = prefix
		}
	}
	return longest
}

// suggest returns the variable of known under prefix that name is probably meant to be, or "".
func suggest(name, prefix string, known map[string]bool) string {
	base, isFile := strings.CutSuffix(name, "_FILE")
	best, limit := "", max(2, (len(base)-len(prefix)-1)/3)
	for _, k := range slices.Sorted(maps.Keys(known)) {
		if d := distance(base, k); strings.HasPrefix(k, prefix+"_") && d <= limit {
			best, limit = k, d-1
		}
	}
	if best != "" && isFile {
		best += "_FILE"
	}
	return best
}

// distance is the Levenshtein distance of two ASCII strings.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
