package main

import (
	"fmt"
	"sort"
	"testing"
)

// A history in the making; times are seconds from its beginning.
type story struct {
	records  []Record
	revision int64
}

const epoch = 1_700_000_000 * second

func at(s float64) int64 { return epoch + int64(s*float64(second)) }

func (s *story) add(r Record) { s.records = append(s.records, r) }

func (s *story) start(t float64, host, name string) {
	s.add(Record{Kind: kindDocker, At: at(t), Host: host, Action: "start", Name: name, ID: host + name, Image: "app:1"})
}

func (s *story) startOf(t float64, host, name, image string) {
	s.add(Record{Kind: kindDocker, At: at(t), Host: host, Action: "start", Name: name, ID: host + name, Image: image})
}

func (s *story) event(t float64, host, name, action, signal string) {
	s.add(Record{Kind: kindDocker, At: at(t), Host: host, Action: action, Name: name, ID: host + name, Signal: signal})
}

func (s *story) rename(t float64, host, id, from, to string) {
	s.add(Record{Kind: kindDocker, At: at(t), Host: host, Action: "rename", Name: to, Old: from, ID: id})
}

var leases = map[string]string{"h1": "a1", "h2": "b2"}

func (s *story) put(t float64, host, name, value string) {
	s.revision++
	s.add(Record{Kind: kindEtcd, At: at(t), Revision: s.revision, Key: keyPrefix + name, Value: value, Lease: leases[host]})
}

func (s *story) delete(t float64, name string) {
	s.revision++
	s.add(Record{Kind: kindEtcd, At: at(t), Revision: s.revision, Key: keyPrefix + name, Deleted: true})
}

func (s *story) log(t float64, host, line string) {
	s.add(Record{Kind: kindAgent, At: at(t), Host: host, Line: line})
}

func (s *story) fault(from, to float64, action, host string) {
	s.add(Record{Kind: kindFault, At: at(from), Done: at(from), Up: at(to), Well: at(to), Action: action, Host: host})
}

// quiet: h1 has the containers named, each at port 1000 and what its name's last digit adds.
func (s *story) quiet(from, to float64, phase string, names ...string) {
	var containers []Container
	for _, name := range names {
		containers = append(containers, Container{ID: "h1" + name, Name: name, State: "running", Status: "Up",
			Ports: []Port{{"0.0.0.0", 80, port(name), "tcp"}, {"::", 80, port(name), "tcp"}}})
	}
	for host, list := range map[string][]Container{"h1": containers, "h2": {}} {
		if list == nil {
			list = []Container{}
		}
		s.add(Record{Kind: kindSnapshot, At: at(from + 0.1), Done: at(from + 0.2), Host: host, Action: "quiet", Containers: list})
	}
	s.add(Record{Kind: kindQuiet, At: at(from), Done: at(to), Action: phase})
}

func port(name string) int { return 1000 + int(name[len(name)-1]-'0') }

func value1(name string) string { return fmt.Sprintf("192.0.2.11:%d", port(name)) }

func newStory() *story {
	s := &story{}
	s.add(Record{Kind: kindLimits, At: at(0), Limits: &Limits{Hosts: map[string]string{"h1": "192.0.2.11", "h2": "192.0.2.12"},
		TTLS: 10, SettleMS: 10000, CalmMS: 2000, LateMS: 500}})
	for host, lease := range leases {
		s.log(0.5, host, "Registering in etcd v3 (3.4.23, auto: it has v3) at http://192.0.2.21:2379, lease "+lease)
	}
	return s
}

// rules returns which were violated.
func (s *story) rules(t *testing.T) []int {
	t.Helper()
	end := s.records[0].At
	for _, r := range s.records {
		end = max(end, max(r.At, r.Done))
	}
	verdict := check(append(s.records, Record{Kind: kindEnd, At: end + second, Revision: s.revision}))
	found := map[int]bool{}
	for _, v := range verdict.Violations {
		t.Log(v)
		found[v.Rule] = true
	}
	rules := []int{}
	for rule := range found {
		rules = append(rules, rule)
	}
	sort.Ints(rules)
	return rules
}

func TestHistories(t *testing.T) {
	up := func(s *story, name string) {
		s.start(1, "h1", name)
		s.put(1.1, "h1", name, value1(name))
	}
	tests := []struct {
		name  string
		rules []int
		tell  func(s *story)
	}{
		{"nothing wrong: started, stopped, started", nil, func(s *story) {
			up(s, "c1")
			s.event(5, "h1", "c1", "kill", "15")
			s.delete(5.1, "c1")
			s.event(5.2, "h1", "c1", "die", "")
			s.start(6, "h1", "c1")
			s.put(6.1, "h1", "c1", value1("c1"))
			s.quiet(7, 10, "calm", "c1")
		}},
		{"nothing wrong: renamed", nil, func(s *story) {
			up(s, "c1")
			s.rename(5, "h1", "h1c1", "c1", "d1")
			s.put(5.1, "h1", "d1", value1("c1"))
			s.delete(5.1, "c1")
			s.quiet(7, 10, "calm", "d1")
		}},
		{"nothing wrong: paused, unpaused", nil, func(s *story) {
			up(s, "c1")
			s.event(5, "h1", "c1", "pause", "")
			s.delete(5.1, "c1")
			s.event(6, "h1", "c1", "unpause", "")
			s.put(6.1, "h1", "c1", value1("c1"))
		}},
		{"nothing wrong: survives its stop signal", nil, func(s *story) {
			up(s, "c1")
			s.event(5, "h1", "c1", "kill", "15")
			s.delete(5.1, "c1")
			s.put(8.1, "h1", "c1", value1("c1"))
		}},
		{"nothing wrong: expired while cut off, back afterwards", nil, func(s *story) {
			up(s, "c1")
			s.fault(5, 18.5, "cut", "h1")
			s.delete(15.2, "c1")
			s.put(19, "h1", "c1", value1("c1"))
			s.quiet(20, 23, "chaos", "c1")
		}},
		{"nothing wrong: the key of another's name taken over when that goes", nil, func(s *story) {
			up(s, "c1")
			s.start(2, "h2", "c1")
			s.event(5, "h1", "c1", "die", "")
			s.delete(5.1, "c1")
			s.put(7, "h2", "c1", "192.0.2.12:1001")
		}},
		{"nothing wrong: died with its host", nil, func(s *story) {
			up(s, "c1")
			s.fault(5, 18, "host-death", "h1")
			s.delete(15.5, "c1")
			s.quiet(19, 22, "chaos")
		}},
		{"nothing wrong: deleted by the operator, and back", nil, func(s *story) {
			up(s, "c1")
			s.delete(5, "c1")
			s.add(Record{Kind: kindOperator, At: at(5), Done: at(5), Action: "tamper", Key: keyPrefix + "c1", Revision: s.revision})
			s.put(9, "h1", "c1", value1("c1"))
		}},

		{"nothing wrong: listens late, and is registered then", nil, func(s *story) {
			s.startOf(1, "h1", "c1", "app:late")
			s.put(2.6, "h1", "c1", value1("c1"))
			s.quiet(3, 6, "calm", "c1")
		}},
		{"nothing wrong: crashed, and not registered yet", nil, func(s *story) {
			up(s, "c1")
			s.event(5, "h1", "c1", "die", "")
			s.delete(5.1, "c1")
			s.start(6, "h1", "c1")
			s.quiet(7, 10, "calm", "c1")
		}},

		{"1: registered before it listens", []int{ruleTruth}, func(s *story) {
			s.startOf(1, "h1", "c1", "app:late")
			s.put(1.5, "h1", "c1", value1("c1"))
		}},
		{"1: stopped and started, which is no crash", []int{ruleTruth}, func(s *story) {
			up(s, "c1")
			s.event(5, "h1", "c1", "kill", "15")
			s.delete(5.1, "c1")
			s.event(5.2, "h1", "c1", "die", "")
			s.start(6, "h1", "c1")
			s.quiet(7, 20, "calm", "c1")
		}},
		{"1: a container is missing", []int{ruleTruth}, func(s *story) {
			up(s, "c1")
			s.start(4, "h1", "c2")
			s.quiet(5, 20, "calm", "c1", "c2")
		}},
		{"1: a container has another port", []int{ruleTruth}, func(s *story) {
			s.start(1, "h1", "c1")
			s.put(1.1, "h1", "c1", "192.0.2.11:999")
			s.quiet(5, 20, "calm", "c1")
		}},
		{"1: right, but too late", []int{ruleTruth}, func(s *story) {
			s.start(4, "h1", "c1")
			s.put(7, "h1", "c1", value1("c1"))
			s.quiet(5, 20, "calm", "c1")
		}},
		{"1: right, but too late after a fault", []int{ruleTruth}, func(s *story) {
			s.fault(2, 4, "cut", "h1")
			s.start(4, "h1", "c1")
			s.put(15, "h1", "c1", value1("c1"))
			s.quiet(5, 20, "chaos", "c1")
		}},

		{"2: another host's key overwritten", []int{ruleOwner}, func(s *story) {
			up(s, "c1")
			s.start(5, "h2", "c1")
			s.put(5.1, "h2", "c1", "192.0.2.12:1001")
		}},
		{"2: a key written by hand overwritten", []int{ruleOwner}, func(s *story) {
			s.put(0.6, "", "c1", "by hand for ever")
			s.start(5, "h1", "c1")
			s.put(5.1, "h1", "c1", value1("c1"))
		}},
		{"2: a key written by hand deleted", []int{ruleOwner}, func(s *story) {
			s.put(0.6, "", "c1", "by hand for ever")
			s.start(5, "h1", "c1")
			s.event(6, "h1", "c1", "die", "")
			s.delete(6.1, "c1")
		}},
		{"2: another host's key deleted", []int{ruleOwner}, func(s *story) {
			up(s, "c1")
			s.start(5, "h2", "c1")
			s.event(6, "h2", "c1", "die", "")
			s.delete(6.1, "c1")
			s.log(6.2, "h2", "Key /app/servers/c1 deregistered")
		}},
		{"2: with another's lease", []int{ruleOwner}, func(s *story) {
			s.start(1, "h1", "c1")
			s.put(1.1, "h2", "c1", value1("c1"))
		}},
		{"2: with nobody's lease", []int{ruleOwner}, func(s *story) {
			s.start(1, "h1", "c1")
			s.put(1.1, "h1", "c1", value1("c1"))
			s.records[len(s.records)-1].Lease = "c3"
		}},

		{"3: outlives its container", []int{ruleDeath}, func(s *story) {
			up(s, "c1")
			s.event(5, "h1", "c1", "die", "")
			s.delete(17, "c1")
		}},
		{"3: outlives its container for ever", []int{ruleDeath}, func(s *story) {
			up(s, "c1")
			s.event(5, "h1", "c1", "die", "")
			s.add(Record{Kind: kindProbe, At: at(30), Term: 2, Answered: 3})
		}},
		{"3: outlives its container, the host having been away for a moment", []int{ruleDeath}, func(s *story) {
			up(s, "c1")
			s.fault(4, 6, "cut", "h1")
			s.event(5, "h1", "c1", "die", "")
			s.delete(18, "c1")
		}},
		{"3: outlives its host", []int{ruleDeath}, func(s *story) {
			up(s, "c1")
			s.fault(5, 30, "agent-kill", "h1")
			s.delete(17, "c1")
		}},
		{"3: without a lease", []int{ruleDeath}, func(s *story) {
			s.start(1, "h1", "c1")
			s.put(1.1, "", "c1", value1("c1"))
		}},

		{"4: deleted, and back, for no reason", []int{ruleChange}, func(s *story) {
			up(s, "c1")
			s.delete(5, "c1")
			s.put(5.1, "h1", "c1", value1("c1"))
		}},
		{"4: another value for no reason", []int{ruleChange}, func(s *story) {
			up(s, "c1")
			s.put(5, "h1", "c1", "192.0.2.11:1009")
		}},
		{"4: what never was", []int{ruleChange}, func(s *story) {
			s.put(5, "h1", "c1", value1("c1"))
		}},
		{"4: back after its death", []int{ruleChange}, func(s *story) {
			up(s, "c1")
			s.event(5, "h1", "c1", "kill", "9")
			s.delete(5.1, "c1")
			s.event(5.2, "h1", "c1", "die", "")
			s.put(7, "h1", "c1", value1("c1"))
			s.delete(8, "c1")
		}},
		{"4: a signal that stops nothing", []int{ruleChange}, func(s *story) {
			up(s, "c1")
			s.event(5, "h1", "c1", "kill", "1")
			s.delete(5.1, "c1")
		}},
		{"4: dockerd was killed, the container lived on", []int{ruleChange}, func(s *story) {
			up(s, "c1")
			s.fault(5, 6, "dockerd-kill", "h1")
			s.add(Record{Kind: kindSnapshot, At: at(6), Done: at(6.1), Host: "h1", Action: "connect", Containers: []Container{
				{ID: "h1c1", Name: "c1", State: "running", Status: "Up"}}})
			s.delete(6.2, "c1")
		}},
		{"4: expired though the agent was away for a moment only", []int{ruleChange}, func(s *story) {
			up(s, "c1")
			s.fault(5, 8, "agent-kill", "h1")
			s.delete(15.1, "c1")
		}},
		{"4: expired though only one member was away", []int{ruleChange}, func(s *story) {
			up(s, "c1")
			s.fault(5, 20, "member-stop", "n1")
			s.delete(15.1, "c1")
		}},
		{"4: revoked by a leader that was stopped, by an etcd that is known not to", []int{ruleChange}, func(s *story) {
			up(s, "c1")
			s.fault(5, 20, "member-stop", "n1")
			s.delete(20.1, "c1")
		}},
		{"nothing wrong: revoked by a leader that was stopped, by an etcd that is known to", nil, func(s *story) {
			s.records[0].Limits.OldLeaderRevokes = true
			up(s, "c1")
			s.fault(5, 20, "member-stop", "n1")
			s.delete(20.1, "c1")
			s.put(20.5, "h1", "c1", value1("c1"))
		}},

		{"5: a heartbeat that writes", []int{ruleHeartbeat}, func(s *story) {
			up(s, "c1")
			s.put(3, "h1", "c1", value1("c1"))
		}},
		{"5: a heartbeat with a new lease", []int{ruleHeartbeat}, func(s *story) {
			s.log(0.5, "h1", "Registering in etcd v3 (3.4.23) at http://192.0.2.21:2379, lease a2")
			up(s, "c1")
			s.put(3, "h1", "c1", value1("c1"))
			s.records[len(s.records)-1].Lease = "a2"
		}},

		{"0: a revision is missing", []int{ruleRecord}, func(s *story) {
			up(s, "c1")
			s.revision++
			s.event(5, "h1", "c1", "die", "")
			s.delete(5.1, "c1")
		}},
		{"0: a fault that could not be mended", []int{ruleRecord}, func(s *story) {
			s.fault(2, 3, "dockerd-kill", "h1")
			s.records[len(s.records)-1].Error = "it does not start"
		}},
		{"0: the end is missing", []int{ruleRecord}, func(s *story) {
			up(s, "c1")
			s.revision++
		}},
		{"2: one lease, two hosts", []int{ruleOwner}, func(s *story) {
			s.log(3, "h2", "Registering in etcd v3 (3.4.23) at http://192.0.2.21:2379, lease a1")
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newStory()
			test.tell(s)
			if got := s.rules(t); fmt.Sprint(got) != fmt.Sprint(append([]int{}, test.rules...)) {
				t.Errorf("violated: %v, should be %v", got, test.rules)
			}
		})
	}
}

func TestPlanIsTheSeeds(t *testing.T) {
	for round := 0; round < 3; round++ {
		if plan(7, round, Kinds{Tamper: true, Faults: true}).String() != plan(7, round, Kinds{Tamper: true, Faults: true}).String() {
			t.Errorf("round %d differs from itself", round)
		}
		if plan(7, round, Kinds{Tamper: true, Faults: true}).String() == plan(8, round, Kinds{Tamper: true, Faults: true}).String() {
			t.Errorf("round %d is the same for two seeds", round)
		}
	}
}

func TestPlanHasEverything(t *testing.T) {
	ops := map[string]bool{}
	for round := 0; round < 12; round++ {
		p := plan(1, round, Kinds{Tamper: true, Faults: true})
		for _, job := range append(p.Chaos, p.Calm...) {
			for _, step := range job.Steps {
				ops[step.Op] = true
				if step.AtMS+step.ForMS > chaosMS {
					t.Errorf("too late: %v", step)
				}
			}
		}
	}
	for _, op := range []string{"run", "start", "stop", "kill", "term", "hup", "rm", "pause", "unpause", "rename", "restart",
		"healthy", "unhealthy", "hand-put", "hand-delete", "tamper", "agent-kill", "agent-stop", "dockerd-kill",
		"dockerd-stop", "cut", "slow-link", "host-death", "member-kill", "member-stop", "member-cut", "slow-member"} {
		if !ops[op] {
			t.Errorf("never: %s", op)
		}
	}
}
