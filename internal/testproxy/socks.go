package testproxy

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strconv"
)

// SOCKS5 serves a SOCKS5 proxy (RFC 1928, RFC 1929) until Close. It connects to
// hosts that are given by name.
func SOCKS5(c Config) (*Proxy, error) {
	p, err := listen(c)
	if err != nil {
		return nil, err
	}
	p.running.Go(func() {
		for {
			client, err := p.listener.Accept()
			if err != nil {
				return
			}
			p.running.Go(func() { p.socks(client) })
		}
	})
	return p, nil
}

const (
	socksVersion = 5
	socksNoLogin = 0
	socksLogin   = 2
	socksByName  = 3
)

// errSOCKS says that a client speaks something else.
var errSOCKS = errors.New("no SOCKS5")

// socks serves one connection.
func (p *Proxy) socks(client net.Conn) {
	r := bufio.NewReader(client)
	host, err := p.negotiate(r, client)
	if err != nil {
		_ = client.Close()
		return
	}
	p.ask(host)
	target, err := p.dial()
	if err != nil {
		_ = client.Close()
		return
	}
	if _, err := client.Write([]byte{socksVersion, 0, 0, 1, 0, 0, 0, 0, 0, 0}); err != nil {
		_, _ = client.Close(), target.Close()
		return
	}
	p.join(client, target)
}

// negotiate reads up to the request and returns the host asked for.
func (p *Proxy) negotiate(r *bufio.Reader, w io.Writer) (string, error) {
	methods, err := counted(r, 2)
	if err != nil {
		return "", err
	}
	method := byte(socksNoLogin)
	if p.config.User != "" {
		method = socksLogin
	}
	if _, err := w.Write([]byte{socksVersion, method}); err != nil || len(methods) == 0 {
		return "", errSOCKS
	}
	if method == socksLogin && !p.login(r, w) {
		return "", errSOCKS
	}
	head := make([]byte, 4) // version, command, reserved, type of address
	if _, err := io.ReadFull(r, head); err != nil || head[3] != socksByName {
		return "", errSOCKS
	}
	name, err := counted(r, 1)
	if err != nil {
		return "", err
	}
	port := make([]byte, 2)
	_, err = io.ReadFull(r, port)
	return net.JoinHostPort(string(name), strconv.Itoa(int(binary.BigEndian.Uint16(port)))), err
}

// login reads user and password and answers.
func (p *Proxy) login(r *bufio.Reader, w io.Writer) bool {
	user, err := counted(r, 2)
	if err != nil {
		return false
	}
	password, err := counted(r, 1)
	if err != nil {
		return false
	}
	status := byte(0)
	if string(user)+":"+string(password) != p.config.User {
		status = 1
	}
	_, err = w.Write([]byte{1, status})
	return err == nil && status == 0
}

// counted reads a head, whose last byte is a number, and so many bytes.
func counted(r io.Reader, head int) ([]byte, error) {
	b := make([]byte, head)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	b = make([]byte, b[head-1])
	_, err := io.ReadFull(r, b)
	return b, err
}

// join copies between two connections until one ends or Close.
func (p *Proxy) join(client, target net.Conn) {
	stop := context.AfterFunc(p.ctx, func() { _, _ = client.Close(), target.Close() })
	p.running.Go(func() {
		_, _ = io.Copy(target, client)
		_, _ = client.Close(), target.Close()
	})
	_, _ = io.Copy(client, target)
	_, _ = client.Close(), target.Close()
	stop()
}
