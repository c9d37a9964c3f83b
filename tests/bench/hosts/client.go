package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// A client asks as the agent's HTTP client does: one connection that stays open, and the next endpoint after a failure.
// net/http's client would share connections between the hosts.
type client struct {
	endpoints []string // HOST:PORT
	current   int
	conn      net.Conn
	reader    *bufio.Reader
	to        int // the endpoint of conn
}

const (
	requestTimeout = 3 * time.Second
	connectTimeout = 2 * time.Second
)

// What registrator/etcd/etcd.c takes for an answer that another member may improve on.
var failures = [][]byte{
	[]byte("etcdserver: no leader"),
	[]byte("etcdserver: leader changed"),
	[]byte("etcdserver: request timed out"),
	[]byte("etcdserver: server stopped"),
	[]byte("etcdserver: not capable"),
	[]byte("server is likely disconnected from quorum"),
}

func isFailure(status int, answer []byte) bool {
	if status >= 500 {
		return true
	}
	if status < 300 && !bytes.HasPrefix(answer, []byte(`{"error":`)) {
		return false
	}
	for _, message := range failures {
		if bytes.Contains(answer, message) {
			return true
		}
	}
	return false
}

// call asks the endpoints in turn. An error means that none gave a usable answer.
func (c *client) call(method, path, body string, timeout time.Duration) (answer []byte, err error) {
	first := c.current
	for i := range c.endpoints {
		endpoint := (first + i) % len(c.endpoints)
		status, text, failed := c.ask(endpoint, method, path, body, timeout)
		if failed != nil {
			err = failed
			continue
		}
		if isFailure(status, text) {
			err = fmt.Errorf("%d: %s", status, text)
			continue
		}
		c.current = endpoint
		return text, nil
	}
	return nil, err
}

// ask: a kept connection that the server has closed meanwhile is made anew once, as libcurl does.
func (c *client) ask(endpoint int, method, path, body string, timeout time.Duration) (int, []byte, error) {
	kept := c.conn != nil && c.to == endpoint
	status, answer, err := c.askOnce(endpoint, method, path, body, timeout)
	if timedOut, ok := err.(net.Error); err != nil && kept && !(ok && timedOut.Timeout()) {
		return c.askOnce(endpoint, method, path, body, timeout)
	}
	return status, answer, err
}

func (c *client) askOnce(endpoint int, method, path, body string, timeout time.Duration) (int, []byte, error) {
	if err := c.connect(endpoint, timeout); err != nil {
		return 0, nil, err
	}
	c.conn.SetDeadline(time.Now().Add(timeout))
	status, answer, err := c.exchange(c.endpoints[endpoint], method, path, body)
	if err != nil {
		c.close()
	}
	return status, answer, err
}

func (c *client) connect(endpoint int, timeout time.Duration) error {
	if c.conn != nil && c.to == endpoint {
		return nil
	}
	c.close()
	if len(c.endpoints) > 1 && timeout > connectTimeout {
		timeout = connectTimeout
	}
	conn, err := net.DialTimeout("tcp", c.endpoints[endpoint], timeout)
	if err != nil {
		return err
	}
	// A request that was given up must not arrive later.
	conn.(*net.TCPConn).SetLinger(0)
	c.conn, c.to = conn, endpoint
	if c.reader == nil {
		c.reader = bufio.NewReaderSize(conn, 2048)
	} else {
		c.reader.Reset(conn)
	}
	return nil
}

func (c *client) exchange(authority, method, path, body string) (int, []byte, error) {
	var request strings.Builder
	request.Grow(len(body) + 256)
	fmt.Fprintf(&request, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: registrator/simulated\r\nAccept: */*\r\n", method, path,
		authority)
	if method == "POST" {
		fmt.Fprintf(&request, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	request.WriteString("\r\n")
	request.WriteString(body)
	if _, err := io.WriteString(c.conn, request.String()); err != nil {
		return 0, nil, err
	}
	answer, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return 0, nil, err
	}
	text, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if answer.Close && err == nil {
		c.close()
	}
	return answer.StatusCode, text, err
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}
