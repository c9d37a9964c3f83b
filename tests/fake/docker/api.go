package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// The part of Docker's API that an agent asks for.

type counters struct {
	mu    sync.Mutex
	count map[string]int
}

func (c *counters) init() { c.count = map[string]int{} }

func (c *counters) add(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count[name]++
}

func fail(w http.ResponseWriter, status int, format string, arguments ...interface{}) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"message": fmt.Sprintf(format, arguments...)})
}

func minorOf(version string) int {
	minor, err := strconv.Atoi(strings.TrimPrefix(version, "1."))
	if err != nil {
		return 0
	}
	return minor
}

var versionPath = regexp.MustCompile(`^/v([0-9.]+)(/.*)$`)
var containerPath = regexp.MustCompile(`^/containers/([^/]+)/([a-z]+)$`)

// checkVersion returns the rest of the path and the minor version; false: refused, and said so.
func (e *engine) checkVersion(w http.ResponseWriter, path string) (string, int, bool) {
	e.mu.Lock()
	api, min := e.api, e.min
	e.mu.Unlock()
	w.Header().Set("Api-Version", api)
	m := versionPath.FindStringSubmatch(path)
	if m == nil {
		return path, minorOf(api), true
	}
	minor := minorOf(m[1])
	if minor > minorOf(api) {
		fail(w, http.StatusBadRequest, "client version %s is too new. Maximum supported API version is %s", m[1], api)
		return "", 0, false
	}
	if minor < minorOf(min) {
		fail(w, http.StatusBadRequest, "client version %s is too old. Minimum supported API version is %s, "+
			"please upgrade your client to a newer version", m[1], min)
		return "", 0, false
	}
	return m[2], minor, true
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", "fake-docker (linux)")
	w.Header().Set("Ostype", "linux")
	path, minor, ok := e.checkVersion(w, r.URL.Path)
	if !ok {
		e.requests.add("refused")
		return
	}
	switch path {
	case "/_ping":
		e.requests.add("ping")
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		e.answer(w, r, "ping", []byte("OK"))
		return
	case "/events":
		e.requests.add("events")
		e.serveEvents(w, r, minor)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch path {
	case "/info":
		e.requests.add("info")
		e.answer(w, r, "info", e.info())
	case "/version":
		e.requests.add("version")
		e.mu.Lock()
		defer e.mu.Unlock()
		fmt.Fprintf(w, `{"Version":"0.0-fake","ApiVersion":"%s","MinAPIVersion":"%s","Os":"linux"}`+"\n", e.api, e.min)
	case "/containers/json":
		e.requests.add("list")
		all, _ := strconv.ParseBool(r.URL.Query().Get("all"))
		e.answer(w, r, "list", e.list(all))
	default:
		e.serveContainer(w, r, path, minor)
	}
}

func (e *engine) serveContainer(w http.ResponseWriter, r *http.Request, path string, minor int) {
	m := containerPath.FindStringSubmatch(path)
	switch {
	case m != nil && m[2] == "json" && r.Method == http.MethodGet:
		e.requests.add("inspect")
		body := e.inspect(m[1], minor)
		if body == nil {
			fail(w, http.StatusNotFound, "No such container: %s", m[1])
			return
		}
		e.answer(w, r, "inspect", body)
	case m != nil && r.Method == http.MethodPost:
		e.requests.add(m[2])
		argument := r.URL.Query().Get("signal") + r.URL.Query().Get("name")
		if err := e.act(m[2], m[1], argument); err != nil {
			fail(w, http.StatusNotFound, "%s", err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		e.requests.add("unknown")
		fail(w, http.StatusNotFound, "page not found")
	}
}

func (e *engine) info() []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	up := 0
	for _, c := range e.containers {
		if c.state == running || c.state == paused {
			up++
		}
	}
	return []byte(fmt.Sprintf(`{"ID":"%s","Containers":%d,"ContainersRunning":%d,"Images":1,"Driver":"vfs",`+
		`"Name":"fake-%04d","OperatingSystem":"fake-docker","OSType":"linux","ServerVersion":"0.0-fake"}`+"\n",
		e.id, len(e.containers), up, e.number))
}

// since: seconds, with a fraction.
func parseTime(text string) int64 {
	seconds, fraction, _ := strings.Cut(text, ".")
	s, _ := strconv.ParseInt(seconds, 10, 64)
	n, _ := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	return s*1e9 + n
}

func (e *engine) serveEvents(w http.ResponseWriter, r *http.Request, minor int) {
	f, err := parseFilters(r.URL.Query().Get("filters"))
	if err != nil {
		fail(w, http.StatusBadRequest, "invalid filter: %s", err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if a := e.faults.take("subscribe"); a != nil {
		switch a.Kind {
		case "500":
			fail(w, http.StatusInternalServerError, "fault that was asked for")
			return
		case "garbage":
			w.Write(e.faults.garbage(4096))
			return
		case "wrong":
			w.Write([]byte(`["no","events"]` + "\n"))
			return
		case "stall":
			e.faults.stall(r)
		case "slow":
			sleepMS(r, a.MS)
		case "close":
			abort()
		}
	}
	s, old := e.hub.subscribe(f, parseTime(r.URL.Query().Get("since")))
	defer e.hub.unsubscribe(s)
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	for _, ev := range old {
		e.writeEvent(w, r, ev.line(minor))
	}
	for {
		select {
		case ev := <-s.events:
			e.writeEvent(w, r, ev.line(minor))
		case <-r.Context().Done():
			return
		}
	}
}

func (e *engine) writeEvent(w http.ResponseWriter, r *http.Request, line []byte) {
	write := func(text []byte) {
		w.Write(text)
		w.(http.Flusher).Flush()
	}
	a := e.faults.take("events")
	if a == nil {
		write(line)
		return
	}
	switch a.Kind {
	case "garbage":
		write(append(e.faults.garbage(200), '\n'))
		write(line)
	case "wrong":
		write([]byte(`{"Type":7,"Action":{},"Actor":[],"timeNano":"x"}` + "\n" + "null\n[]\n{}\n\n"))
		write(line)
	case "cut":
		write(line[:len(line)/2])
		abort()
	case "stall":
		e.faults.stall(r)
		write(line)
	case "slow":
		sleepMS(r, a.MS)
		write(line)
	case "drop":
	case "split":
		for len(line) > 0 {
			n := 1 + len(line)/3
			if n > len(line) {
				n = len(line)
			}
			write(line[:n])
			line = line[n:]
			sleepMS(r, 1)
		}
	case "twice":
		write(append(append([]byte(nil), line...), line...))
	case "huge":
		write([]byte(strings.Replace(string(line), `"Attributes":{`,
			`"Attributes":{"org.example.huge":"`+strings.Repeat("x", a.Bytes)+`",`, 1)))
	}
}
