package nats

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"connector/internal/config"
	"connector/internal/fault"
)

// loginOption returns the one configured way to log in. Key material is read
// anew for each connection.
func loginOption(cfg *Config) (natsio.Option, error) {
	switch {
	case !cfg.Creds.IsZero():
		return credsOption(cfg.Creds), nil
	case !cfg.Nkey.IsZero():
		return nkeyOption(cfg.Nkey)
	case !cfg.Token.IsZero():
		return natsio.Token(cfg.Token.Reveal()), nil
	case cfg.User != "":
		return natsio.UserInfo(cfg.User, cfg.Password.Reveal()), nil
	}
	return func(*natsio.Options) error { return nil }, nil
}

func credsOption(creds config.FileOrText) natsio.Option {
	jwt := func() (string, error) {
		content, err := creds.Bytes()
		if err != nil {
			return "", fmt.Errorf("reading NATS_CREDS: %w", err)
		}
		return nkeys.ParseDecoratedJWT(content)
	}
	sign := func(nonce []byte) ([]byte, error) {
		content, err := creds.Bytes()
		if err != nil {
			return nil, fmt.Errorf("reading NATS_CREDS: %w", err)
		}
		key, err := nkeys.ParseDecoratedUserNKey(content)
		if err != nil {
			return nil, err
		}
		defer key.Wipe()
		return key.Sign(nonce)
	}
	return natsio.UserJWT(jwt, sign)
}

func nkeyOption(nkey Nkey) (natsio.Option, error) {
	key := func() (nkeys.KeyPair, error) {
		content, err := nkey.Bytes()
		if err != nil {
			return nil, fmt.Errorf("reading NATS_NKEY: %w", err)
		}
		return nkeys.ParseDecoratedNKey([]byte(strings.TrimSpace(string(content))))
	}
	pair, err := key()
	if err != nil {
		return nil, fault.Fatal(fmt.Errorf("reading NATS_NKEY: %w", err), "give the seed of a user, SU…, or a file that holds it")
	}
	defer pair.Wipe()
	public, err := pair.PublicKey()
	if err != nil || !nkeys.IsValidPublicUserKey(public) {
		return nil, fault.Fatal(errors.New("NATS_NKEY is not the seed of a user"), "give the seed of a user, SU…, or a file that holds it")
	}
	return natsio.Nkey(public, func(nonce []byte) ([]byte, error) {
		pair, err := key()
		if err != nil {
			return nil, err
		}
		defer pair.Wipe()
		return pair.Sign(nonce)
	}), nil
}

// tlsOption verifies servers against NATS_CA and shows NATS_CERT. Without
// either, TLS is used where NATS_URL or the server asks for it.
func tlsOption(cfg *Config) (natsio.Option, error) {
	var certificate natsio.TLSCertHandler
	var roots natsio.RootCAsHandler
	if !cfg.Cert.IsZero() {
		certificate = func() (tls.Certificate, error) { return clientCertificate(cfg) }
		if _, err := certificate(); err != nil {
			return nil, fault.Fatal(err, tlsRemedy)
		}
	}
	if !cfg.CA.IsZero() {
		roots = func() (*x509.CertPool, error) { return rootCertificates(cfg) }
		if _, err := roots(); err != nil {
			return nil, fault.Fatal(err, tlsRemedy)
		}
	}
	if certificate == nil && roots == nil {
		return func(*natsio.Options) error { return nil }, nil
	}
	return natsio.ClientTLSConfig(certificate, roots), nil
}

func clientCertificate(cfg *Config) (tls.Certificate, error) {
	certificate, err := cfg.Cert.Bytes()
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("reading NATS_CERT: %w", err)
	}
	key, err := cfg.Key.Bytes()
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("reading NATS_KEY: %w", err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("reading NATS_CERT and NATS_KEY: %w", err)
	}
	return pair, nil
}

func rootCertificates(cfg *Config) (*x509.CertPool, error) {
	content, err := cfg.CA.Bytes()
	if err != nil {
		return nil, fmt.Errorf("reading NATS_CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, errors.New("reading NATS_CA: no PEM certificate in it")
	}
	return pool, nil
}
