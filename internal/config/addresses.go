package config

import (
	"cmp"
	"encoding/base64"
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"connector/internal/secret"
)

// The addresses among the types of variables.

// URL is the base of an HTTP API, without a trailing slash.
type URL string

// Decode reads an http or https URL without user, query and fragment.
func (u *URL) Decode(value string) error {
	parsed, err := url.Parse(value)
	switch {
	case err != nil, parsed.Scheme != "http" && parsed.Scheme != "https", parsed.Hostname() == "":
		return errors.New("use " + u.Accepts())
	case parsed.User != nil:
		return errors.New("must not hold a user or password")
	case parsed.RawQuery != "" || parsed.ForceQuery || strings.Contains(value, "#"):
		return errors.New("must not hold a query or fragment (? or #)")
	}
	*u = URL(strings.TrimRight(parsed.String(), "/"))
	return nil
}

// Accepts describes the values of the type.
func (URL) Accepts() string { return "a URL that begins with https:// or http://" }

// Proxy is the URL of a proxy, or none. Its user and password are secret: it
// prints without them. The zero value leaves the choice to the environment.
type Proxy struct {
	shown string // the URL, the user masked; or none
	url   secret.String
}

const noProxy = "none"

// Decode reads an http, https or socks5 URL without path, query and fragment, or none.
func (p *Proxy) Decode(value string) error {
	if strings.EqualFold(value, noProxy) {
		*p = Proxy{shown: noProxy}
		return nil
	}
	u, err := url.Parse(value)
	switch {
	case err != nil, !slices.Contains([]string{"http", "https", "socks5"}, u.Scheme), u.Hostname() == "",
		u.Path != "" && u.Path != "/", u.RawQuery != "" || u.ForceQuery, strings.Contains(value, "#"):
		return errors.New("use " + p.Accepts() + ", special characters of user and password percent-encoded")
	}
	shown := u.Scheme + "://"
	if u.User != nil {
		shown += secret.Mask + "@"
	}
	*p = Proxy{shown: shown + u.Host, url: secret.New(u.String())}
	return nil
}

// IsZero reports whether nothing was given.
func (p Proxy) IsZero() bool { return p.shown == "" }

// URL returns the proxy, nil for none. It may hold a password.
func (p Proxy) URL() *url.URL {
	u, err := url.Parse(p.url.Reveal())
	if err != nil || p.url.IsZero() {
		return nil
	}
	return u
}

// Secrets returns what must not be shown: the password, or the user when there
// is none, and both as they are sent to the proxy.
func (p Proxy) Secrets() []secret.String {
	u := p.URL()
	if u == nil || u.User == nil {
		return nil
	}
	password, _ := u.User.Password()
	sent := base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
	return []secret.String{secret.New(cmp.Or(password, u.User.Username())), secret.New(sent)}
}

// String returns what Decode reads, with the user masked.
func (p Proxy) String() string { return p.shown }

// Accepts describes the values of the type.
func (Proxy) Accepts() string {
	return "none, or a URL such as http://proxy:3128, https://proxy or socks5://proxy:1080"
}

// ListenAddr is the host:port a server listens on; without a host it listens on every interface.
type ListenAddr string

// Decode reads host:port, where port may be 0 for any free port.
func (a *ListenAddr) Decode(value string) error {
	if _, err := splitHostPort(value, 0); err != nil {
		return errors.New("use " + a.Accepts())
	}
	*a = ListenAddr(value)
	return nil
}

// Accepts describes the values of the type.
func (ListenAddr) Accepts() string { return "host:port such as 127.0.0.1:8080 or :8080" }

// HostPorts is a list of servers, each host:port.
type HostPorts []string

// Decode reads a comma-separated list.
func (h *HostPorts) Decode(value string) error {
	items, err := SplitList(value)
	if err != nil {
		return err
	}
	for _, item := range items {
		if host, err := splitHostPort(item, 1); err != nil || host == "" {
			return errors.New("use " + h.Accepts())
		}
	}
	*h = items
	return nil
}

// String returns the list as Decode reads it.
func (h HostPorts) String() string { return strings.Join(h, ",") }

// Accepts describes the values of the type.
func (HostPorts) Accepts() string { return "a list such as broker-1:9092,broker-2:9092" }

func splitHostPort(value string, lowest uint64) (host string, err error) {
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		return "", err
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n < lowest || strings.ContainsAny(host, " /@") {
		return "", errors.New("not a host and port")
	}
	return host, nil
}
