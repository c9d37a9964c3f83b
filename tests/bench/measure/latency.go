package main

import (
	"flag"
	"fmt"
	"math/rand"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// One of those that are compared: it alone acts on its container, and while it is not its turn it is stopped, so that
// none disturbs another.
type party struct {
	name      string
	container string
	key       string
	pid       int
	samples   map[string][]float64
}

type bench struct {
	docker  docker
	etcd    etcd
	events  <-chan dockerEvent
	changes <-chan change
	own     []float64 // until the event reached us
}

func milliseconds(from int64, to time.Time) float64 {
	return float64(to.UnixNano()-from) / 1e6
}

func (b *bench) measure(p *party, what string, deleted bool, act func() error, actions ...string) error {
	failed := make(chan error, 1)
	go func() { failed <- act() }()
	event, err := awaitEvent(b.events, p.container, actions...)
	if err != nil {
		return err
	}
	at, err := await(b.changes, 20*time.Second, func(c change) bool { return c.key == p.key && c.deleted == deleted })
	if err != nil {
		return fmt.Errorf("%s of %s: %v", what, p.key, err)
	}
	p.samples[what] = append(p.samples[what], milliseconds(event.TimeNano, at))
	b.own = append(b.own, milliseconds(event.TimeNano, event.arrived))
	return <-failed
}

func (b *bench) turn(p *party, all []*party, byStop bool, pause time.Duration) error {
	// Without the others, and when it has worked off what it slept through in their turns.
	time.Sleep(50*time.Millisecond + pause)
	for _, other := range all {
		if other == p {
			continue
		}
		if err := syscall.Kill(other.pid, syscall.SIGSTOP); err != nil {
			return err
		}
		defer syscall.Kill(other.pid, syscall.SIGCONT)
	}
	return b.cycle(p, byStop, pause)
}

// parseParty reads NAME:PID:PREFIX. The container is bench-NAME, and the key PREFIX/bench-NAME.
func parseParty(text string) (*party, error) {
	parts := strings.SplitN(text, ":", 3)
	if len(parts) != 3 {
		return nil, fmt.Errorf("%s is not NAME:PID:PREFIX", text)
	}
	pid, err := strconv.Atoi(parts[1])
	container := "bench-" + parts[0]
	return &party{name: parts[0], container: container, key: parts[2] + "/" + container, pid: pid}, err
}

// cycle starts the party's container and ends it: by docker stop, or by a death.
func (b *bench) cycle(p *party, byStop bool, pause time.Duration) error {
	path := "/containers/" + p.container
	err := b.measure(p, "register", false, func() error {
		_, err := b.docker.call("POST", path+"/start", "")
		return err
	}, "start")
	if err != nil {
		return err
	}
	time.Sleep(50*time.Millisecond + pause)
	if byStop {
		err = b.measure(p, "stop", true, func() error {
			_, err := b.docker.call("POST", path+"/stop", "")
			return err
		}, "kill")
	} else {
		pid, err := b.docker.pid(p.container)
		if err != nil {
			return err
		}
		err = b.measure(p, "death", true, func() error { return syscall.Kill(pid, syscall.SIGKILL) }, "die")
		if err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if _, err = b.docker.call("POST", path+"/wait?condition=not-running", ""); err != nil || byStop {
		return err
	}
	// The agent registers a container that has crashed only after a delay.
	return b.docker.recreate(p.container)
}

func latency(arguments []string) error {
	flags := flag.NewFlagSet("latency", flag.ExitOnError)
	socket := flags.String("docker", "", "Docker's `socket`")
	url := flags.String("etcd", "", "etcd's `URL`")
	turns := flags.Int("turns", 200, "how many containers each of them gets")
	warmUp := flags.Int("warm-up", 5, "how many before that are not counted")
	seed := flags.Int64("seed", 1, "who is when follows from it")
	var parties []*party
	flags.Func("party", "one of them, as `NAME:PID:PREFIX`; repeatable", func(text string) error {
		p, err := parseParty(text)
		parties = append(parties, p)
		return err
	})
	flags.Parse(arguments)

	b := &bench{docker: newDocker(*socket), etcd: etcd{*url}}
	var err error
	if b.events, err = b.docker.events(); err != nil {
		return err
	}
	if b.changes, err = b.etcd.watch(); err != nil {
		return err
	}
	random := rand.New(rand.NewSource(*seed))
	for i := -*warmUp; i < *turns; i++ {
		if i <= 0 {
			b.own = nil
			for _, p := range parties {
				p.samples = map[string][]float64{}
			}
		}
		for _, n := range random.Perm(len(parties)) {
			// Not in step with anything that is done at regular times.
			pause := time.Duration(random.Intn(50)) * time.Millisecond
			if err := b.turn(parties[n], parties, i%2 == 0, pause); err != nil {
				return err
			}
		}
	}
	for _, p := range parties {
		for what, samples := range p.samples {
			printPercentiles(what+"."+p.name, samples)
		}
	}
	printPercentiles("event", b.own)
	return nil
}
