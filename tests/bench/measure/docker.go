package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

type docker struct{ client *http.Client }

func newDocker(socket string) docker {
	return docker{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}}
}

func (d docker) call(method, path, body string) ([]byte, error) {
	request, err := http.NewRequest(method, "http://docker"+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := d.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= 400 {
		err = fmt.Errorf("%s %s: %s", method, path, text)
	}
	return text, err
}

func (d docker) pid(name string) (int, error) {
	text, err := d.call("GET", "/containers/"+name+"/json", "")
	if err != nil {
		return 0, err
	}
	var container struct{ State struct{ Pid int } }
	err = json.Unmarshal(text, &container)
	return container.State.Pid, err
}

// recreate replaces a container by another one of the same name and settings.
func (d docker) recreate(name string) error {
	text, err := d.call("GET", "/containers/"+name+"/json", "")
	if err != nil {
		return err
	}
	var container struct{ Config, HostConfig map[string]any }
	if err = json.Unmarshal(text, &container); err != nil {
		return err
	}
	// Docker made it of the old container's ID.
	delete(container.Config, "Hostname")
	container.Config["HostConfig"] = container.HostConfig
	body, err := json.Marshal(container.Config)
	if err != nil {
		return err
	}
	if _, err = d.call("DELETE", "/containers/"+name, ""); err != nil {
		return err
	}
	_, err = d.call("POST", "/containers/create?name="+name, string(body))
	return err
}

type dockerEvent struct {
	Action   string
	Actor    struct{ Attributes map[string]string }
	TimeNano int64
	arrived  time.Time
}

func (d docker) events() (<-chan dockerEvent, error) {
	answer, err := d.client.Get(`http://docker/events?filters=%7B%22type%22%3A%5B%22container%22%5D%7D`)
	if err != nil {
		return nil, err
	}
	events := make(chan dockerEvent, 10000)
	go func() {
		reader := bufio.NewReader(answer.Body)
		for {
			line, err := reader.ReadBytes('\n')
			arrived := time.Now()
			var event dockerEvent
			if err != nil {
				close(events)
				return
			}
			if json.Unmarshal(line, &event) == nil {
				event.arrived = arrived
				events <- event
			}
		}
	}()
	return events, nil
}

func awaitEvent(events <-chan dockerEvent, name string, actions ...string) (dockerEvent, error) {
	timeout := time.After(30 * time.Second)
	for {
		select {
		case event, ok := <-events:
			if !ok {
				return event, fmt.Errorf("the event stream ended")
			}
			for _, action := range actions {
				if event.Action == action && event.Actor.Attributes["name"] == name {
					return event, nil
				}
			}
		case <-timeout:
			return dockerEvent{}, fmt.Errorf("waited too long for %v of %s", actions, name)
		}
	}
}
