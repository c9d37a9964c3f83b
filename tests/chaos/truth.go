package main

import (
	"sort"
	"strings"
)

// truth is what Docker said, in the order of time: which names were to be in etcd when, and what happened to
// them.
type truth struct {
	containers map[string]map[string]*container // host, ID
	since      map[string][]turn                // host/name
	causes     map[string][]cause               // host/name
	lives      map[string][]turn                // host/ID: it ran
	heard      map[string]int64                 // host/ID: when an event last told of it
	late       map[string][]int64               // host/name: starts of a container that listens only lateStart later
	delayed    map[string][]span                // host/ID: it has crashed, and may be out for a while
}

const (
	lateStart = 1500 * second / 1000 // of app:late
	// What comes up after a crash, or after its health has flipped, is registered a minute later at most.
	crashWithin, crashDelay = 60 * second, 75 * second
)

type container struct {
	name                       string
	runs, paused, checks, well bool
	stopped, crashed           bool  // somebody has stopped it; it has ended, or become unhealthy, soon after it came up
	up                         int64 // since when it is up; 0: it is not
}

func (c *container) in() bool { return c.runs && !c.paused && (!c.checks || c.well) }

type turn struct {
	at int64
	in bool
}

// cause is a reason for a put, for a delete, or for either.
type cause struct {
	at, till int64
	in, out  bool
	id       string
	signal   bool // the container may survive it
}

func newTruth(c *checker) *truth {
	t := &truth{map[string]map[string]*container{}, map[string][]turn{}, map[string][]cause{}, map[string][]turn{},
		map[string]int64{}, map[string][]int64{}, map[string][]span{}}
	var records []Record
	for _, r := range c.records {
		if r.Kind == kindDocker || (r.Kind == kindSnapshot && r.Action == "connect") {
			records = append(records, r)
		}
		if r.Kind == kindFault && r.Action == "host-death" {
			records = append(records, Record{Kind: kindFault, At: r.At, Host: r.Host})
		}
	}
	// A snapshot is as new as the moment at which it was asked for.
	sort.SliceStable(records, func(i, j int) bool { return records[i].At < records[j].At })
	for _, r := range records {
		switch r.Kind {
		case kindDocker:
			t.event(r)
		case kindSnapshot:
			t.snapshot(r, c.dockers[r.Host])
		case kindFault:
			for id, container := range t.containers[r.Host] {
				t.change(r.Host, id, r.At, func() { container.runs = false })
				t.addCause(r.Host, container.name, cause{at: r.At, till: r.At, in: true, out: true, id: id})
			}
		}
	}
	for name := range t.causes {
		causes := t.causes[name]
		sort.SliceStable(causes, func(i, j int) bool { return causes[i].at < causes[j].at })
	}
	return t
}

func (t *truth) get(host, id string) *container {
	if t.containers[host] == nil {
		t.containers[host] = map[string]*container{}
	}
	if t.containers[host][id] == nil {
		t.containers[host][id] = &container{}
	}
	return t.containers[host][id]
}

// change notes which names it brings in or out.
func (t *truth) change(host, id string, at int64, change func()) {
	c := t.get(host, id)
	names := []string{c.name}
	change()
	if c.name != names[0] {
		names = append(names, c.name)
	}
	for _, name := range names {
		in := false
		for _, other := range t.containers[host] {
			in = in || (other.name == name && other.in())
		}
		note(t.since, host+"/"+name, at, in)
	}
	note(t.lives, host+"/"+id, at, c.runs)
}

func note(turns map[string][]turn, name string, at int64, in bool) {
	list := turns[name]
	if len(list) == 0 || list[len(list)-1].in != in {
		turns[name] = append(list, turn{at, in})
	}
}

func (t *truth) addCause(host, name string, c cause) {
	t.causes[host+"/"+name] = append(t.causes[host+"/"+name], c)
}

func (t *truth) comesUp(r Record) {
	c := t.get(r.Host, r.ID)
	c.up = r.At
	if c.crashed {
		t.delayed[r.Host+"/"+r.ID] = append(t.delayed[r.Host+"/"+r.ID], span{r.At, r.At + crashDelay})
	}
}

func (t *truth) goesDown(r Record) {
	c := t.get(r.Host, r.ID)
	c.crashed = !c.stopped && (c.crashed || (c.up != 0 && r.At-c.up < crashWithin))
	c.up = 0
}

// mayBeDelayed: the agent may not have registered the container yet at some time between the two.
func (t *truth) mayBeDelayed(host, id string, from, to int64) bool {
	for _, s := range t.delayed[host+"/"+id] {
		if s.overlaps(from, to) {
			return true
		}
	}
	return false
}

func (t *truth) event(r Record) {
	why := cause{at: r.At, till: r.At, id: r.ID}
	t.heard[r.Host+"/"+r.ID] = r.At
	switch {
	case r.Action == "start":
		why.in = true
		t.change(r.Host, r.ID, r.At, func() {
			*t.get(r.Host, r.ID) = container{name: r.Name, runs: true, checks: strings.HasPrefix(r.Image, "app:health"),
				crashed: t.get(r.Host, r.ID).crashed}
		})
		t.comesUp(r)
		if r.Image == "app:late" {
			t.late[r.Host+"/"+r.Name] = append(t.late[r.Host+"/"+r.Name], r.At)
		}
	case r.Action == "die", r.Action == "destroy":
		why.out = true
		t.goesDown(r)
		t.change(r.Host, r.ID, r.At, func() { t.get(r.Host, r.ID).runs = false })
		if r.Action == "destroy" {
			delete(t.containers[r.Host], r.ID)
		}
	case r.Action == "pause", r.Action == "unpause":
		why.in, why.out = r.Action == "unpause", r.Action == "pause"
		t.change(r.Host, r.ID, r.At, func() { t.get(r.Host, r.ID).paused = why.out })
	case strings.HasPrefix(r.Action, "health_status"):
		why.in = strings.HasSuffix(r.Action, ": healthy")
		why.out = !why.in
		if c := t.get(r.Host, r.ID); why.out && c.well {
			t.goesDown(r)
		} else if why.in && c.up == 0 {
			t.comesUp(r)
		}
		t.change(r.Host, r.ID, r.At, func() { t.get(r.Host, r.ID).well = why.in })
	case r.Action == "rename":
		why.in, why.out = true, true
		t.change(r.Host, r.ID, r.At, func() { t.get(r.Host, r.ID).name = r.Name })
		t.addCause(r.Host, r.Old, why)
	case r.Action == "kill":
		why.out = r.Signal == "15" || r.Signal == "9"
		why.signal = r.Signal == "15"
		t.get(r.Host, r.ID).stopped = t.get(r.Host, r.ID).stopped || why.out
	default:
		return
	}
	t.addCause(r.Host, r.Name, why)
}

// snapshot: what differs from what the events told has changed while there was no dockerd to tell.
func (t *truth) snapshot(r Record, away []span) {
	from := r.At
	for _, s := range away {
		if s.from < r.At && s.to > r.At-5*second {
			from = min(from, s.from)
		}
	}
	listed := map[string]Container{}
	for _, c := range r.Containers {
		listed[c.ID] = c
	}
	for id, c := range t.containers[r.Host] {
		if _, there := listed[id]; !there {
			listed[id] = Container{ID: id, Name: c.name, State: "gone"}
		}
	}
	for id, l := range listed {
		if t.heard[r.Host+"/"+id] > r.At-3*second/2 {
			continue // the list lags behind the events
		}
		c := t.get(r.Host, id)
		now := container{stopped: c.stopped, crashed: c.crashed, up: c.up, name: l.Name, runs: l.State == "running" || l.State == "paused", paused: l.State == "paused",
			checks: strings.Contains(l.Status, "health"), well: strings.Contains(l.Status, "(healthy)")}
		if now.paused {
			now.checks, now.well = c.checks, c.well // its status does not say
		}
		if l.State != "gone" && now.name == c.name && now.in() == c.in() {
			*c = now
			continue
		}
		why := cause{at: from, till: r.Done, in: true, out: true, id: id}
		t.addCause(r.Host, c.name, why)
		if l.Name != c.name {
			t.addCause(r.Host, l.Name, why)
		}
		t.change(r.Host, id, r.At, func() { *t.get(r.Host, id) = now })
		if l.State == "gone" {
			delete(t.containers[r.Host], id)
		}
	}
}

// cause returns when the first reason within the time was, for a put or a delete, and the container if it was only
// signalled; 0: there was none.
func (t *truth) cause(host, name string, put bool, from, to int64) (int64, string) {
	for _, c := range t.causes[host+"/"+name] {
		if c.till < from || c.at > to || (put && !c.in) || (!put && !c.out) {
			continue
		}
		if c.signal {
			return c.at, c.id
		}
		return c.at, ""
	}
	return 0, ""
}

// runs: the container has not ended up to then.
func (t *truth) runs(host, id string, at int64) bool {
	in := false
	for _, turn := range t.lives[host+"/"+id] {
		if turn.at <= at {
			in = turn.in
		}
	}
	return in
}

// outs returns when a name was not to be in etcd, as far as is known.
func (t *truth) outs(host, name string) []span {
	var spans []span
	turns := t.since[host+"/"+name]
	for i, turn := range turns {
		if turn.in {
			continue
		}
		end := int64(1) << 62
		if i+1 < len(turns) {
			end = turns[i+1].at
		}
		spans = append(spans, span{turn.at, end})
	}
	return spans
}

// lastTurn returns when a name last came in or went out.
func (t *truth) lastTurn(until int64) int64 {
	last := int64(0)
	for _, turns := range t.since {
		for _, turn := range turns {
			if turn.at <= until {
				last = max(last, turn.at)
			}
		}
	}
	for _, starts := range t.late {
		for _, start := range starts {
			if start <= until {
				last = max(last, start+lateStart)
			}
		}
	}
	return last
}
