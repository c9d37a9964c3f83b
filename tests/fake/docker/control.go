package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// All engines of the process, and what can be asked of them over the control socket.
type world struct {
	engines []*engine
}

type engineState struct {
	Engine      int            `json:"engine"`
	ID          string         `json:"id"`
	Containers  int            `json:"containers"`
	Running     int            `json:"running"`
	Subscribers int            `json:"subscribers"`
	Emitted     int            `json:"emitted"`
	Dropped     int            `json:"dropped"`
	Spoiled     int            `json:"spoiled"`
	Requests    map[string]int `json:"requests"`
}

func (e *engine) describe() engineState {
	s := engineState{Engine: e.number, ID: e.id, Requests: map[string]int{}}
	e.mu.Lock()
	s.Containers = len(e.containers)
	for _, c := range e.containers {
		if c.state == running || c.state == paused {
			s.Running++
		}
	}
	e.mu.Unlock()
	e.hub.mu.Lock()
	s.Subscribers, s.Emitted, s.Dropped = len(e.hub.subscribers), e.hub.emitted, e.hub.dropped
	e.hub.mu.Unlock()
	e.faults.mu.Lock()
	s.Spoiled = e.faults.spoiled
	e.faults.mu.Unlock()
	e.requests.mu.Lock()
	for name, n := range e.requests.count {
		s.Requests[name] = n
	}
	e.requests.mu.Unlock()
	return s
}

// expected is what an agent with default settings should publish, "KEY VALUE" a line, for a host
// of that address. %e is the engine's number.
func (e *engine) expected(prefix, address string) string {
	var b strings.Builder
	prefix = strings.ReplaceAll(prefix, "%e", fmt.Sprint(e.number))
	address = strings.ReplaceAll(address, "%e", fmt.Sprint(e.number))
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.containers {
		if c.state != running || (c.health != "" && c.health != "healthy") {
			continue
		}
		for i := 0; i < e.options.ports; i++ {
			suffix := ""
			if e.options.ports > 1 {
				suffix = fmt.Sprintf("-%d", privatePort(i))
			}
			fmt.Fprintf(&b, "%s%s%s %s:%d\n", prefix, c.name, suffix, address, c.publicPort(e, i))
		}
	}
	return b.String()
}

type query struct {
	*http.Request
}

func (q query) text(name, otherwise string) string {
	if v := q.URL.Query().Get(name); v != "" {
		return v
	}
	return otherwise
}

func (q query) number(name string, otherwise float64) float64 {
	n, err := strconv.ParseFloat(q.text(name, fmt.Sprint(otherwise)), 64)
	if err != nil {
		return otherwise
	}
	return n
}

// chosen: the engine that ?engine=N names, or all.
func (w *world) chosen(q query) []*engine {
	n := int(q.number("engine", -1))
	if n >= 0 && n < len(w.engines) {
		return w.engines[n : n+1]
	}
	return w.engines
}

// each runs fn for all chosen engines at once, and answers with what they return.
func (w *world) each(out http.ResponseWriter, q query, fn func(e *engine) (interface{}, error)) {
	engines := w.chosen(q)
	results := make([]interface{}, len(engines))
	errs := make([]error, len(engines))
	var group sync.WaitGroup
	for i := range engines {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			results[i], errs[i] = fn(engines[i])
		}(i)
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			fail(out, http.StatusBadRequest, "%s", err)
			return
		}
	}
	out.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(out)
	for _, result := range results {
		if result != nil {
			encoder.Encode(result)
		}
	}
}

func (w *world) control() http.Handler {
	mux := http.NewServeMux()
	handle := func(path string, fn func(q query, e *engine) (interface{}, error)) {
		mux.HandleFunc(path, func(out http.ResponseWriter, r *http.Request) {
			w.each(out, query{r}, func(e *engine) (interface{}, error) { return fn(query{r}, e) })
		})
	}
	handle("/state", func(q query, e *engine) (interface{}, error) { return e.describe(), nil })
	handle("/count", func(q query, e *engine) (interface{}, error) {
		e.setCount(int(q.number("n", 0)))
		return nil, nil
	})
	handle("/do", func(q query, e *engine) (interface{}, error) {
		return nil, e.act(q.text("verb", ""), q.text("name", ""), q.text("argument", ""))
	})
	handle("/storm", func(q query, e *engine) (interface{}, error) {
		kinds := strings.Split(q.text("kinds", "short"), ",")
		for _, kind := range kinds {
			if !strings.Contains(" short exec health kick ", " "+kind+" ") {
				return nil, fmt.Errorf("no kind of storm is called %q", kind)
			}
		}
		return e.storm(storm{
			rate:    q.number("rate", 500),
			seconds: q.number("seconds", 10),
			kinds:   kinds,
			open:    int(q.number("open", 0)),
			keep:    int(q.number("keep", 0)),
		}), nil
	})
	handle("/fault", func(q query, e *engine) (interface{}, error) {
		return nil, e.faults.add(fault{
			On:     q.text("on", ""),
			Kind:   q.text("kind", ""),
			Count:  int(q.number("count", 1)),
			MS:     int(q.number("ms", 100)),
			Bytes:  int(q.number("bytes", 10e6)),
			Odds:   int(q.number("odds", 1)),
			Member: q.text("member", ""),
		})
	})
	handle("/clear", func(q query, e *engine) (interface{}, error) {
		e.faults.clear()
		return nil, nil
	})
	handle("/api", func(q query, e *engine) (interface{}, error) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.api = q.text("version", e.api)
		e.min = q.text("min", e.min)
		return nil, nil
	})
	mux.HandleFunc("/expected", func(out http.ResponseWriter, r *http.Request) {
		for _, e := range w.chosen(query{r}) {
			fmt.Fprint(out, e.expected(query{r}.text("prefix", "/app/servers/"), query{r}.text("address", "192.0.2.1")))
		}
	})
	return mux
}
