package apisim

import (
	"crypto/md5"  //nolint:gosec // the provider's signature scheme
	"crypto/sha1" //nolint:gosec // the provider's signature scheme
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxRequest      = 1 << 20 // bytes
	timestampWindow = 6       // seconds
)

// apiError is an error of the SUBMAIL API, answered with HTTP 200.
type apiError struct{ code, msg string }

// authorize reads the parameters of a request and verifies its signature. The error is nil for a request to be answered.
func (s *Submail) authorize(a *answer) (map[string]string, *apiError) {
	params, err := readParams(a)
	if err != nil {
		return nil, &apiError{"307", "Incorrect json format, please check vars and link parameters"}
	}
	if params["appid"] != s.appID {
		return nil, &apiError{"101", "Incorrect APP ID"}
	}
	if params["signature"] == "" {
		return nil, &apiError{"111", "Empty signature"}
	}
	switch kind := or(params["sign_type"], "normal"); kind {
	case "normal":
		if params["signature"] != s.appKey {
			return nil, &apiError{"109", "Invalid appkey"}
		}
	case "md5", "sha1":
		if refused := checkTimestamp(params["timestamp"], a.now); refused != nil {
			return nil, refused
		}
		if params["signature"] != sign(kind, s.appID, s.appKey, params) {
			return nil, &apiError{"108", "Invalid signature"}
		}
	default:
		return nil, &apiError{"107", "Invalid sign_type. The sign_type must be set as MD5 or SHA1 or normal"}
	}
	return params, nil
}

func checkTimestamp(given string, now time.Time) *apiError {
	sec, err := strconv.ParseInt(given, 10, 64)
	if err != nil {
		return &apiError{"151", "timestamp error"}
	}
	if off := now.Unix() - sec; off > timestampWindow || off < -timestampWindow {
		return &apiError{"152", "Invalid timestamp"}
	}
	return nil
}

// sign computes the md5 or sha1 signature of a request: over all parameters but signature and tag, sorted, between two times
// appid and key.
func sign(kind, appID, key string, params map[string]string) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if name != "signature" && name != "tag" {
			pairs = append(pairs, name+"="+params[name])
		}
	}
	text := []byte(appID + key + strings.Join(pairs, "&") + appID + key)
	if kind == "md5" {
		sum := md5.Sum(text) //nolint:gosec // the provider's signature scheme
		return hex.EncodeToString(sum[:])
	}
	sum := sha1.Sum(text) //nolint:gosec // the provider's signature scheme
	return hex.EncodeToString(sum[:])
}

// readParams reads the parameters of a form, multipart or JSON body; of a repeated one the first counts.
func readParams(a *answer) (map[string]string, error) {
	r := a.r
	r.Body = http.MaxBytesReader(a.w, r.Body, maxRequest)
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, fmt.Errorf("reading content type: %w", err)
	}
	switch kind {
	case "application/json":
		return readJSON(r)
	case "multipart/form-data":
		err = r.ParseMultipartForm(maxRequest) //nolint:gosec // the body is limited above
	default:
		err = r.ParseForm()
	}
	if err != nil {
		return nil, fmt.Errorf("reading form: %w", err)
	}
	params := map[string]string{}
	for name, values := range r.PostForm {
		params[name] = values[0]
	}
	return params, nil
}

func readJSON(r *http.Request) (map[string]string, error) {
	dec := json.NewDecoder(r.Body)
	dec.UseNumber()
	var body map[string]any
	if err := dec.Decode(&body); err != nil {
		return nil, fmt.Errorf("reading JSON: %w", err)
	}
	params := map[string]string{}
	for name, value := range body {
		switch v := value.(type) {
		case string:
			params[name] = v
		case json.Number:
			params[name] = v.String()
		default:
			return nil, errors.New("a parameter is neither text nor number")
		}
	}
	return params, nil
}
