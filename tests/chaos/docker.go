package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"sort"
	"strings"
	"time"
)

// A host's Docker, as the jobs use it and as the recorder of the truth hears it.
type docker struct {
	host     string
	client   *http.Client
	recorder *Recorder
}

func newDocker(host, socket string, recorder *Recorder) *docker {
	return &docker{host, &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}, recorder}
}

func (d *docker) call(ctx context.Context, method, path string, body, ret any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := d.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if text, err = io.ReadAll(answer.Body); err != nil {
		return err
	}
	if answer.StatusCode >= 300 {
		return fmt.Errorf("%s", bytes.TrimSpace(append([]byte(answer.Status+" "), text...)))
	}
	if ret == nil {
		return nil
	}
	return json.Unmarshal(text, ret)
}

func (d *docker) answers(ctx context.Context) bool {
	_, err := d.list(ctx)
	return err == nil
}

func (d *docker) list(ctx context.Context) ([]Container, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var answer []struct {
		ID            string `json:"Id"`
		Names         []string
		Image         string
		State, Status string
		Ports         []struct {
			IP          string
			PrivatePort int
			PublicPort  int
			Type        string
		}
	}
	if err := d.call(ctx, "GET", "/containers/json?all=1", nil, &answer); err != nil {
		return nil, err
	}
	containers := []Container{}
	for _, a := range answer {
		c := Container{ID: a.ID, Image: a.Image, State: a.State, Status: withoutTime(a.Status)}
		if len(a.Names) > 0 {
			c.Name = strings.TrimPrefix(a.Names[0], "/")
		}
		for _, p := range a.Ports {
			c.Ports = append(c.Ports, Port{p.IP, p.PrivatePort, p.PublicPort, p.Type})
		}
		sort.Slice(c.Ports, func(i, j int) bool { return fmt.Sprint(c.Ports[i]) < fmt.Sprint(c.Ports[j]) })
		containers = append(containers, c)
	}
	return containers, nil
}

// "Up 2 seconds (healthy)" changes by itself.
func withoutTime(status string) string {
	if i := strings.IndexByte(status, '('); i >= 0 && strings.HasPrefix(status, "Up") {
		return "Up " + status[i:]
	}
	word, _, _ := strings.Cut(status, " ")
	return word
}

// snapshot records Docker's list if it differs from last, or if there is none; returns it.
func (d *docker) snapshot(ctx context.Context, action string, last []Container) ([]Container, error) {
	at := now()
	containers, err := d.list(ctx)
	if err == nil && (last == nil || !reflect.DeepEqual(last, containers)) {
		d.recorder.add(Record{Kind: kindSnapshot, At: at, Done: now(), Host: d.host, Action: action, Containers: containers})
	}
	return containers, err
}

var eventNames = []string{"create", "start", "die", "kill", "pause", "unpause", "health_status", "rename", "restart",
	"stop", "destroy", "oom"}

// record hears Docker's events, and lists after every beginning: what happened while there was no dockerd, the list
// tells.
func (d *docker) record(ctx context.Context) {
	last := int64(0)
	for ctx.Err() == nil {
		last = d.recordOnce(ctx, last)
		sleep(ctx, 100*time.Millisecond)
	}
}

func (d *docker) recordOnce(ctx context.Context, last int64) int64 {
	filters, _ := json.Marshal(map[string][]string{"type": {"container"}, "event": eventNames})
	path := "http://docker/events?filters=" + url.QueryEscape(string(filters))
	if last > 0 {
		path += fmt.Sprintf("&since=%d.%09d", last/1e9, last%1e9+1)
	}
	request, err := http.NewRequestWithContext(ctx, "GET", path, nil)
	if err != nil {
		return last
	}
	answer, err := d.client.Do(request)
	if err != nil {
		return last
	}
	defer answer.Body.Close()
	go func() { _, _ = d.snapshot(ctx, "connect", nil) }()
	stream := json.NewDecoder(answer.Body)
	for {
		var event struct {
			Action string
			Actor  struct {
				ID         string
				Attributes map[string]string
			}
			TimeNano int64 `json:"timeNano"`
		}
		if stream.Decode(&event) != nil {
			return last
		}
		last = event.TimeNano
		a := event.Actor.Attributes
		d.recorder.add(Record{Kind: kindDocker, At: event.TimeNano / 1000, Done: now(), Host: d.host, Action: event.Action,
			ID: event.Actor.ID, Name: a["name"], Old: strings.TrimPrefix(a["oldName"], "/"), Image: a["image"], Signal: a["signal"]})
	}
}

// do is one operation on a container. Docker may refuse it or not answer in time: what it says happened counts.
func (d *docker) do(ctx context.Context, job string, step Step) {
	record := Record{Kind: kindOp, At: now(), Host: d.host, Action: step.Op, Name: step.Name, Old: step.Other}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := d.operate(ctx, step); err != nil {
		record.Error = err.Error()
	}
	record.Line, record.Done = job, now()
	d.recorder.add(record)
}

func (d *docker) operate(ctx context.Context, step Step) error {
	path := "/containers/" + step.Name
	post := func(what string) error { return d.call(ctx, "POST", path+what, nil, nil) }
	switch step.Op {
	case "run":
		return d.run(ctx, step)
	case "start", "pause", "unpause":
		return post("/" + step.Op)
	case "stop", "restart":
		return post("/" + step.Op + "?t=1")
	case "kill":
		return post("/kill?signal=KILL")
	case "term", "hup":
		return post("/kill?signal=" + strings.ToUpper(step.Op))
	case "rename":
		return post("/rename?name=" + step.Other)
	case "rm":
		return d.call(ctx, "DELETE", path+"?force=1", nil, nil)
	case "healthy":
		return d.exec(ctx, step.Name, "/bin/touch", "/healthy")
	case "unhealthy":
		return d.exec(ctx, step.Name, "/bin/rm", "-f", "/healthy")
	}
	return fmt.Errorf("no such operation: %s", step.Op)
}

func (d *docker) run(ctx context.Context, step Step) error {
	settings := map[string]any{"Image": step.Other, "HostConfig": map[string]any{"PublishAllPorts": true},
		"StopTimeout": stopTimeoutS}
	if step.Other == "app:health" {
		settings["Healthcheck"] = map[string]any{"Test": []string{"CMD", "/bin/test", "-e", "/healthy"},
			"Interval": 2 * time.Second, "Timeout": 5 * time.Second, "Retries": 1}
	}
	_ = d.call(ctx, "DELETE", "/containers/"+step.Name+"?force=1", nil, nil)
	if err := d.call(ctx, "POST", "/containers/create?name="+step.Name, settings, nil); err != nil {
		return err
	}
	return d.call(ctx, "POST", "/containers/"+step.Name+"/start", nil, nil)
}

func (d *docker) exec(ctx context.Context, name string, command ...string) error {
	var answer struct {
		ID string `json:"Id"`
	}
	if err := d.call(ctx, "POST", "/containers/"+name+"/exec", map[string]any{"Cmd": command}, &answer); err != nil {
		return err
	}
	return d.call(ctx, "POST", "/exec/"+answer.ID+"/start", map[string]any{"Detach": true}, nil)
}

// What a container that ignores its stop signal is given; then it is back.
const stopTimeoutS = 2
