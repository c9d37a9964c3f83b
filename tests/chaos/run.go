package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"time"
)

type Options struct {
	Seed        int64
	Seconds     int
	Lab, Helper string
	History     string
	Kinds       Kinds
	Limits      Limits
}

type runner struct {
	options  Options
	recorder *Recorder
	cluster  *cluster
	dockers  map[string]*docker
}

// run plans, acts and records. Round after round, until all that were planned are done or the time is over.
func run(options Options) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	recorder, err := newRecorder(options.History)
	if err != nil {
		return err
	}
	r := &runner{options: options, recorder: recorder, dockers: map[string]*docker{}}
	if err := r.attach(); err != nil {
		return err
	}
	recorder.add(Record{Kind: kindLimits, At: now(), Limits: &r.options.Limits})
	r.cluster.watch(ctx)
	go r.cluster.probe(ctx)
	for _, host := range hosts {
		go r.dockers[host].record(ctx)
		go r.tail(ctx, host)
	}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	end := time.Now().Add(time.Duration(options.Seconds) * time.Second)
	for n := 0; n < roundsIn(options.Seconds) && (n == 0 || time.Now().Before(end)); n++ {
		p := plan(options.Seed, n, options.Kinds)
		for _, phase := range []struct {
			name  string
			jobs  []Job
			bound int
		}{{"chaos", p.Chaos, options.Limits.SettleMS}, {"calm", p.Calm, options.Limits.CalmMS}} {
			r.do(ctx, phase.jobs)
			if err := r.quiet(ctx, phase.name, phase.bound); err != nil {
				return err
			}
		}
	}
	revision, err := r.cluster.sync(ctx)
	if err != nil {
		return err
	}
	recorder.add(Record{Kind: kindEnd, At: now(), Revision: revision})
	return recorder.close()
}

func (r *runner) read(path ...string) (string, error) {
	text, err := os.ReadFile(filepath.Join(append([]string{r.options.Lab}, path...)...))
	return strings.TrimSpace(string(text)), err
}

func (r *runner) attach() error {
	var urls []string
	r.options.Limits.Hosts = map[string]string{}
	for _, member := range members {
		url, err := r.read("etcd", member, "url")
		if err != nil {
			return err
		}
		urls = append(urls, url)
	}
	for _, host := range hosts {
		address, err := r.read("hosts", host)
		if err != nil {
			return err
		}
		r.options.Limits.Hosts[host] = address
		r.dockers[host] = newDocker(host, filepath.Join(r.options.Lab, host, "docker.sock"), r.recorder)
	}
	r.cluster = newCluster(urls, r.recorder)
	return nil
}

func (r *runner) prepare(ctx context.Context) error {
	if !r.until(ctx, 30*time.Second, r.cluster.healthy) {
		return fmt.Errorf("etcd does not serve")
	}
	r.cluster.operate(ctx, "hand-put", keyPrefix+handForEver, "by hand for ever")
	for _, host := range hosts {
		r.help(ctx, "agent-start", host)
	}
	return ctx.Err()
}

func (r *runner) until(ctx context.Context, limit time.Duration, condition func() bool) bool {
	for end := time.Now().Add(limit); time.Now().Before(end) && ctx.Err() == nil; sleep(ctx, 100*time.Millisecond) {
		if condition() {
			return true
		}
	}
	return false
}

// tail records what a host's agent logs, within a few milliseconds.
func (r *runner) tail(ctx context.Context, host string) {
	var file *os.File
	var reader *bufio.Reader
	line := ""
	for ctx.Err() == nil {
		if file == nil {
			f, err := os.Open(filepath.Join(r.options.Lab, host, "agent.log"))
			if err == nil {
				defer f.Close()
				file, reader = f, bufio.NewReader(f)
			}
		}
		for reader != nil {
			part, err := reader.ReadString('\n')
			line += part
			if err == io.EOF {
				break
			}
			r.recorder.add(Record{Kind: kindAgent, At: now(), Host: host, Line: strings.TrimSuffix(line, "\n")})
			line = ""
		}
		sleep(ctx, 20*time.Millisecond)
	}
}

// do has all jobs done at once.
func (r *runner) do(ctx context.Context, jobs []Job) {
	begin := time.Now()
	var all sync.WaitGroup
	for _, job := range jobs {
		all.Add(1)
		go func(job Job) {
			defer all.Done()
			for _, step := range job.Steps {
				sleep(ctx, time.Until(begin.Add(time.Duration(step.AtMS)*time.Millisecond)))
				if ctx.Err() != nil {
					return
				}
				r.step(ctx, job.Name, step)
			}
		}(job)
	}
	all.Wait()
}

func (r *runner) step(ctx context.Context, job string, step Step) {
	switch {
	case step.Op == "hand-put", step.Op == "hand-delete", step.Op == "tamper":
		value := ""
		if step.Op == "hand-put" {
			value = fmt.Sprintf("by hand %d", now())
		}
		r.cluster.operate(ctx, step.Op, keyPrefix+step.Name, value)
	case step.ForMS > 0:
		r.fault(ctx, step)
	default:
		r.dockers[step.Host].do(ctx, job, step)
	}
}

// fault: the helper begins it, and ends it when told so by its standard input.
func (r *runner) fault(ctx context.Context, step Step) {
	record := Record{Kind: kindFault, At: now(), Host: step.Host, Action: step.Op}
	targets := strings.Split(step.Host, ",")
	failed := r.help(ctx, append([]string{step.Op}, targets...)...)
	record.Done = now()
	if step.Op != "slow-link" && step.Op != "slow-member" {
		sleep(ctx, time.Duration(step.ForMS)*time.Millisecond)
	} else {
		failed += r.help(ctx, step.Op+"-for", step.Host, fmt.Sprint(step.ForMS))
	}
	record.Up = now()
	// Also when interrupted meanwhile: nothing may stay stopped.
	failed += r.help(context.Background(), append([]string{step.Op + "-end"}, targets...)...)
	record.Well, record.Error = now(), failed
	r.recorder.add(record)
}

// help runs the shell's part. Returns what it complained of.
func (r *runner) help(ctx context.Context, arguments ...string) string {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	output, err := exec.CommandContext(ctx, r.options.Helper, arguments...).CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "chaos: %v: %v\n%s", arguments, err, output)
		return fmt.Sprintf("%v: %v %s", arguments, err, output)
	}
	return ""
}

const (
	// Silence that is waited for when etcd equals Docker: longer than a heartbeat.
	holdMS = 3000
	// Docker changes by itself for as long: a stop timeout, a health check.
	restlessMS = 20000
)

// quiet waits until all is mended and etcd has had its time to follow. The checker finds out by itself whether it did.
func (r *runner) quiet(ctx context.Context, phase string, boundMS int) error {
	begin := now()
	mended := r.until(ctx, 60*time.Second, func() bool {
		for _, host := range hosts {
			if !r.dockers[host].answers(ctx) {
				return false
			}
		}
		return r.cluster.healthy()
	})
	if !mended {
		return fmt.Errorf("not all is mended after %s: %v", phase, ctx.Err())
	}
	last := map[string][]Container{}
	changed, equal := begin, int64(0)
	for now() < begin+restlessMS*1000+int64(boundMS)*1000 && ctx.Err() == nil {
		wanted, silent := wishes{}, false
		for _, host := range hosts {
			containers, err := r.dockers[host].snapshot(ctx, "quiet", last[host])
			if silent = silent || err != nil; err != nil {
				continue
			}
			if last[host] == nil || !reflect.DeepEqual(last[host], containers) {
				changed = now()
			}
			last[host] = containers
			wanted.add(r.options.Limits.Hosts[host], containers)
		}
		if silent || wanted.differ(r.cluster.state()) != "" {
			equal = 0
		} else if equal == 0 {
			equal = now()
		}
		held := equal > 0 && now() > max(equal, changed)+holdMS*1000
		if held || now() > changed+int64(boundMS+r.options.Limits.LateMS)*1000+holdMS*1000 {
			break
		}
		sleep(ctx, 200*time.Millisecond)
	}
	if _, err := r.cluster.sync(ctx); err != nil {
		return err
	}
	r.recorder.add(Record{Kind: kindQuiet, At: begin, Done: now(), Action: phase})
	return ctx.Err()
}

func max(a, b int64) int64 {
	if a > b {
		return a
	}
	return b
}
