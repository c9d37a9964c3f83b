package main

import (
	"fmt"
	"math/rand"
	"strings"
)

var (
	hosts   = []string{"h1", "h2", "h3"}
	members = []string{"n1", "n2", "n3"}
)

const (
	calmMS = 4000 // how long the jobs of a round go on without faults
	roundS = 36   // the least that a round takes with all its waiting,
	waitS  = 20   // which can be this long
	// A key deleted by hand is back only after a resync: not with a longer one, and not in each round.
	tamperResyncS = 5
	tamperEvery   = 3
)

// Until then the jobs of a round go on with faults.
var chaosMS = 25000

// roundsIn returns how many rounds there are; a single one may be shorter than others.
func roundsIn(seconds int) int {
	if seconds < roundS {
		chaosMS = 1000 * (seconds - waitS)
		if chaosMS < 5000 {
			chaosMS = 5000
		}
		return 1
	}
	return seconds / roundS
}

// Step is what a job does next.
type Step struct {
	AtMS  int // not before, from the beginning of the phase
	Op    string
	Host  string // or the etcd members, by commas
	Name  string // of a container or a key
	Other string // rename: the new name; run: the image
	ForMS int    // of a fault
}

func (s Step) String() string {
	text := fmt.Sprintf("%6d %-13s %-8s", s.AtMS, s.Op, s.Host)
	for _, word := range []string{s.Name, s.Other} {
		if word != "" {
			text += " " + word
		}
	}
	if s.ForMS > 0 {
		text += fmt.Sprintf(" for %d", s.ForMS)
	}
	return text
}

// Job is done in order; jobs are done at once.
type Job struct {
	Name  string
	Steps []Step
}

// Plan is a round: chaos, a quiet point, some operations without faults, another quiet point.
type Plan struct {
	Round       int
	Chaos, Calm []Job
}

func (p Plan) String() string {
	var text strings.Builder
	for _, phase := range []struct {
		name string
		jobs []Job
	}{{"chaos", p.Chaos}, {"calm", p.Calm}} {
		for _, job := range phase.jobs {
			for _, step := range job.Steps {
				fmt.Fprintf(&text, "%d %s %-8s %s\n", p.Round, phase.name, job.Name, strings.TrimRight(step.String(), " "))
			}
		}
	}
	return text.String()
}

// A job's decisions depend on the seed, the round and its number alone. Which containers there are is known
// from the rounds before, by what was planned and not by what became of it.
type planner struct {
	seed   int64
	models map[string]*model
	decks  map[string][]fault
	kinds  Kinds
}

// Kinds is what else there is than operations on containers and keys written by hand.
type Kinds struct {
	Tamper bool // keys of the agents' are deleted by hand
	Faults bool
}

// plan draws a round; it has to draw those before it, too, for what they leave behind.
func plan(seed int64, round int, kinds Kinds) Plan {
	p := planner{seed: seed, models: map[string]*model{}, decks: map[string][]fault{}, kinds: kinds}
	var result Plan
	for n := 0; n <= round; n++ {
		result = p.round(n)
	}
	return result
}

func (p *planner) random(round, job int) *rand.Rand {
	return rand.New(rand.NewSource(p.seed*1_000_003 + int64(round)*1_009 + int64(job)))
}

func (p *planner) round(round int) Plan {
	result := Plan{Round: round}
	for i, host := range hosts {
		steps := p.containers(p.random(round, i), round, host)
		result.Chaos = append(result.Chaos, Job{"ops-" + host, steps})
	}
	result.Chaos = append(result.Chaos,
		Job{"shared", p.shared(p.random(round, 10))},
		Job{"operator", p.operator(p.random(round, 11))},
	)
	if p.kinds.Tamper && round%tamperEvery == 0 {
		result.Chaos = append(result.Chaos, Job{"tamper", p.tamper(p.random(round, 12))})
	}
	if p.kinds.Faults {
		result.Chaos = append(result.Chaos,
			Job{"faults-1", p.faults(p.random(round, 20), "hosts-1", hostFaults, "h1", "h2")},
			Job{"faults-2", p.faults(p.random(round, 21), "hosts-2", hostFaults, "h3")},
			Job{"faults-3", p.faults(p.random(round, 22), "etcd", etcdFaults, members...)},
		)
	}
	for i, host := range hosts {
		result.Calm = append(result.Calm, Job{"ops-" + host, p.calm(p.random(round, 30+i), host)})
	}
	return result
}

// ----------------------------------------------------------------------------------- containers

type model struct {
	name   string // as it is now
	image  string
	state  string // "", running, paused, stopped
	health bool
}

// Weights are per state: an operation comes as often as its number says.
type choice struct {
	op     string
	weight int
}

var operations = map[string][]choice{
	"": {{"run", 1}},
	"running": {{"stop", 15}, {"kill", 10}, {"rm", 12}, {"pause", 14}, {"rename", 14}, {"restart", 14},
		{"term", 6}, {"hup", 5}, {"run", 10}},
	"paused":  {{"unpause", 60}, {"rm", 10}, {"stop", 15}, {"rename", 15}},
	"stopped": {{"start", 55}, {"rm", 15}, {"run", 20}, {"rename", 10}},
	"health":  {{"unhealthy", 40}, {"healthy", 40}, {"restart", 10}, {"stop", 10}},
	"calm":    {{"run", 30}, {"rm", 20}, {"rename", 20}, {"pause", 15}, {"stop", 15}},
}

func draw(random *rand.Rand, choices []choice) string {
	total := 0
	for _, c := range choices {
		total += c.weight
	}
	n := random.Intn(total)
	for _, c := range choices {
		if n -= c.weight; n < 0 {
			return c.op
		}
	}
	panic("not reached")
}

func (m *model) apply(op string) {
	switch op {
	case "run", "start", "restart", "unpause":
		m.state = "running"
	case "stop", "kill":
		m.state = "stopped"
	case "rm":
		m.state = ""
	case "pause":
		m.state = "paused"
	}
}

// step draws an operation on m and plans for it to succeed.
func (m *model) step(random *rand.Rand, host string, choices []choice, images []choice) Step {
	op := draw(random, choices)
	step := Step{Op: op, Host: host, Name: m.name}
	switch op {
	case "run":
		step.Other = draw(random, images)
		if m.health {
			step.Other = "app:health"
		}
		m.image = step.Other
	case "rename":
		step.Other = strings.TrimSuffix(m.name, "x")
		if step.Other == m.name {
			step.Other += "x"
		}
		m.name = step.Other
	}
	m.apply(op)
	return step
}

func (m *model) choices() []choice {
	if m.health && m.state == "running" {
		return operations["health"]
	}
	return operations[m.state]
}

var images = []choice{{"app:1", 50}, {"app3:1", 15}, {"app:ignoreterm", 15}, {"app:late", 20}}

func (p *planner) modelsOf(host string) []*model {
	var models []*model
	for _, letter := range []string{"a", "b", "c", "d"} {
		name := host + letter
		if p.models[name] == nil {
			p.models[name] = &model{name: name, health: letter == "d"}
		}
		models = append(models, p.models[name])
	}
	return models
}

// lastOp: some jobs end before the faults do, so that what is mended last finds nothing else to do, too.
func lastOp(random *rand.Rand) int { return chaosMS - random.Intn(chaosMS/3) }

// containers: the first round begins with a container of each.
func (p *planner) containers(random *rand.Rand, round int, host string) []Step {
	models := p.modelsOf(host)
	var steps []Step
	at, end := random.Intn(500), lastOp(random)
	for n := 0; at < end; n++ {
		m := models[random.Intn(len(models))]
		if round == 0 && n < len(models) {
			m = models[n]
		}
		step := m.step(random, host, m.choices(), images)
		step.AtMS = at
		steps = append(steps, step)
		if step.Op == "run" && m.health {
			steps = append(steps, Step{AtMS: at + 200, Op: "healthy", Host: host, Name: m.name})
		}
		at += 700 + random.Intn(2300)
	}
	return steps
}

// calm: what takes no stop timeout and no other host to settle.
func (p *planner) calm(random *rand.Rand, host string) []Step {
	models := p.modelsOf(host)[:3]
	var steps []Step
	for at := random.Intn(500); at < calmMS; at += 700 + random.Intn(1300) {
		m := models[random.Intn(len(models))]
		choices := operations["calm"]
		if m.state != "running" {
			choices = []choice{{"run", 1}}
		}
		step := m.step(random, host, choices, images[:2])
		step.AtMS = at
		steps = append(steps, step)
	}
	return steps
}

// ------------------------------------------------------------------ names of several, and by hand

// Keys written by hand: one that stays for ever, one that comes and goes.
const handForEver, handNow = "hand1", "hand2"

// shared runs containers of the same names on all hosts, also of names that are written by hand.
func (p *planner) shared(random *rand.Rand) []Step {
	var steps []Step
	end := lastOp(random)
	for at := random.Intn(1000); at < end; at += 800 + random.Intn(2000) {
		host := hosts[random.Intn(len(hosts))]
		name := []string{"s1", "s1", "s1", "s2", "s2", handForEver, handNow}[random.Intn(7)]
		id := host + "/" + name
		if p.models[id] == nil {
			p.models[id] = &model{name: name}
		}
		m := p.models[id]
		choices := []choice{{"stop", 30}, {"kill", 20}, {"rm", 30}, {"run", 20}}
		if m.state != "running" {
			choices = []choice{{"run", 1}}
		}
		step := m.step(random, host, choices, images[:1])
		step.AtMS = at
		steps = append(steps, step)
	}
	return steps
}

func (p *planner) operator(random *rand.Rand) []Step {
	var steps []Step
	for at := 1000 + random.Intn(3000); at < chaosMS; at += 4000 + random.Intn(4000) {
		op := []string{"hand-put", "hand-delete"}[random.Intn(2)]
		steps = append(steps, Step{AtMS: at, Op: op, Name: handNow})
	}
	return steps
}

// tamper deletes a key of each host's when nothing else is done to the container any more: a resync brings it back.
func (p *planner) tamper(random *rand.Rand) []Step {
	var steps []Step
	for _, host := range hosts {
		for _, i := range random.Perm(3) {
			if m := p.modelsOf(host)[i]; m.state == "running" && m.image != "app3:1" {
				steps = append(steps, Step{AtMS: chaosMS, Op: "tamper", Name: m.name})
				break
			}
		}
	}
	return steps
}

// --------------------------------------------------------------------------------------- faults

// fault lasts from least to most, and always one more of its target's kind.
type fault struct {
	op          string
	least, most int
	targets     int
}

// Either well below the TTL or longer than it: in between, nobody could say whether a lease may have ended.
var hostFaults = []fault{
	{"agent-kill", 200, 3000, 1},
	{"agent-kill", 200, 1000, 1},
	{"agent-kill", 13000, 14000, 1},
	{"agent-stop", 500, 3500, 1},
	{"agent-stop", 13000, 14000, 1},
	{"dockerd-kill", 200, 4000, 1},
	{"dockerd-kill", 200, 1000, 1},
	{"dockerd-stop", 500, 5000, 1},
	{"cut", 500, 3500, 1},
	{"cut", 13000, 14000, 1},
	{"slow-link", 3000, 6000, 1},
	{"host-death", 1000, 13000, 1},
}

var etcdFaults = []fault{
	{"member-kill", 1000, 4000, 1},
	{"member-kill", 13000, 14000, 1},
	{"member-stop", 1000, 4000, 1},
	{"member-stop", 13000, 14000, 1},
	{"member-cut", 1000, 4000, 1},
	{"member-cut", 13000, 14000, 1},
	{"slow-member", 3000, 6000, 1},
	{"member-kill", 1000, 4000, 2},
	{"member-stop", 1000, 4000, 2},
	{"member-kill", 13000, 14000, 3},
}

// faults deals from a shuffled deck, so that a few rounds have them all.
func (p *planner) faults(random *rand.Rand, deck string, kinds []fault, targets ...string) []Step {
	var steps []Step
	for at := 1000 + random.Intn(2000); ; at += 500 + random.Intn(2000) {
		if len(p.decks[deck]) == 0 {
			p.decks[deck] = append([]fault{}, kinds...)
			random.Shuffle(len(kinds), func(i, j int) {
				p.decks[deck][i], p.decks[deck][j] = p.decks[deck][j], p.decks[deck][i]
			})
		}
		f := p.decks[deck][0]
		length := f.least + random.Intn(f.most-f.least)
		if at+length > chaosMS {
			return steps
		}
		p.decks[deck] = p.decks[deck][1:]
		var hit []string
		for _, i := range random.Perm(len(targets))[:f.targets] {
			hit = append(hit, targets[i])
		}
		steps = append(steps, Step{AtMS: at, Op: f.op, Host: strings.Join(hit, ","), ForMS: length})
		at += length
	}
}
