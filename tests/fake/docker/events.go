package main

import (
	"encoding/json"
	"strings"
	"sync"
	"time"
)

const (
	// As moby has them (daemon/events): events buffered for a subscriber, the wait for a full
	// buffer before an event is dropped, and how many can be asked for afterwards.
	subscriberBuffer = 1024
	subscriberWait   = 100 * time.Millisecond
	historyMax       = 256
)

type actor struct {
	ID         string
	Attributes map[string]string
}

// The members in the order in which Docker writes them.
type event struct {
	Status   string `json:"status,omitempty"`
	ID       string `json:"id,omitempty"`
	From     string `json:"from,omitempty"`
	Type     string
	Action   string
	Actor    actor
	Scope    string `json:"scope"`
	Time     int64  `json:"time"`
	TimeNano int64  `json:"timeNano"`
}

// line is the event as it goes over the wire to a client of that API version.
func (ev event) line(minor int) []byte {
	if minor >= 52 {
		ev.Status, ev.ID, ev.From = "", "", ""
	}
	text, err := json.Marshal(ev)
	if err != nil {
		panic(err) // strings and numbers alone
	}
	return append(text, '\n')
}

// Filters of /events: lists, or the maps of older clients.
type filters map[string][]string

func parseFilters(text string) (filters, error) {
	f := filters{}
	if text == "" {
		return f, nil
	}
	if json.Unmarshal([]byte(text), &f) == nil {
		return f, nil
	}
	maps := map[string]map[string]bool{}
	if err := json.Unmarshal([]byte(text), &maps); err != nil {
		return nil, err
	}
	f = filters{}
	for name, wanted := range maps {
		for value, yes := range wanted {
			if yes {
				f[name] = append(f[name], value)
			}
		}
	}
	return f, nil
}

func (f filters) exact(name, value string) bool {
	for _, wanted := range f[name] {
		if wanted == value {
			return true
		}
	}
	return len(f[name]) == 0
}

// action: where one of three names is asked for, moby compares all of them as prefixes.
func (f filters) action(value string) bool {
	fuzzy := false
	for _, wanted := range f["event"] {
		fuzzy = fuzzy || wanted == "health_status" || wanted == "exec_create" || wanted == "exec_start"
	}
	if !fuzzy {
		return f.exact("event", value)
	}
	for _, wanted := range f["event"] {
		if strings.HasPrefix(value, wanted) {
			return true
		}
	}
	return false
}

func (f filters) match(ev *event) bool {
	return f.exact("type", ev.Type) && f.action(ev.Action)
}

type subscriber struct {
	filters filters
	events  chan event
}

type hub struct {
	mu          sync.Mutex
	subscribers map[*subscriber]bool
	history     []event
	emitted     int
	dropped     int
	last        int64
}

// subscribe returns what came since that time, too.
func (h *hub) subscribe(f filters, since int64) (*subscriber, []event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &subscriber{filters: f, events: make(chan event, subscriberBuffer)}
	if h.subscribers == nil {
		h.subscribers = map[*subscriber]bool{}
	}
	h.subscribers[s] = true
	var old []event
	for i := range h.history {
		if since > 0 && h.history[i].TimeNano >= since && f.match(&h.history[i]) {
			old = append(old, h.history[i])
		}
	}
	return s, old
}

func (h *hub) unsubscribe(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subscribers, s)
}

func (h *hub) publish(ev event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now().UnixNano()
	if now <= h.last {
		now = h.last + 1
	}
	h.last = now
	ev.Time, ev.TimeNano = now/1e9, now
	h.emitted++
	h.history = append(h.history, ev)
	if len(h.history) > historyMax {
		h.history = h.history[len(h.history)-historyMax:]
	}
	for s := range h.subscribers {
		if s.filters.match(&ev) && !s.offer(ev) {
			h.dropped++
		}
	}
}

func (s *subscriber) offer(ev event) bool {
	select {
	case s.events <- ev:
		return true
	default:
	}
	timer := time.NewTimer(subscriberWait)
	defer timer.Stop()
	select {
	case s.events <- ev:
		return true
	case <-timer.C:
		return false
	}
}

func (e *engine) emit(c *container, action string, more map[string]string) {
	attributes := map[string]string{"image": e.recorded.image, "name": c.name}
	for name, value := range more {
		attributes[name] = value
	}
	e.hub.publish(event{
		Status: action,
		ID:     c.id,
		From:   e.recorded.image,
		Type:   "container",
		Action: action,
		Actor:  actor{c.id, attributes},
		Scope:  "local",
	})
}

func (e *engine) emitNetwork(c *container, action string) {
	e.hub.publish(event{
		Type:   "network",
		Action: action,
		Actor: actor{e.recorded.networkID,
			map[string]string{"container": c.id, "name": "bridge", "type": "bridge"}},
		Scope: "local",
	})
}
