package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// What differs from container to container in a body.
type field int

const (
	fieldID field = iota
	fieldShortID
	fieldName
	fieldAddress
	fieldEndpoint
	fieldPorts
	fieldExposed
	fieldLabels
	fieldEnv
	fieldState
	nFields
)

type values [nFields]string

// A recorded body, cut where it names its own container.
type template struct {
	literals []string // one more than fields
	fields   []field
}

// hole is a text of the recorded body that stands for a field.
type hole struct {
	text  string
	field field
}

func compile(body string, holes []hole) template {
	var t template
	for {
		at, first := len(body), hole{}
		for _, h := range holes {
			// The longer of two at the same place: an ID also begins with its short form.
			i := strings.Index(body, h.text)
			if i >= 0 && (i < at || (i == at && len(h.text) > len(first.text))) {
				at, first = i, h
			}
		}
		t.literals = append(t.literals, body[:at])
		if first.text == "" {
			return t
		}
		t.fields = append(t.fields, first.field)
		body = body[at+len(first.text):]
	}
}

func (t *template) render(v *values) []byte {
	size := 0
	for _, l := range t.literals {
		size += len(l)
	}
	for _, f := range t.fields {
		size += len(v[f])
	}
	out := make([]byte, 0, size)
	for i, l := range t.literals {
		out = append(out, l...)
		if i < len(t.fields) {
			out = append(out, v[t.fields[i]]...)
		}
	}
	return out
}

type bodies struct {
	entry     template
	inspect   template
	inspect52 template // from API 1.52 on
	image     string
	networkID string
	states    map[string]string // the State of an inspect
}

// The container that all of ours are copies of, and those whose states are copied.
const original = "renamed"

var stateFiles = map[string]string{
	"running":   original,
	"paused":    "paused",
	"exited":    "exited",
	"created":   "created",
	"healthy":   "healthy",
	"unhealthy": "unhealthy",
	"starting":  "starting",
}

type recordedEntry struct {
	ID              string `json:"Id"`
	Names           []string
	Image           string
	Ports           json.RawMessage
	Labels          json.RawMessage
	State           string
	Status          string
	NetworkSettings struct {
		Networks map[string]recordedNetwork
	}
}

type recordedNetwork struct {
	NetworkID, EndpointID, IPAddress string
}

type recordedInspect struct {
	ID     string `json:"Id"`
	Name   string
	State  json.RawMessage
	Config struct {
		ExposedPorts, Env, Labels json.RawMessage
	}
	NetworkSettings struct {
		Ports    json.RawMessage
		Networks map[string]recordedNetwork
	}
}

func findEntry(list []byte, name string) (string, error) {
	var entries []json.RawMessage
	if err := json.Unmarshal(list, &entries); err != nil {
		return "", err
	}
	for _, raw := range entries {
		var entry recordedEntry
		if err := json.Unmarshal(raw, &entry); err != nil {
			return "", err
		}
		if len(entry.Names) == 1 && entry.Names[0] == "/"+name {
			return string(raw), nil
		}
	}
	return "", fmt.Errorf("the recorded list has no container %q", name)
}

func (b *bodies) setEntry(text string) error {
	var r recordedEntry
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return err
	}
	bridge := r.NetworkSettings.Networks["bridge"]
	b.image, b.networkID = r.Image, bridge.NetworkID
	b.entry = compile(text, []hole{
		{r.ID, fieldID},
		{`"/` + original + `"`, fieldName},
		{`"Ports":` + string(r.Ports), fieldPorts},
		{`"Labels":` + string(r.Labels), fieldLabels},
		{`"State":"` + r.State + `","Status":"` + r.Status + `"`, fieldState},
		{bridge.EndpointID, fieldEndpoint},
		{`"` + bridge.IPAddress + `"`, fieldAddress},
	})
	return nil
}

func inspectTemplate(text string) (template, error) {
	var r recordedInspect
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return template{}, err
	}
	bridge := r.NetworkSettings.Networks["bridge"]
	return compile(text, []hole{
		{r.ID, fieldID},
		{r.ID[:12], fieldShortID},
		{`"` + r.Name + `"`, fieldName},
		{`"State":` + string(r.State), fieldState},
		{`"ExposedPorts":` + string(r.Config.ExposedPorts), fieldExposed},
		{`"Env":` + string(r.Config.Env), fieldEnv},
		{`"Labels":` + string(r.Config.Labels), fieldLabels},
		{`"Ports":` + string(r.NetworkSettings.Ports), fieldPorts},
		{bridge.EndpointID, fieldEndpoint},
		{`"` + bridge.IPAddress + `"`, fieldAddress},
	}), nil
}

// What inspect no longer has at the top of NetworkSettings in API 1.52.
var goneIn52 = []string{
	"Bridge", "EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "HairpinMode", "IPAddress",
	"IPPrefixLen", "IPv6Gateway", "LinkLocalIPv6Address", "LinkLocalIPv6PrefixLen", "MacAddress",
	"SecondaryIPAddresses", "SecondaryIPv6Addresses",
}

func without52(text string) (string, error) {
	var all, network map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return "", err
	}
	if err := json.Unmarshal(all["NetworkSettings"], &network); err != nil {
		return "", err
	}
	for _, name := range goneIn52 {
		delete(network, name)
	}
	settings, err := json.Marshal(network)
	if err != nil {
		return "", err
	}
	all["NetworkSettings"] = settings
	out, err := json.Marshal(all)
	return string(out), err
}

func loadBodies(dir string) (*bodies, error) {
	b := &bodies{states: map[string]string{}}
	list, err := os.ReadFile(filepath.Join(dir, "list.json"))
	if err != nil {
		return nil, err
	}
	entry, err := findEntry(list, original)
	if err != nil {
		return nil, err
	}
	if err := b.setEntry(entry); err != nil {
		return nil, err
	}
	for state, file := range stateFiles {
		text, err := os.ReadFile(filepath.Join(dir, "inspect-"+file+".json"))
		if err != nil {
			return nil, err
		}
		var r recordedInspect
		if err := json.Unmarshal(text, &r); err != nil {
			return nil, fmt.Errorf("inspect-%s.json: %v", file, err)
		}
		b.states[state] = `"State":` + string(r.State)
		if file != original {
			continue
		}
		if b.inspect, err = inspectTemplate(string(text)); err != nil {
			return nil, err
		}
		newer, err := without52(string(text))
		if err != nil {
			return nil, err
		}
		if b.inspect52, err = inspectTemplate(newer); err != nil {
			return nil, err
		}
	}
	return b, nil
}
