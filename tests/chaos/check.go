package main

import (
	"fmt"
	"regexp"
	"sort"
	"strings"
)

// The rules, by their numbers in docs/chaos.md. 0: the record itself is not whole.
const (
	ruleRecord = iota
	ruleTruth
	ruleOwner
	ruleDeath
	ruleChange
	ruleHeartbeat
)

type Violation struct {
	Rule int
	At   int64
	Text string
}

func (v Violation) String() string {
	return fmt.Sprintf("violation of rule %d at %.3f: %s", v.Rule, float64(v.At)/1e6, v.Text)
}

type Verdict struct {
	Violations                    []Violation
	operations, faults, changes   int
	byDocker, byExpiry, byHand    int
	quiet                         int
	settledMS, calmedMS, expiries int64
}

// Figures is the line that a run ends with.
func (v Verdict) Figures() string {
	return fmt.Sprintf("%d operations, %d faults, %d events checked (%d by Docker, %d by expiry, %d by hand), "+
		"%d quiet points (at most %d ms after faults, %d ms without), %d violations", v.operations, v.faults, v.changes,
		v.byDocker, v.byExpiry, v.byHand, v.quiet, v.settledMS, v.calmedMS, len(v.Violations))
}

const (
	second = int64(1_000_000)
	// Between what happens and what Docker, or the recorder, says about it.
	slack = second / 2
	// As long as nothing is wrong, or one member only, is enough for a heartbeat to come through: a heartbeat of 2 s
	// after a backoff of 1.5 s; with a silent member, its timeout of a quarter of the TTL as well.
	clearTime  = 5 * second
	singleTime = 8500 * second / 1000
	// A new leader gives each lease its TTL anew, once it is one.
	electionTime = 1500 * second / 1000
)

// wishes: what is to stand in etcd. Of the same name on two hosts either will do.
type wishes map[string]map[string]bool

func (w wishes) add(address string, containers []Container) {
	for key, value := range keysOf(address, containers) {
		if w[key] == nil {
			w[key] = map[string]bool{}
		}
		w[key][value] = true
	}
}

// differ says how, or "". A key written by hand is right, whatever containers there are.
// leaveOpen: a container that may be delayed need not be there.
func (w wishes) leaveOpen(address string, container Container) {
	for key := range keysOf(address, []Container{container}) {
		if w[key] != nil {
			w[key][""] = true
		}
	}
}

func (w wishes) differ(state map[string]entry) string {
	var differences []string
	for key, e := range state {
		if strings.HasPrefix(key, keyPrefix) && e.lease != "" && !w[key][e.value] {
			differences = append(differences, fmt.Sprintf("%s = %s is there, Docker has %v", key, e.value, values(w[key])))
		}
	}
	for key := range w {
		if _, there := state[key]; !there && !w[key][""] {
			differences = append(differences, fmt.Sprintf("%s is missing, Docker has %v", key, values(w[key])))
		}
	}
	sort.Strings(differences)
	return strings.Join(differences, "; ")
}

func values(set map[string]bool) []string {
	var list []string
	for value := range set {
		list = append(list, value)
	}
	sort.Strings(list)
	return list
}

type span struct{ from, to int64 }

func (s span) overlaps(from, to int64) bool { return s.from < to && s.to > from }

// A key under a host's lease, for as long as it was there.
type presence struct {
	span
	key, host string
}

type checker struct {
	verdict Verdict
	limits  Limits
	records []Record
	end     int64

	owners    map[string]string // lease → host
	blackouts map[string][]span // host: its agent did not reach etcd, at times or at all
	dead      map[string][]span // host: its agent certainly did not reach etcd
	dockers   map[string][]span // host: dockerd was away
	troubles  []span            // one etcd member was disturbed
	outages   []span            // more than one was, or none served
	resumed   []int64           // a member went on that was stopped for longer than a TTL
	elections []int64           // there was a new leader

	truth     *truth
	presences []presence
}

func check(records []Record) Verdict {
	c := &checker{records: records, owners: map[string]string{}, blackouts: map[string][]span{}, dead: map[string][]span{},
		dockers: map[string][]span{}}
	if len(records) == 0 || records[0].Limits == nil || records[len(records)-1].Kind != kindEnd {
		c.violation(ruleRecord, 0, "the history does not begin with limits and end with an end")
		return c.verdict
	}
	c.limits = *records[0].Limits
	c.end = records[len(records)-1].At
	c.gather()
	c.truth = newTruth(c)
	c.checkWhole()
	c.checkChanges()
	c.checkOutliving()
	c.checkQuiet()
	sort.SliceStable(c.verdict.Violations, func(i, j int) bool { return c.verdict.Violations[i].At < c.verdict.Violations[j].At })
	return c.verdict
}

func (c *checker) violation(rule int, at int64, format string, arguments ...any) {
	c.verdict.Violations = append(c.verdict.Violations, Violation{rule, at, fmt.Sprintf(format, arguments...)})
}

func (c *checker) ttl() int64  { return int64(c.limits.TTLS) * second }
func (c *checker) late() int64 { return int64(c.limits.LateMS) * 1000 }

var publishing = regexp.MustCompile(`Registering in etcd v3 .*, lease ([0-9a-f]+)$`)

// gather: whose the leases are, and what was disturbed when.
func (c *checker) gather() {
	term, away := int64(0), int64(0)
	for _, r := range c.records {
		switch r.Kind {
		case kindAgent:
			if m := publishing.FindStringSubmatch(r.Line); m != nil {
				if other, known := c.owners[m[1]]; known && other != r.Host {
					c.violation(ruleOwner, r.At, "%s uses lease %s of %s", r.Host, m[1], other)
				} else {
					c.owners[m[1]] = r.Host
				}
			}
		case kindOp, kindOperator:
			c.verdict.operations++
		case kindFault:
			c.verdict.faults++
			if r.Error != "" {
				c.violation(ruleRecord, r.At, "a fault could not be made or mended: %s", r.Error)
			}
			c.gatherFault(r)
		case kindProbe:
			if term != 0 && r.Term != term {
				c.elections = append(c.elections, r.Done)
			}
			term = r.Term
			if r.Answered == 0 && away == 0 {
				away = r.At
			} else if r.Answered > 0 && away != 0 {
				c.outages = append(c.outages, span{away, r.Done})
				away = 0
			}
		}
	}
	if away != 0 {
		c.outages = append(c.outages, span{away, c.end})
	}
}

func (c *checker) gatherFault(r Record) {
	outer, inner := span{r.At, r.Well}, span{r.Done, r.Up}
	switch r.Action {
	case "agent-kill", "agent-stop", "cut":
		c.blackouts[r.Host] = append(c.blackouts[r.Host], outer)
		c.dead[r.Host] = append(c.dead[r.Host], inner)
	case "slow-link":
		c.blackouts[r.Host] = append(c.blackouts[r.Host], outer)
	case "host-death":
		c.blackouts[r.Host] = append(c.blackouts[r.Host], outer)
		c.dead[r.Host] = append(c.dead[r.Host], inner)
		c.dockers[r.Host] = append(c.dockers[r.Host], outer)
	case "dockerd-kill", "dockerd-stop":
		c.dockers[r.Host] = append(c.dockers[r.Host], outer)
	default:
		if r.Action == "member-stop" && r.Up-r.Done > c.ttl() {
			c.resumed = append(c.resumed, r.Up)
		}
		if strings.Contains(r.Host, ",") {
			c.outages = append(c.outages, outer)
		} else {
			c.troubles = append(c.troubles, outer)
		}
	}
}

// checkWhole: each revision of etcd's was recorded.
func (c *checker) checkWhole() {
	last := int64(0)
	for _, r := range c.records {
		if r.Kind != kindEtcd || r.Revision == last {
			continue
		}
		if last != 0 && r.Revision != last+1 {
			c.violation(ruleRecord, r.At, "revision %d was recorded after %d", r.Revision, last)
		}
		last = r.Revision
	}
	if end := c.records[len(c.records)-1].Revision; last != 0 && end != last {
		c.violation(ruleRecord, c.end, "etcd came to revision %d, the recorder to %d", end, last)
	}
}

// ------------------------------------------------------------------- rules 2, 4 and 5: each event

// What a host did last to a key.
type deed struct {
	cause    int64  // when what explains it happened
	why      string // what that was
	survives string // the container that was only signalled, and may come back by itself
	deleted  bool
}

const (
	byDocker = "Docker"
	byExpiry = "expiry"
	byHand   = "hand"
)

func (c *checker) checkChanges() {
	state := map[string]entry{}
	since := map[string]int64{}
	deeds := map[string]deed{} // host and key
	hand := c.handRevisions()
	for _, r := range c.records {
		if r.Kind != kindEtcd || !strings.HasPrefix(r.Key, keyPrefix) {
			continue
		}
		c.verdict.changes++
		before, there := state[r.Key]
		action, manual := hand[fmt.Sprintf("%d %s", r.Revision, r.Key)]
		if !manual && r.Lease == "" && !r.Deleted && strings.HasPrefix(r.Value, "by hand ") {
			action, manual = "hand-put", true // its answer never came
		}
		if there && before.lease != "" {
			c.presences = append(c.presences, presence{span{since[r.Key], r.At}, r.Key, c.owners[before.lease]})
		}
		switch {
		case manual:
			c.verdict.byHand++
			if action == "tamper" {
				deeds[c.owners[before.lease]+r.Key] = deed{cause: r.At, why: byHand, deleted: true}
			}
		case r.Deleted:
			c.checkDelete(r, before, there, deeds)
		default:
			c.checkPut(r, before, there, deeds)
		}
		if r.Deleted {
			delete(state, r.Key)
		} else {
			state[r.Key] = entry{r.Value, r.Lease}
			since[r.Key] = r.At
		}
	}
	for key, e := range state {
		if e.lease != "" {
			c.presences = append(c.presences, presence{span{since[key], c.end}, key, c.owners[e.lease]})
		}
	}
}

// handRevisions: "REVISION KEY" → what the operator did.
func (c *checker) handRevisions() map[string]string {
	hand := map[string]string{}
	for _, r := range c.records {
		if r.Kind == kindOperator && r.Revision != 0 {
			hand[fmt.Sprintf("%d %s", r.Revision, r.Key)] = r.Action
		}
	}
	return hand
}

// What was given up may still be on its way between etcd's members.
const lateWrite = 30 * second

// byLostAnswer: the operator deleted it, but never heard so.
func (c *checker) byLostAnswer(r Record, action string) bool {
	for _, o := range c.records {
		if o.Kind == kindOperator && o.Action == action && o.Key == r.Key && o.Revision == 0 &&
			o.Error != "nothing to be done" && r.At > o.At-slack && r.At < o.Done+lateWrite {
			return true
		}
	}
	return false
}

func (c *checker) checkPut(r Record, before entry, there bool, deeds map[string]deed) {
	host := c.owners[r.Lease]
	what := fmt.Sprintf("%s put %s = %s", nobody(host), r.Key, r.Value)
	switch {
	case r.Lease == "":
		c.violation(ruleDeath, r.At, "%s without a lease", what)
		return
	case host == "":
		c.violation(ruleOwner, r.At, "%s with lease %s, which is no agent's", what, r.Lease)
		return
	case !strings.HasPrefix(r.Value, c.limits.Hosts[host]+":"):
		c.violation(ruleOwner, r.At, "%s, which is not its address", what)
		return
	case there && before.lease == "":
		c.violation(ruleOwner, r.At, "%s over what was written by hand, %s", what, before.value)
	case there && c.owners[before.lease] != host:
		c.violation(ruleOwner, r.At, "%s over that of %s, %s", what, nobody(c.owners[before.lease]), before.value)
	case there && before.value == r.Value:
		c.violation(ruleHeartbeat, r.At, "%s, which was there already", what)
		return
	}
	for _, start := range c.truth.late[host+"/"+nameOf(r.Key)] {
		if r.At > start && r.At < start+lateStart-slack {
			c.violation(ruleTruth, r.At, "%s, %.3f s after its start, before it listens", what, float64(r.At-start)/1e6)
		}
	}
	last := deeds[host+r.Key]
	cause, _ := c.truth.cause(host, nameOf(r.Key), true, last.cause+1, r.At+slack)
	switch {
	case cause != 0:
		c.verdict.byDocker++
		deeds[host+r.Key] = deed{cause: cause, why: byDocker}
	case last.deleted && (last.why == byExpiry || last.why == byHand):
		c.count(last.why)
		deeds[host+r.Key] = deed{cause: last.cause, why: last.why}
	case last.survives != "" && c.truth.runs(host, last.survives, r.At):
		c.verdict.byDocker++
		deeds[host+r.Key] = deed{cause: last.cause, why: byDocker}
	default:
		c.violation(ruleChange, r.At, "%s, for no reason", what)
		deeds[host+r.Key] = deed{cause: r.At}
	}
}

func (c *checker) count(why string) {
	if why == byExpiry {
		c.verdict.byExpiry++
	} else {
		c.verdict.byHand++
	}
}

func (c *checker) checkDelete(r Record, before entry, there bool, deeds map[string]deed) {
	if there && before.lease == "" {
		if c.byLostAnswer(r, "hand-delete") {
			c.verdict.byHand++
			return
		}
		c.violation(ruleOwner, r.At, "%s, written by hand, was deleted%s", r.Key, c.who(r, ""))
		return
	}
	host := c.owners[before.lease]
	last := deeds[host+r.Key]
	cause, signalled := c.truth.cause(host, nameOf(r.Key), false, last.cause+1, r.At+slack)
	expired := c.mayExpire(host, r.At)
	switch {
	case expired:
		// What died meanwhile, too, expires. But then it comes back only if Docker says so.
		c.verdict.byExpiry++
		if cause == 0 {
			cause = r.At
		}
		deeds[host+r.Key] = deed{cause: cause, why: byExpiry, deleted: true}
	case cause != 0:
		c.verdict.byDocker++
		deeds[host+r.Key] = deed{cause: cause, why: byDocker, survives: signalled, deleted: true}
	case c.byLostAnswer(r, "tamper"):
		c.verdict.byHand++
		deeds[host+r.Key] = deed{cause: r.At, why: byHand, deleted: true}
	default:
		rule, who := ruleChange, c.who(r, host)
		if who != "" {
			rule = ruleOwner
		}
		c.violation(rule, r.At, "%s = %s of %s was deleted for no reason%s", r.Key, before.value, nobody(host), who)
		// It is to come back.
		deeds[host+r.Key] = deed{cause: r.At, why: byHand, deleted: true}
	}
}

func nobody(host string) string {
	if host == "" {
		return "nobody"
	}
	return host
}

// who says which agent but the owner's claims a deletion for itself.
func (c *checker) who(deletion Record, owner string) string {
	for _, r := range c.records {
		if r.Kind == kindAgent && r.Host != owner && r.At > deletion.At-slack && r.At < deletion.At+second &&
			strings.HasSuffix(r.Line, "Key "+deletion.Key+" deregistered") {
			return ", by " + r.Host
		}
	}
	return ""
}

// mayExpire: for a TTL no heartbeat of the host's agent may have come through.
func (c *checker) mayExpire(host string, at int64) bool {
	for _, resumed := range c.resumed {
		if c.limits.OldLeaderRevokes && at > resumed && at < resumed+2*second {
			return true
		}
	}
	from := at - c.ttl()
	hard := append(append([]span{}, c.blackouts[host]...), c.outages...)
	return longestGap(append(hard, c.troubles...), from, at) < clearTime && longestGap(hard, from, at) < singleTime
}

// longestGap returns how long at most there was none of the spans.
func longestGap(spans []span, from, to int64) int64 {
	sorted := append([]span{}, spans...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].from < sorted[j].from })
	longest, at := int64(0), from
	for _, s := range sorted {
		if !s.overlaps(from, to) {
			continue
		}
		longest = max(longest, s.from-at)
		at = max(at, s.to)
	}
	return max(longest, to-at)
}

// ---------------------------------------------------------------------------- rule 3: outliving

func (c *checker) checkOutliving() {
	for _, p := range c.presences {
		if p.host == "" {
			continue
		}
		for _, out := range c.truth.outs(p.host, nameOf(p.key)) {
			if !out.overlaps(p.from, p.to) {
				continue
			}
			limit := c.outliveUntil(p.host, out.from)
			// A late one, written for what has died meanwhile, is to go as soon.
			limit = max(limit, c.outliveUntil(p.host, p.from))
			if end := min(p.to, out.to); end > limit {
				c.violation(ruleDeath, limit, "%s of %s was out at %.3f, its key was still there %.3f s later",
					p.key, p.host, float64(out.from)/1e6, float64(end-out.from)/1e6)
			}
		}
		for _, dead := range c.dead[p.host] {
			limit := c.withEtcd(dead.from, dead.from+c.ttl()+second+c.late())
			if end := min(p.to, dead.to); dead.overlaps(p.from, p.to) && end > limit {
				c.violation(ruleDeath, limit, "%s of %s did not reach etcd from %.3f on, its key %s was still there %.3f s later",
					p.host, c.limits.Hosts[p.host], float64(dead.from)/1e6, p.key, float64(end-dead.from)/1e6)
			}
		}
	}
}

// outliveUntil: by when the key of a container that was out at that time is to be gone.
func (c *checker) outliveUntil(host string, at int64) int64 {
	for again := true; again; {
		again = false
		for _, s := range c.dockers[host] {
			// It cannot be heard.
			if s.from < at+2*second && s.to > at {
				at, again = s.to, true
			}
		}
		for _, s := range c.dead[host] {
			// Nobody is there to delete it, but its lease ends.
			if s.from < at+2*second && s.to > at && s.to-s.from > c.ttl()+second {
				return c.withEtcd(at, max(at, s.from)+c.ttl()+second+c.late())
			}
		}
		for _, s := range c.blackouts[host] {
			if s.from < at+2*second && s.to > at {
				at, again = s.to, true
			}
		}
	}
	return c.withEtcd(at, at+c.ttl()+second+c.late())
}

// withEtcd: a limit is put off where etcd cannot keep it: leases begin anew when there is a new leader.
func (c *checker) withEtcd(from, limit int64) int64 {
	for again := true; again; {
		again = false
		anew := c.ttl() + second + electionTime + c.late()
		for _, s := range c.outages {
			if s.overlaps(from, limit) && s.to+anew > limit {
				limit, again = s.to+anew, true
			}
		}
		for _, at := range c.elections {
			if at > from && at < limit && at+anew > limit {
				limit, again = at+anew, true
			}
		}
		for _, s := range c.troubles {
			if s.overlaps(from, limit) && s.to+electionTime > limit {
				limit, again = s.to+electionTime, true
			}
		}
	}
	return limit
}

func min(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}

// --------------------------------------------------------------------------- rule 1: quiet points

func (c *checker) checkQuiet() {
	for _, r := range c.records {
		if r.Kind == kindQuiet {
			c.verdict.quiet++
			c.checkQuietPoint(r)
		}
	}
}

func (c *checker) checkQuietPoint(quiet Record) {
	bound, most := int64(c.limits.SettleMS)*1000, &c.verdict.settledMS
	if quiet.Action == "calm" {
		bound, most = int64(c.limits.CalmMS)*1000, &c.verdict.calmedMS
	}
	lists := map[string][]Container{}
	from := c.lastDisturbance(quiet.Done)
	for _, r := range c.records {
		if r.Kind == kindSnapshot && r.Action == "quiet" && r.At >= quiet.At && r.At <= quiet.Done {
			if _, before := lists[r.Host]; before {
				from = max(from, r.Done)
			}
			lists[r.Host] = r.Containers
		}
	}
	wanted := wishes{}
	for _, host := range sortedHosts(c.limits.Hosts) {
		if lists[host] == nil {
			c.violation(ruleRecord, quiet.At, "nobody asked the Docker of %s", host)
			return
		}
		wanted.add(c.limits.Hosts[host], lists[host])
		for _, container := range lists[host] {
			if c.truth.mayBeDelayed(host, container.ID, from, quiet.Done) {
				wanted.leaveOpen(c.limits.Hosts[host], container)
			}
		}
	}
	equalAt, difference := c.equalSince(wanted, from, quiet.Done)
	if difference != "" {
		c.violation(ruleTruth, quiet.Done, "%.1f s after the last change etcd is not what Docker is: %s",
			float64(quiet.Done-from)/1e6, difference)
		return
	}
	took := equalAt - from
	*most = max(*most, took/1000)
	if took > bound+c.late() {
		c.violation(ruleTruth, equalAt, "etcd was what Docker is only after %.3f s", float64(took)/1e6)
	}
}

// lastDisturbance: when a container changed last, or a fault was mended, or the operator had written.
func (c *checker) lastDisturbance(until int64) int64 {
	last := c.truth.lastTurn(until)
	for _, r := range c.records {
		if r.Kind == kindFault && r.Well <= until {
			last = max(last, r.Well)
		}
		if r.Kind == kindOperator && r.Revision != 0 && r.Done <= until {
			last = max(last, r.Done)
		}
	}
	return last
}

// equalSince returns since when within the time etcd is what is wanted, and how it differs at the end.
func (c *checker) equalSince(wanted wishes, from, to int64) (int64, string) {
	state, since, difference, begun := map[string]entry{}, from, "", false
	for _, r := range c.records {
		if r.Kind != kindEtcd || r.At > to {
			continue
		}
		if r.At > from && !begun {
			difference, begun = wanted.differ(state), true
		}
		if r.Deleted {
			delete(state, r.Key)
		} else {
			state[r.Key] = entry{r.Value, r.Lease}
		}
		if begun {
			now := wanted.differ(state)
			if now == "" && difference != "" {
				since = r.At
			}
			difference = now
		}
	}
	return since, wanted.differ(state)
}

func sortedHosts(hosts map[string]string) []string {
	var names []string
	for name := range hosts {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
