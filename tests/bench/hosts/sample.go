package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

// What the hosts met since the last sample, and since the phase began.
type stats struct {
	lock          sync.Mutex
	second, phase counts
	probes        map[int]*probe
}

type counts struct {
	asked, failed, lost int
	slowest             time.Duration
	beats               []float64 // how long each heartbeat took, in ms
	probes              []float64 // how long a probe took until the last watcher had it, in ms
}

// A probe is one key that is written, and the watchers that have yet to see it.
type probe struct {
	begin time.Time
	left  int
}

func (s *stats) with(fn func(c *counts)) {
	s.lock.Lock()
	defer s.lock.Unlock()
	fn(&s.second)
	fn(&s.phase)
}

func (s *stats) fail() { s.with(func(c *counts) { c.failed++ }) }
func (s *stats) lose() { s.with(func(c *counts) { c.lost++ }) }
func (s *stats) answer(took time.Duration, err error) {
	s.with(func(c *counts) {
		c.asked++
		if took > c.slowest {
			c.slowest = took
		}
	})
}
func (s *stats) heartbeat(took time.Duration) {
	s.with(func(c *counts) { c.beats = append(c.beats, took.Seconds()*1000) })
}

func (s *stats) probeBegins(number, watchers int) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.probes == nil {
		s.probes = map[int]*probe{}
	}
	s.probes[number] = &probe{time.Now(), watchers}
}

func (s *stats) probeSeen(number int) {
	s.lock.Lock()
	defer s.lock.Unlock()
	p := s.probes[number]
	if p == nil {
		return
	}
	if p.left--; p.left == 0 {
		took := time.Since(p.begin).Seconds() * 1000
		s.second.probes = append(s.second.probes, took)
		s.phase.probes = append(s.phase.probes, took)
		delete(s.probes, number)
	}
}

func percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sort.Float64s(values)
	i := int(p/100*float64(len(values))+0.9999999) - 1
	if i < 0 {
		i = 0
	}
	return values[i]
}

// A member of etcd. Its pid file names the process that runs now.
type member struct {
	name, url, pidFile string
	client             http.Client
	at                 reading
}

type reading struct {
	metrics map[string]float64
	cpu     float64 // seconds, of the process pid
	pid     string
}

// The metrics that are kept, with all their labels added up.
var metrics = map[string]string{
	"grpc_server_started_total":                                         "calls",
	"etcd_disk_wal_fsync_duration_seconds_count":                        "fsyncs",
	"etcd_disk_backend_commit_duration_seconds_count":                   "commits",
	"etcd_disk_wal_fsync_duration_seconds_sum":                          "fsync_s",
	"etcd_server_proposals_committed_total":                             "proposals",
	"etcd_debugging_mvcc_keys_total":                                    "keys",
	"etcd_debugging_mvcc_slow_watcher_total":                            "slow_watchers",
	"etcd_debugging_mvcc_events_total":                                  "events",
	"etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds_sum": "compaction_pause_ms",
	"etcd_server_leader_changes_seen_total":                             "leader_changes",
	"etcd_server_heartbeat_send_failures_total":                         "late_heartbeats",
	"etcd_server_is_leader":                                             "leader",
	"process_resident_memory_bytes":                                     "rss",
	"etcd_mvcc_db_total_size_in_bytes":                                  "db",
}

func (m *member) read() (reading, bool) {
	text, err := os.ReadFile(m.pidFile)
	words := strings.Fields(string(text))
	if err != nil || len(words) == 0 {
		return reading{}, false
	}
	r := reading{metrics: map[string]float64{}, pid: words[0]}
	r.cpu = cpuOf(words[0])
	answer, err := m.client.Get(m.url + "/metrics")
	if err != nil {
		return reading{}, false
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		line := lines.Text()
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || line[0] == '#' {
			continue
		}
		name, _, _ := strings.Cut(line[:at], "{")
		if kept, ok := metrics[name]; ok {
			value, _ := strconv.ParseFloat(line[at+1:], 64)
			r.metrics[kept] += value
		}
	}
	return r, lines.Err() == nil
}

// cpuOf returns a process's CPU time in seconds.
func cpuOf(pid string) float64 {
	text, _ := os.ReadFile("/proc/" + pid + "/stat")
	_, rest, _ := strings.Cut(string(text), ") ")
	words := strings.Fields(rest)
	if len(words) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(words[11], 64)
	system, _ := strconv.ParseFloat(words[12], 64)
	return (user + system) / 100
}

// busyCPU returns the CPU time of the whole machine, in seconds.
func busyCPU() float64 {
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	total := 0.0
	for i, word := range strings.Fields(line) {
		// Not the name, the idle time, the wait for the disk, or the guests' time, which is part of the user's.
		if i == 0 || i == 4 || i == 5 || i > 8 {
			continue
		}
		value, _ := strconv.ParseFloat(word, 64)
		total += value
	}
	return total / 100
}

// A sampler writes a row for each second, and the sums of each phase.
type sampler struct {
	fleet       *fleet
	members     []*member
	watchers    func() []*watcher
	out         io.Writer
	lock        sync.Mutex
	zero, last  time.Time
	phaseName   string
	phaseBegin  time.Time
	sums        map[string]float64
	maxima      map[string]float64
	own, busy   float64
	watchEvents int64
	deletes     int64
}

var columns = []string{"t", "phase", "hosts", "complete", "asked", "calls", "etcd_cpu", "etcd_cpu_max", "hosts_cpu", "other_cpu",
	"fsyncs", "commits", "proposals", "beat_p50", "beat_p99", "slowest", "failed", "lost", "events", "deletes", "keys",
	"slow_watchers", "probe_ms", "rss_mib", "db_mib"}

func (s *sampler) run() {
	s.zero, s.last = time.Now(), time.Now()
	fmt.Fprintln(s.out, "# "+strings.Join(columns, "\t"))
	for i := 1; ; i++ {
		time.Sleep(time.Until(s.zero.Add(time.Duration(i) * time.Second)))
		s.sample()
	}
}

// growth of a metric, also over a start of the member.
func growth(now, before float64) float64 {
	if now < before {
		return now
	}
	return now - before
}

func (s *sampler) sample() {
	row := map[string]float64{}
	now := time.Now()
	var group sync.WaitGroup
	readings := make([]reading, len(s.members))
	good := make([]bool, len(s.members))
	for i, m := range s.members {
		i, m := i, m
		group.Add(1)
		go func() {
			defer group.Done()
			readings[i], good[i] = m.read()
		}()
	}
	group.Wait()
	took := now.Sub(s.last).Seconds()
	s.last = now
	for i, m := range s.members {
		if !good[i] {
			continue
		}
		cpu := readings[i].cpu
		if m.at.pid == readings[i].pid {
			cpu -= m.at.cpu
		}
		if m.at.metrics == nil {
			m.at = readings[i]
			continue
		}
		row["etcd_cpu"] += cpu / took * 100
		if cpu/took*100 > row["etcd_cpu_max"] {
			row["etcd_cpu_max"] = cpu / took * 100
		}
		for _, name := range []string{"calls", "fsyncs", "commits", "proposals"} {
			row[name] += growth(readings[i].metrics[name], m.at.metrics[name]) / took
		}
		for name, column := range map[string]string{"keys": "keys", "slow_watchers": "slow_watchers"} {
			if value := readings[i].metrics[name]; value > row[column] {
				row[column] = value
			}
		}
		row["rss_mib"] += readings[i].metrics["rss"] / 1048576
		if db := readings[i].metrics["db"] / 1048576; db > row["db_mib"] {
			row["db_mib"] = db
		}
		m.at = readings[i]
	}
	s.sampleHosts(row, took)
	s.lock.Lock()
	defer s.lock.Unlock()
	row["t"] = now.Sub(s.zero).Seconds()
	for _, name := range columns {
		if name == "phase" {
			fmt.Fprintf(s.out, "%s\t", s.phaseName)
			continue
		}
		fmt.Fprintf(s.out, "%.1f\t", row[name])
		s.sums[name] += row[name] * took
		if row[name] > s.maxima[name] {
			s.maxima[name] = row[name]
		}
	}
	fmt.Fprintln(s.out)
}

func (s *sampler) sampleHosts(row map[string]float64, took float64) {
	own, busy := cpuOf("self"), busyCPU()
	row["hosts_cpu"] = (own - s.own) / took * 100
	row["other_cpu"] = (busy-s.busy)/took*100 - row["hosts_cpu"] - row["etcd_cpu"]
	if s.busy == 0 {
		row["hosts_cpu"], row["other_cpu"] = 0, 0
	}
	s.own, s.busy = own, busy
	var events, deletes int64
	for _, w := range s.watchers() {
		events += w.events.Load()
		deletes += w.deletes.Load()
	}
	row["events"] = float64(events-s.watchEvents) / took
	row["deletes"] = float64(deletes-s.deletes) / took
	s.watchEvents, s.deletes = events, deletes
	f := s.fleet
	f.stats.lock.Lock()
	second := f.stats.second
	f.stats.second = counts{}
	f.stats.lock.Unlock()
	row["hosts"] = float64(len(f.hosts))
	row["complete"] = float64(f.complete.Load())
	row["asked"] = float64(second.asked) / took
	row["beat_p50"], row["beat_p99"] = percentile(second.beats, 50), percentile(second.beats, 99)
	row["slowest"] = second.slowest.Seconds() * 1000
	row["failed"], row["lost"] = float64(second.failed)/took, float64(second.lost)/took
	row["probe_ms"] = percentile(second.probes, 100)
}

// phase begins a phase, and prints the results of the one before.
func (s *sampler) phase(name string, out io.Writer) {
	f := s.fleet
	f.stats.lock.Lock()
	met := f.stats.phase
	f.stats.phase = counts{}
	f.stats.lock.Unlock()
	s.lock.Lock()
	defer s.lock.Unlock()
	took := time.Since(s.phaseBegin).Seconds()
	if s.phaseName != "" {
		of := s.phaseName
		fmt.Fprintf(out, "%s.seconds %.1f\n%s.hosts %d\n", of, took, of, len(f.hosts))
		for _, column := range []string{"asked", "calls", "etcd_cpu", "hosts_cpu", "other_cpu", "fsyncs", "commits", "proposals",
			"events", "deletes"} {
			fmt.Fprintf(out, "%s.%s.mean %.2f\n%s.%s.max %.2f\n", of, column, s.sums[column]/took, of, column, s.maxima[column])
		}
		for _, column := range []string{"rss_mib", "db_mib", "slow_watchers", "etcd_cpu_max"} {
			fmt.Fprintf(out, "%s.%s.max %.2f\n", of, column, s.maxima[column])
		}
		fmt.Fprintf(out, "%s.failed %d\n%s.lost %d\n%s.slowest_ms %.1f\n", of, met.failed, of, met.lost, of,
			met.slowest.Seconds()*1000)
		for _, p := range []float64{50, 99, 100} {
			fmt.Fprintf(out, "%s.beat_ms.p%.0f %.2f\n%s.probe_ms.p%.0f %.2f\n", of, p, percentile(met.beats, p), of, p,
				percentile(met.probes, p))
		}
		fmt.Fprintf(out, "%s.probes %d\n", of, len(met.probes))
	}
	s.phaseName, s.phaseBegin = name, time.Now()
	s.sums, s.maxima = map[string]float64{}, map[string]float64{}
}
