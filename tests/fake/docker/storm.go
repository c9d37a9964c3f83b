package main

import (
	"encoding/hex"
	"fmt"
	"math/rand"
	"time"
)

// A storm is a number of events a second, made of what happens in real engines:
//
//	short   containers that are run and die at once
//	exec    what health checks' probes leave in the stream
//	health  health changes of those that run
//	kick    restarts of those that run
type storm struct {
	rate    float64 // events a second
	seconds float64
	kinds   []string
	open    int // how many short-lived ones live at the same time
	keep    int // how many of them are left running
}

type stormResult struct {
	Events  int     `json:"events"`
	Started int     `json:"started"`
	Kept    int     `json:"kept"`
	Seconds float64 `json:"seconds"`
}

func (e *engine) emitted() int {
	e.hub.mu.Lock()
	defer e.hub.mu.Unlock()
	return e.hub.emitted
}

// some is a container that runs and was there before the storm.
func (e *engine) some(random *rand.Rand, old []*container) *container {
	for try := 0; try < 8 && len(old) > 0; try++ {
		if c := old[random.Intn(len(old))]; c.state == running {
			return c
		}
	}
	return nil
}

func (e *engine) exec(c *container, random *rand.Rand) {
	var id [32]byte
	random.Read(id[:])
	more := map[string]string{"execID": hex.EncodeToString(id[:])}
	e.emit(c, "exec_create: /bin/sh -c true", more)
	e.emit(c, "exec_start: /bin/sh -c true", more)
	more["exitCode"] = "0"
	e.emit(c, "exec_die", more)
}

func (e *engine) health(c *container) {
	if c.health == "unhealthy" {
		c.health = "healthy"
	} else {
		c.health = "unhealthy"
	}
	c.entry = nil
	e.emit(c, "health_status: "+c.health, nil)
}

func (e *engine) storm(s storm) stormResult {
	random := rand.New(rand.NewSource(e.options.seed + int64(e.number)))
	begin, first := time.Now(), e.emitted()
	end := begin.Add(time.Duration(s.seconds * float64(time.Second)))
	var open []*container
	var result stormResult

	e.mu.Lock()
	old := append([]*container(nil), e.containers...)
	e.mu.Unlock()
	finish := func(c *container) {
		e.die(c, 0)
		e.remove(c)
	}
	for time.Now().Before(end) {
		due := int(time.Since(begin).Seconds() * s.rate)
		if e.emitted()-first >= due {
			time.Sleep(time.Millisecond)
			continue
		}
		e.mu.Lock()
		c := e.some(random, old)
		switch kind := s.kinds[random.Intn(len(s.kinds))]; {
		case kind == "exec" && c != nil:
			e.exec(c, random)
		case kind == "health" && c != nil:
			e.health(c)
		case kind == "kick" && c != nil:
			e.stop(c)
			e.start(c)
			e.emit(c, "restart", nil)
		case kind == "short":
			short := e.add(fmt.Sprintf("short-%05d", e.serial))
			e.start(short)
			result.Started++
			open = append(open, short)
			for len(open) > s.open {
				finish(open[0])
				open = open[1:]
			}
		default:
			// Nothing runs that it could happen to.
			e.mu.Unlock()
			time.Sleep(time.Millisecond)
			e.mu.Lock()
		}
		e.mu.Unlock()
	}
	e.mu.Lock()
	for len(open) > s.keep {
		finish(open[0])
		open = open[1:]
	}
	e.mu.Unlock()
	result.Kept = len(open)
	result.Events = e.emitted() - first
	result.Seconds = time.Since(begin).Seconds()
	return result
}
