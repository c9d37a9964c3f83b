package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand"
	"sort"
	"strconv"
	"strings"
	"time"
)

// The session of one agent with etcd, as registrator/publisher/session.c and registrator/etcd/etcd3*.c have it, but for
// what cannot happen here: another owner of a key, another TTL, a clone of the host.

type sessionState int

const (
	closed sessionState = iota // the lease must be found or granted
	online
	silent // the last question failed
)

// Times of session.c.
const (
	retryBase        = 100 * time.Millisecond
	retryCap         = 1500 * time.Millisecond
	returnResyncBeat = 2
	opsMax           = 126
)

var errLeaseLost = errors.New("the lease has ended")

type host struct {
	fleet          *fleet
	client         client
	leases         [4]int64
	keys, values   func(container int) string
	state          sessionState
	lease          int64
	ended          bool    // the lease has ended, so that a grant is enough
	known          []int64 // the mod revision of each container's key; 0: not in etcd
	stopped        []bool  // the container is, so that its key must go
	audited        int64   // the revision at which a resync found each key as known
	beatsToResync  int
	resyncWanted   bool
	attempts       uint
	renewed        time.Time
	beat           time.Time
	resync         time.Time
	retry          time.Time // zero: none
	counted        bool      // among the fleet's hosts that are complete
	orders         chan int  // a container that stops, or starts again
	stop, finished chan struct{}
}

func between(low, high time.Duration) time.Duration {
	return low + time.Duration(rand.Int63n(int64(high-low)+1))
}

// run returns after stop, without a word to etcd: so does an agent that is killed, and one that is restarted.
func (h *host) run() {
	now := time.Now()
	h.beat = now.Add(between(0, h.fleet.beat))
	h.scheduleResync(now)
	h.retry = now
	timer := time.NewTimer(0)
	defer func() {
		timer.Stop()
		h.client.close()
		h.count(false)
		close(h.finished)
	}()
	for {
		select {
		case <-h.stop:
			return
		case container := <-h.orders:
			h.stopped[container] = !h.stopped[container]
			if h.state == online {
				h.answered(h.write())
			}
		case <-timer.C:
			h.act(time.Now())
		}
		h.count(h.state == online && len(h.pending()) == 0)
		if !timer.Stop() {
			select {
			case <-timer.C:
			default:
			}
		}
		timer.Reset(time.Until(h.next()))
	}
}

func (h *host) next() time.Time {
	next := h.beat
	if h.resync.Before(next) {
		next = h.resync
	}
	if !h.retry.IsZero() && h.retry.Before(next) {
		next = h.retry
	}
	return next
}

func (h *host) scheduleResync(now time.Time) {
	h.resync = now.Add(between(h.fleet.resync*9/10, h.fleet.resync*11/10))
}

func (h *host) act(now time.Time) {
	switch {
	case !h.retry.IsZero() && !h.retry.After(now):
		h.retry = time.Time{}
		if h.state == closed {
			h.open()
		} else if h.state == silent {
			h.askAgain()
		}
	case !h.beat.After(now):
		h.beat = now.Add(h.fleet.beat)
		if h.state != closed && h.beatsToResync > 0 {
			if h.beatsToResync--; h.beatsToResync == 0 {
				h.wantResync()
			}
		}
		h.heartbeat()
	case !h.resync.After(now):
		h.scheduleResync(now)
		h.wantResync()
	}
}

func (h *host) askAgain() {
	if len(h.pending()) > 0 {
		h.answered(h.write())
	} else {
		h.heartbeat()
	}
}

func (h *host) fail() {
	h.fleet.stats.fail()
	if h.state != closed {
		h.state = silent
	}
	if !h.retry.IsZero() {
		return
	}
	high := retryBase << h.attempts
	if high > retryCap {
		high = retryCap
	} else {
		h.attempts++
	}
	h.retry = time.Now().Add(between(retryBase/4, high))
}

// answered: what an answer, or none, means for the session.
func (h *host) answered(err error) {
	returned := h.state == silent
	switch {
	case h.state == closed:
		return
	case errors.Is(err, errLeaseLost):
		h.fleet.stats.lose()
		for i := range h.known {
			h.known[i] = 0
		}
		h.state, h.ended, h.retry = closed, true, time.Now()
		return
	case err != nil:
		h.fail()
		return
	}
	h.state, h.attempts = online, 0
	if returned && time.Since(h.renewed) >= h.fleet.beat {
		h.heartbeat()
	}
	if returned && h.state == online && h.beatsToResync == 0 {
		h.beatsToResync = returnResyncBeat
	}
	if h.state == online && h.resyncWanted && h.beatsToResync == 0 {
		h.wantResync()
	}
	if h.state == online && len(h.pending()) > 0 {
		h.answered(h.write())
	}
}

func (h *host) call(path, body string, timeout time.Duration) ([]byte, error) {
	method := "POST"
	if body == "" {
		method = "GET"
	}
	begin := time.Now()
	answer, err := h.client.call(method, path, body, timeout)
	h.fleet.stats.answer(time.Since(begin), err)
	return answer, err
}

// ask asks, and reads the answer if it is none of the gateway's errors.
func (h *host) ask(path, body string, into interface{}) error {
	answer, err := h.call(path, body, requestTimeout)
	if err != nil {
		return err
	}
	if bytes.HasPrefix(answer, []byte(`{"error":`)) || bytes.HasPrefix(answer, []byte(`{"code":`)) {
		if bytes.Contains(answer, []byte("lease not found")) {
			return errLeaseLost
		}
		return errors.New(string(answer))
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

func (h *host) heartbeat() {
	if h.lease == 0 {
		return
	}
	timeout := time.Duration(h.fleet.ttl) * time.Second / 4
	if timeout > 5*time.Second {
		timeout = 5 * time.Second
	}
	begin := time.Now()
	answer, err := h.call("/v3/lease/keepalive", leaseBody(h.lease), timeout)
	h.fleet.stats.heartbeat(time.Since(begin))
	if err == nil && bytes.HasPrefix(answer, []byte(`{"error":`)) {
		err = errors.New(string(answer))
	}
	if err == nil && !bytes.Contains(answer, []byte(`"TTL":"`)) {
		err = errLeaseLost
	}
	if err == nil {
		h.renewed = begin
	}
	h.answered(err)
}

// Opening.

type timeToLive struct {
	Header struct{ Revision string }
	TTL    string
	Keys   [][]byte
}

func (h *host) open() {
	err := h.ask("/version", "", nil)
	if err == nil {
		ended := h.ended
		h.ended = false
		if ended {
			err = h.ask("/v3/lease/grant", grantBody(h.lease, h.fleet.ttl), nil)
			if err != nil && strings.Contains(err.Error(), "lease already exists") {
				err = h.find()
			}
		} else {
			err = h.find()
		}
	}
	if err != nil {
		h.state = closed
		h.fail()
		return
	}
	h.state, h.audited, h.renewed = online, 0, time.Now()
	h.answered(h.write())
}

// find looks at each lease that may be this host's, reads the keys of the one that exists, and takes that one or the first.
func (h *host) find() error {
	chosen, exists := 0, false
	var keys []string
	for slot, id := range h.leases {
		var answer timeToLive
		if err := h.ask("/v3/lease/timetolive", timeToLiveBody(id), &answer); err != nil {
			return err
		}
		if answer.TTL == "-1" || exists {
			continue
		}
		chosen, exists = slot, true
		keys = texts(answer.Keys)
	}
	for i := range h.known {
		h.known[i] = 0
	}
	if err := h.learn(keys, false, nil); err != nil {
		return err
	}
	id := h.leases[chosen]
	var err error
	if exists {
		err = h.ask("/v3/lease/keepalive", leaseBody(id), nil)
	} else {
		err = h.ask("/v3/lease/grant", grantBody(id, h.fleet.ttl), nil)
	}
	if err == nil {
		h.lease = id
	}
	return err
}

func texts(keys [][]byte) []string {
	var all []string
	for _, key := range keys {
		all = append(all, string(key))
	}
	return all
}

// container returns the number of the key's container, or -1.
func (h *host) container(key string) int {
	for i := range h.known {
		if h.keys(i) == key {
			return i
		}
	}
	return -1
}

type txnAnswer struct {
	Header    struct{ Revision string }
	Succeeded bool
	Responses []struct {
		Range struct {
			KVs []struct {
				Key         []byte
				Value       []byte
				Lease       string
				ModRevision string `json:"mod_revision"`
			}
		} `json:"response_range"`
	}
}

// learn reads the keys' mod revisions, and notes them in known, or calls fn with them.
func (h *host) learn(keys []string, keysOnly bool, fn func(container int, revision int64)) error {
	for len(keys) > 0 {
		n := len(keys)
		if n > opsMax {
			n = opsMax
		}
		var answer txnAnswer
		if err := h.ask("/v3/kv/txn", rangesBody(keys[:n], keysOnly), &answer); err != nil {
			return err
		}
		keys = keys[n:]
		for _, response := range answer.Responses {
			for _, kv := range response.Range.KVs {
				i := h.container(string(kv.Key))
				if i < 0 {
					continue
				}
				revision, _ := strconv.ParseInt(kv.ModRevision, 10, 64)
				if fn != nil {
					fn(i, revision)
				} else {
					h.known[i] = revision
				}
			}
		}
	}
	return nil
}

// Writing.

func (h *host) pending() []int {
	var all []int
	for i, known := range h.known {
		if (known == 0) != h.stopped[i] {
			all = append(all, i)
		}
	}
	return all
}

// write: one transaction, whose failure shows the revisions that the next one must name.
func (h *host) write() error {
	for round := 0; round < 8; round++ {
		pending := h.pending()
		if len(pending) == 0 {
			return nil
		}
		if len(pending) > opsMax {
			pending = pending[:opsMax]
		}
		var operations []operation
		for _, i := range pending {
			o := operation{key: h.keys(i), known: h.known[i]}
			if !h.stopped[i] {
				o.value = h.values(i)
			}
			operations = append(operations, o)
		}
		var answer txnAnswer
		if err := h.ask("/v3/kv/txn", applyBody(operations, h.lease), &answer); err != nil {
			return err
		}
		revision, _ := strconv.ParseInt(answer.Header.Revision, 10, 64)
		for _, i := range pending {
			switch {
			case !answer.Succeeded || h.stopped[i]:
				h.known[i] = 0
			default:
				h.known[i] = revision
			}
		}
		for _, response := range answer.Responses {
			for _, kv := range response.Range.KVs {
				if i := h.container(string(kv.Key)); i >= 0 {
					h.known[i], _ = strconv.ParseInt(kv.ModRevision, 10, 64)
				}
			}
		}
	}
	return nil
}

// Resync.

func (h *host) wantResync() {
	h.resyncWanted = true
	if h.state != online {
		return
	}
	h.resyncWanted = false
	h.beatsToResync = 0
	err := h.audit()
	h.resyncWanted = err != nil
	h.answered(err)
}

func (h *host) audit() error {
	var answer timeToLive
	if err := h.ask("/v3/lease/timetolive", timeToLiveBody(h.lease), &answer); err != nil {
		return err
	}
	if answer.TTL == "-1" {
		return errLeaseLost
	}
	revision, _ := strconv.ParseInt(answer.Header.Revision, 10, 64)
	keys := texts(answer.Keys)
	if revision == h.audited {
		return nil
	}
	var changed []string
	found := map[int]bool{}
	err := h.learn(keys, true, func(i int, revision int64) {
		found[i] = true
		if h.known[i] != revision {
			changed = append(changed, h.keys(i))
		}
	})
	if err != nil {
		return err
	}
	sort.Strings(changed)
	for i := range h.known {
		if !found[i] && !h.stopped[i] {
			h.known[i] = 0
		}
	}
	h.audited = revision
	if len(changed) > 0 {
		h.audited = 0
	}
	return h.learn(changed, false, nil)
}

// count keeps the fleet's number of complete hosts.
func (h *host) count(complete bool) {
	if complete == h.counted {
		return
	}
	h.counted = complete
	if complete {
		h.fleet.complete.Add(1)
	} else {
		h.fleet.complete.Add(-1)
	}
}
