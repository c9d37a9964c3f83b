package main

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"
)

const (
	firstPort = 32768
	lastPort  = 60999
)

var startedAt = regexp.MustCompile(`"StartedAt": ?"[^"]*"`)

type state string

const (
	created state = "created"
	running state = "running"
	paused  state = "paused"
	exited  state = "exited"
)

type container struct {
	serial   int
	id, name string
	state    state
	health   string // "", starting, healthy, unhealthy
	starts   int    // a restart maps other ports
	started  time.Time
	entry    []byte // of the list; nil: to be made
}

// One engine, behind a socket of its own.
type engine struct {
	number   int
	id       string
	options  options
	recorded *bodies
	hub      hub
	faults   faults
	requests counters

	mu         sync.Mutex
	containers []*container // in the order of creation
	byID       map[string]*container
	byName     map[string]*container
	serial     int
	starts     int
	api, min   string
}

func newEngine(number int, o options, recorded *bodies) *engine {
	e := &engine{
		number:   number,
		options:  o,
		recorded: recorded,
		byID:     map[string]*container{},
		byName:   map[string]*container{},
		api:      o.apiVersion,
		min:      o.minAPI,
	}
	e.faults.seed(o.seed + int64(number))
	e.requests.init()
	e.id = e.engineID()
	return e
}

func (e *engine) digest(what string, n int) [32]byte {
	return sha256.Sum256([]byte(fmt.Sprintf("%d/%d/%s/%d", e.options.seed, e.number, what, n)))
}

// Twelve groups of four, as Docker makes them.
func (e *engine) engineID() string {
	sum := e.digest("engine", 0)
	text := base32.StdEncoding.EncodeToString(sum[:30])
	var groups []string
	for i := 0; i < len(text); i += 4 {
		groups = append(groups, text[i:i+4])
	}
	return strings.Join(groups, ":")
}

func (e *engine) add(name string) *container {
	sum := e.digest("container", e.serial)
	c := &container{serial: e.serial, id: hex.EncodeToString(sum[:]), state: created}
	if name == "" {
		format := strings.ReplaceAll(e.options.names, "%e", fmt.Sprintf("%04d", e.number))
		name = fmt.Sprintf(format, e.serial)
	}
	c.name = name
	e.serial++
	e.containers = append(e.containers, c)
	e.byID[c.id] = c
	e.byName[c.name] = c
	e.emit(c, "create", nil)
	return c
}

func (e *engine) remove(c *container) {
	for i, other := range e.containers {
		if other == c {
			e.containers = append(e.containers[:i:i], e.containers[i+1:]...)
			break
		}
	}
	delete(e.byID, c.id)
	delete(e.byName, c.name)
	e.emit(c, "destroy", nil)
}

func (e *engine) setState(c *container, s state) {
	c.state = s
	c.entry = nil
}

func (e *engine) start(c *container) {
	if c.state == running || c.state == paused {
		return
	}
	c.starts = e.starts
	e.starts++
	e.emitNetwork(c, "connect")
	e.setState(c, running)
	c.started = time.Now()
	e.emit(c, "start", nil)
}

func (e *engine) die(c *container, code int) {
	if c.state != running && c.state != paused {
		return
	}
	e.setState(c, exited)
	e.emit(c, "die", map[string]string{"exitCode": fmt.Sprint(code)})
	e.emitNetwork(c, "disconnect")
}

func (e *engine) kill(c *container, signal int) {
	e.emit(c, "kill", map[string]string{"signal": fmt.Sprint(signal)})
}

// Between the signal and the death; others may do what they want meanwhile.
func (e *engine) linger() {
	if e.options.stopMS == 0 {
		return
	}
	e.mu.Unlock()
	time.Sleep(time.Duration(e.options.stopMS) * time.Millisecond)
	e.mu.Lock()
}

func (e *engine) stop(c *container) {
	if c.state != running && c.state != paused {
		return
	}
	e.kill(c, 15)
	if c.state == paused {
		e.setState(c, running)
		e.emit(c, "unpause", nil)
	}
	e.linger()
	e.die(c, 0)
	e.emit(c, "stop", nil)
}

// act does what is asked for with the container; the events are in the order of a real engine's.
// An unknown verb or container, or a wrong state, is an error.
func (e *engine) act(verb, name, argument string) error {
	e.mu.Lock()
	defer e.mu.Unlock()

	c := e.find(name)
	if verb == "create" || verb == "run" {
		if c != nil {
			return fmt.Errorf("the name %q is in use", name)
		}
		c = e.add(name)
		if verb == "run" {
			e.start(c)
		}
		return nil
	}
	if c == nil {
		return fmt.Errorf("No such container: %s", name)
	}
	switch verb {
	case "start":
		e.start(c)
	case "stop":
		e.stop(c)
	case "restart":
		e.stop(c)
		e.start(c)
		e.emit(c, "restart", nil)
	case "kill":
		signal := 9
		if argument != "" {
			if _, err := fmt.Sscan(argument, &signal); err != nil {
				return err
			}
		}
		e.kill(c, signal)
		if signal == 9 {
			e.die(c, 137)
		}
	case "die":
		e.die(c, 1)
	case "rm":
		if c.state == running || c.state == paused {
			e.kill(c, 9)
			e.die(c, 137)
		}
		e.remove(c)
	case "pause":
		if c.state != running {
			return fmt.Errorf("container %s is not running", name)
		}
		e.setState(c, paused)
		e.emit(c, "pause", nil)
	case "unpause":
		if c.state != paused {
			return fmt.Errorf("container %s is not paused", name)
		}
		e.setState(c, running)
		e.emit(c, "unpause", nil)
	case "rename":
		if argument == "" || e.byName[argument] != nil {
			return fmt.Errorf("bad or used name %q", argument)
		}
		old := c.name
		delete(e.byName, old)
		c.name = argument
		c.entry = nil
		e.byName[c.name] = c
		e.emit(c, "rename", map[string]string{"oldName": "/" + old})
	case "health":
		c.health = argument
		c.entry = nil
		e.emit(c, "health_status: "+argument, nil)
	case "oops":
		// What no event tells: only a list can show it.
		e.setState(c, exited)
	default:
		return fmt.Errorf("unknown verb %q", verb)
	}
	return nil
}

func (e *engine) find(name string) *container {
	if c := e.byName[name]; c != nil {
		return c
	}
	return e.byID[name]
}

// setCount starts or removes containers until there are n.
func (e *engine) setCount(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.containers) < n {
		e.start(e.add(""))
	}
	for len(e.containers) > n {
		c := e.containers[len(e.containers)-1]
		if c.state == running || c.state == paused {
			e.kill(c, 9)
			e.die(c, 137)
		}
		e.remove(c)
	}
}

// Bodies.

func (c *container) publicPort(e *engine, i int) int {
	return firstPort + (c.starts*e.options.ports+i)%(lastPort-firstPort+1)
}

// The containers' own ports: 80, 81, ...
func privatePort(i int) int { return 80 + i }

func (e *engine) labels(c *container) string {
	var b strings.Builder
	b.WriteString(`"Labels":{`)
	for i := 0; i < e.options.labels; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"org.example.label-%02d":"value %d of container %d"`, i, i, c.serial)
	}
	b.WriteByte('}')
	return b.String()
}

func (e *engine) commonValues(c *container) values {
	endpoint := e.digest("endpoint", c.starts)
	var v values
	v[fieldID] = c.id
	v[fieldShortID] = c.id[:12]
	v[fieldName] = `"/` + c.name + `"`
	v[fieldEndpoint] = hex.EncodeToString(endpoint[:])
	// Of the addresses for benchmarks, 198.18.0.0/15.
	v[fieldAddress] = fmt.Sprintf(`"198.18.%d.%d"`, c.serial/250%256, 2+c.serial%250)
	v[fieldLabels] = e.labels(c)
	return v
}

func (c *container) status() string {
	status := "Up 2 minutes"
	switch {
	case c.state == paused:
		status += " (Paused)"
	case c.state == exited:
		status = "Exited (0) 2 minutes ago"
	case c.state == created:
		status = "Created"
	case c.health == "starting":
		status += " (health: starting)"
	case c.health != "":
		status += " (" + c.health + ")"
	}
	return status
}

func (e *engine) listEntry(c *container) []byte {
	if c.entry != nil {
		return c.entry
	}
	v := e.commonValues(c)
	var ports strings.Builder
	ports.WriteString(`"Ports":[`)
	for i := 0; i < e.options.ports; i++ {
		if i > 0 {
			ports.WriteByte(',')
		}
		if c.state == running || c.state == paused {
			fmt.Fprintf(&ports, `{"IP":"0.0.0.0","PrivatePort":%[1]d,"PublicPort":%[2]d,"Type":"tcp"},`+
				`{"IP":"::","PrivatePort":%[1]d,"PublicPort":%[2]d,"Type":"tcp"}`, privatePort(i), c.publicPort(e, i))
		} else {
			fmt.Fprintf(&ports, `{"PrivatePort":%d,"Type":"tcp"}`, privatePort(i))
		}
	}
	ports.WriteByte(']')
	v[fieldPorts] = ports.String()
	v[fieldState] = fmt.Sprintf(`"State":"%s","Status":"%s"`, c.state, c.status())
	c.entry = e.recorded.entry.render(&v)
	return c.entry
}

// all: with those that do not run.
func (e *engine) list(all bool) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]byte, 0, 2+len(e.containers)*1200)
	out = append(out, '[')
	// Newest first, as Docker does.
	for i := len(e.containers) - 1; i >= 0; i-- {
		c := e.containers[i]
		if !all && c.state != running && c.state != paused {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, e.listEntry(c)...)
	}
	return append(out, ']', '\n')
}

func (e *engine) inspectState(c *container) string {
	state := string(c.state)
	if c.state == running && c.health != "" {
		state = c.health
	}
	if c.started.IsZero() {
		return e.recorded.states[state]
	}
	return startedAt.ReplaceAllString(e.recorded.states[state],
		`"StartedAt":"`+c.started.UTC().Format(time.RFC3339Nano)+`"`)
}

// inspect returns nil if there is no such container.
func (e *engine) inspect(name string, minor int) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.find(name)
	if c == nil {
		return nil
	}
	v := e.commonValues(c)
	var ports, exposed, env strings.Builder
	up := c.state == running || c.state == paused
	ports.WriteString(`"Ports":{`)
	exposed.WriteString(`"ExposedPorts":{`)
	for i := 0; i < e.options.ports; i++ {
		if i > 0 {
			ports.WriteByte(',')
			exposed.WriteByte(',')
		}
		fmt.Fprintf(&exposed, `"%d/tcp":{}`, privatePort(i))
		if up {
			fmt.Fprintf(&ports, `"%d/tcp":[{"HostIp":"0.0.0.0","HostPort":"%[2]d"},{"HostIp":"::","HostPort":"%[2]d"}]`,
				privatePort(i), c.publicPort(e, i))
		} else {
			fmt.Fprintf(&ports, `"%d/tcp":null`, privatePort(i))
		}
	}
	ports.WriteByte('}')
	exposed.WriteByte('}')
	env.WriteString(`"Env":[`)
	for i := 0; i < e.options.env; i++ {
		if i > 0 {
			env.WriteByte(',')
		}
		fmt.Fprintf(&env, `"VARIABLE_%02d=value %d of container %d"`, i, i, c.serial)
	}
	env.WriteByte(']')
	v[fieldPorts] = ports.String()
	v[fieldExposed] = exposed.String()
	v[fieldEnv] = env.String()
	if e.options.env == 0 {
		v[fieldEnv] = `"Env":null`
	}
	v[fieldState] = e.inspectState(c)
	t := &e.recorded.inspect
	if minor >= 52 {
		t = &e.recorded.inspect52
	}
	return append(t.render(&v), '\n')
}
