package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A fault spoils answers. On says which: ping, info, list, inspect, subscribe (the answer to /events
// as a whole), events (each event's line).
type fault struct {
	On    string
	Kind  string
	Count int // how many answers it spoils; -1: until it is cleared
	MS    int // slow and drip: how long, each time
	Bytes int // huge: how many
	Odds  int // one in so many; 0 and 1: each
	// types: whose value gets another type, wherever it is
	Member string
}

var kinds = map[string]string{
	"ping":      "500 garbage wrong truncate stall slow close",
	"info":      "500 garbage wrong truncate stall slow close huge types",
	"list":      "500 garbage wrong truncate stall slow drip close huge types",
	"inspect":   "500 garbage wrong truncate stall slow drip close huge types",
	"subscribe": "500 garbage wrong stall slow close",
	"events":    "garbage wrong cut stall slow drop split huge twice",
}

type faults struct {
	mu      sync.Mutex
	active  []*fault
	spoiled int // answers so far
	random  *rand.Rand
	// Closed when faults are cleared, so that what stalls goes on.
	cleared chan struct{}
}

func (f *faults) seed(seed int64) {
	f.random = rand.New(rand.NewSource(seed))
	f.cleared = make(chan struct{})
}

func (f *faults) add(a fault) error {
	known := false
	for _, kind := range strings.Fields(kinds[a.On]) {
		known = known || kind == a.Kind
	}
	if !known {
		return fmt.Errorf("no fault %q on %q", a.Kind, a.On)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active = append(f.active, &a)
	return nil
}

func (f *faults) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active = nil
	close(f.cleared)
	f.cleared = make(chan struct{})
}

// take returns the fault that the next answer is to have, or nil.
func (f *faults) take(on string) *fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, a := range f.active {
		if a.On != on || (a.Odds > 1 && f.random.Intn(a.Odds) != 0) {
			continue
		}
		if a.Count > 0 {
			a.Count--
			if a.Count == 0 {
				f.active = append(f.active[:i:i], f.active[i+1:]...)
			}
		}
		f.spoiled++
		return a
	}
	return nil
}

func (f *faults) garbage(size int) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	text := make([]byte, size)
	f.random.Read(text)
	return text
}

// stall waits until faults are cleared or the client goes.
func (f *faults) stall(r *http.Request) {
	f.mu.Lock()
	cleared := f.cleared
	f.mu.Unlock()
	select {
	case <-cleared:
	case <-r.Context().Done():
	}
}

func sleepMS(r *http.Request, ms int) {
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
	case <-r.Context().Done():
	}
}

// abort closes the connection as it is.
func abort() { panic(http.ErrAbortHandler) }

// A label of that size, in the place of the first one.
func inflate(body []byte, bytes int) []byte {
	return []byte(strings.Replace(string(body), `"Labels":{`,
		`"Labels":{"org.example.huge":"`+strings.Repeat("x", bytes)+`"`+commaUnlessEmpty(string(body)), 1))
}

// otherType returns what is not of the value's type.
func otherType(value interface{}) interface{} {
	switch value.(type) {
	case string, nil:
		return 7
	case []interface{}:
		return map[string]interface{}{"0": value}
	case map[string]interface{}:
		return []interface{}{value}
	default:
		return fmt.Sprint(value)
	}
}

func changeTypes(value interface{}, member string) {
	switch v := value.(type) {
	case []interface{}:
		for _, item := range v {
			changeTypes(item, member)
		}
	case map[string]interface{}:
		for name, item := range v {
			changeTypes(item, member)
			if name == member {
				v[name] = otherType(item)
			}
		}
	}
}

func withOtherTypes(body []byte, member string) []byte {
	var value interface{}
	if err := json.Unmarshal(body, &value); err != nil {
		panic(err) // our own
	}
	changeTypes(value, member)
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return text
}

func commaUnlessEmpty(body string) string {
	if i := strings.Index(body, `"Labels":{`); i >= 0 && !strings.HasPrefix(body[i+len(`"Labels":{`):], "}") {
		return ","
	}
	return ""
}

// answer writes the body, spoilt if there is a fault for it.
func (e *engine) answer(w http.ResponseWriter, r *http.Request, on string, body []byte) {
	a := e.faults.take(on)
	if a == nil {
		w.Write(body)
		return
	}
	switch a.Kind {
	case "500":
		fail(w, http.StatusInternalServerError, "fault that was asked for")
	case "garbage":
		w.Write(e.faults.garbage(len(body)))
	case "wrong":
		w.Write([]byte(`{"message":["not",{"what":"was"},1e999,null]}` + "\n"))
	case "truncate":
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Write(body[:len(body)/2])
		w.(http.Flusher).Flush()
		abort()
	case "stall":
		e.faults.stall(r)
		abort()
	case "slow":
		sleepMS(r, a.MS)
		w.Write(body)
	case "drip":
		for len(body) > 0 && r.Context().Err() == nil {
			n := 100
			if n > len(body) {
				n = len(body)
			}
			w.Write(body[:n])
			w.(http.Flusher).Flush()
			body = body[n:]
			sleepMS(r, a.MS)
		}
	case "huge":
		if on == "info" {
			body = append(body, []byte(strings.Repeat(" ", a.Bytes))...)
		} else {
			body = inflate(body, a.Bytes)
		}
		w.Write(body)
	case "types":
		w.Write(withOtherTypes(body, a.Member))
	case "close":
		abort()
	}
}
