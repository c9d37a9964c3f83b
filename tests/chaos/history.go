package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// What a record tells of.
const (
	kindLimits   = "limits"   // the first: what is to be judged by
	kindEtcd     = "etcd"     // a watch event
	kindProbe    = "probe"    // etcd's term and whether it serves at all, when that has changed
	kindDocker   = "docker"   // an event of Docker's
	kindSnapshot = "snapshot" // Docker's list
	kindAgent    = "agent"    // a line of an agent's log
	kindOp       = "op"       // a job did something to a container
	kindOperator = "operator" // a job wrote or deleted a key by hand
	kindFault    = "fault"
	kindQuiet    = "quiet" // nothing was done any more; until then etcd had the given time to follow
	kindEnd      = "end"   // the last: Revision is etcd's
)

// Record is a line of the history. Times are microseconds since 1970.
type Record struct {
	Kind string `json:"kind"`
	At   int64  `json:"at"`             // when it happened, or began
	Done int64  `json:"done,omitempty"` // when it had; fault: in full effect
	Up   int64  `json:"up,omitempty"`   // fault: mending begins
	Well int64  `json:"well,omitempty"` // fault: mended

	Host   string `json:"host,omitempty"` // or the etcd member
	Action string `json:"action,omitempty"`
	Name   string `json:"name,omitempty"`
	Old    string `json:"old,omitempty"` // rename: what the name was
	ID     string `json:"id,omitempty"`
	Image  string `json:"image,omitempty"`
	Signal string `json:"signal,omitempty"`
	Line   string `json:"line,omitempty"`
	Error  string `json:"error,omitempty"`

	Key      string `json:"key,omitempty"`
	Value    string `json:"value,omitempty"`
	Lease    string `json:"lease,omitempty"` // in hex, as the agent's log has it; none: ""
	Revision int64  `json:"revision,omitempty"`
	Deleted  bool   `json:"deleted,omitempty"`

	Term     int64 `json:"term,omitempty"`
	Answered int   `json:"answered,omitempty"` // members

	Containers []Container `json:"containers,omitempty"`
	Limits     *Limits     `json:"limits,omitempty"`
}

// Container is an entry of Docker's list.
type Container struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Image  string `json:"image"`
	State  string `json:"state"`
	Status string `json:"status"`
	Ports  []Port `json:"ports,omitempty"`
}

type Port struct {
	IP      string `json:"ip"`
	Private int    `json:"private"`
	Public  int    `json:"public,omitempty"`
	Type    string `json:"type"`
}

// Limits is what the history is judged by.
type Limits struct {
	Hosts    map[string]string `json:"hosts"` // name → address
	TTLS     int               `json:"ttl_s"`
	ResyncS  int               `json:"resync_s"`
	SettleMS int               `json:"settle_ms"`
	CalmMS   int               `json:"calm_ms"`
	LateMS   int               `json:"late_ms"`
	// etcd before 3.4.31 and 3.5.13: a leader that was stopped for longer than a TTL revokes, when it goes on, what
	// was renewed with its successor.
	OldLeaderRevokes bool `json:"old_leader_revokes"`
}

func now() int64 { return time.Now().UnixMicro() }

// Recorder writes the history; from many goroutines.
type Recorder struct {
	mutex sync.Mutex
	file  *os.File
	err   error
}

func newRecorder(file string) (*Recorder, error) {
	f, err := os.Create(file)
	return &Recorder{file: f}, err
}

func (r *Recorder) add(record Record) {
	line, err := json.Marshal(record)
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if err == nil {
		_, err = r.file.Write(append(line, '\n'))
	}
	if r.err == nil {
		r.err = err
	}
}

func (r *Recorder) close() error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if err := r.file.Close(); r.err == nil {
		r.err = err
	}
	return r.err
}

func readHistory(file string) ([]Record, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var records []Record
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var record Record
		if err := json.Unmarshal(lines.Bytes(), &record); err != nil {
			return nil, fmt.Errorf("%s:%d: %v", file, len(records)+1, err)
		}
		records = append(records, record)
	}
	return records, lines.Err()
}

const keyPrefix = "/app/servers/"

// nameOf returns the container's name that a key stands for: no name here has a dash, which is what goes
// before the port where there are several.
func nameOf(key string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(key, keyPrefix), "-")
	return name
}

// in says whether a container of this state and status is to be in etcd.
func (c Container) in() bool {
	if c.State != "running" {
		return false
	}
	for _, out := range []string{"(unhealthy)", "(health: starting)", "(Paused)"} {
		if strings.Contains(c.Status, out) {
			return false
		}
	}
	return true
}

// keys returns what a host's containers are to have in etcd, by what Docker says, in the default layout.
func keysOf(address string, containers []Container) map[string]string {
	keys := map[string]string{}
	for _, container := range containers {
		if !container.in() {
			continue
		}
		ports := map[int]int{}
		for _, port := range container.Ports {
			if port.Public != 0 && port.Type == "tcp" {
				ports[port.Private] = port.Public
			}
		}
		for private, public := range ports {
			key := keyPrefix + container.Name
			if len(ports) > 1 {
				key += fmt.Sprintf("-%d", private)
			}
			keys[key] = fmt.Sprintf("%s:%d", address, public)
		}
	}
	return keys
}
