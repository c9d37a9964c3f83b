package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

type etcd struct{ url string }

func (e etcd) call(path, body string) ([]byte, error) {
	answer, err := http.Post(e.url+path, "application/json", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, text)
	}
	return text, err
}

// clear removes all leases, with their keys, and all other keys.
func (e etcd) clear() error {
	text, err := e.call("/v3/lease/leases", "{}")
	if err != nil {
		return err
	}
	var answer struct{ Leases []struct{ ID string } }
	if err := json.Unmarshal(text, &answer); err != nil {
		return err
	}
	for _, lease := range answer.Leases {
		if _, err := e.call("/v3/lease/revoke", `{"ID":"`+lease.ID+`"}`); err != nil {
			return err
		}
	}
	_, err = e.call("/v3/kv/deleterange", `{"key":"AA==","range_end":"AA=="}`)
	return err
}

func (e etcd) put(key, value string) error {
	b := base64.StdEncoding.EncodeToString
	_, err := e.call("/v3/kv/put", fmt.Sprintf(`{"key":"%s","value":"%s"}`, b([]byte(key)), b([]byte(value))))
	return err
}

// What /metrics says: names with their labels, and values.
type scraped map[string]float64

func (e etcd) scrape() (scraped, error) {
	answer, err := http.Get(e.url + "/metrics")
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	found := scraped{}
	for _, line := range strings.Split(string(text), "\n") {
		// A label's value may hold blanks.
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || line[0] == '#' {
			continue
		}
		found[line[:at]], _ = strconv.ParseFloat(line[at+1:], 64)
	}
	return found, nil
}

// by adds up what has the name, by the value of a label.
func (m scraped) by(name, label string) map[string]float64 {
	found := map[string]float64{}
	for line, value := range m {
		rest := strings.TrimPrefix(line, name)
		if len(rest) == len(line) || (rest != "" && rest[0] != '{') {
			continue
		}
		_, of, _ := strings.Cut(rest, label+`="`)
		of, _, _ = strings.Cut(of, `"`)
		found[of] += value
	}
	return found
}

func (m scraped) sum(name string) (total float64) {
	for _, value := range m.by(name, "") {
		total += value
	}
	return total
}

// calls returns how many gRPC calls of each method were begun; the gateway's are among them.
func (m scraped) calls() map[string]float64 {
	return m.by("grpc_server_started_total", "grpc_method")
}

type change struct {
	key     string
	deleted bool
	at      time.Time
}

const marker = "/bench-mark"

// watch sends all changes of all keys, each with the time at which it was read. It returns when no
// change is missed any more.
func (e etcd) watch() (<-chan change, error) {
	return e.watchSince(0)
}

// watchSince sends what was changed with and after a revision, too.
func (e etcd) watchSince(revision int) (<-chan change, error) {
	answer, err := http.Post(e.url+"/v3/watch", "application/json", strings.NewReader(
		fmt.Sprintf(`{"create_request":{"key":"AA==","range_end":"AA==","start_revision":"%d"}}`, revision)))
	if err != nil {
		return nil, err
	}
	changes := make(chan change, 100000)
	synced := make(chan bool)
	go func() {
		reader := bufio.NewReaderSize(answer.Body, 1<<20)
		for {
			line, err := reader.ReadBytes('\n')
			at := time.Now()
			if err != nil {
				close(changes)
				return
			}
			if synced != nil && bytes.Contains(line, []byte(`"created":true`)) {
				close(synced)
				synced = nil
			}
			for _, c := range parseChanges(line, at) {
				changes <- c
			}
		}
	}()
	select {
	case <-synced:
		return changes, nil
	case <-time.After(10 * time.Second):
		return nil, fmt.Errorf("the watch does not begin")
	}
}

func parseChanges(line []byte, at time.Time) []change {
	var message struct {
		Result struct {
			Events []struct {
				Type string
				KV   struct{ Key []byte }
			}
		}
	}
	var changes []change
	if json.Unmarshal(line, &message) != nil {
		return nil
	}
	for _, event := range message.Result.Events {
		changes = append(changes, change{string(event.KV.Key), event.Type == "DELETE", at})
	}
	return changes
}

// await returns the time of the first change that is wanted, dropping all before it.
func await(changes <-chan change, limit time.Duration, wanted func(c change) bool) (time.Time, error) {
	timeout := time.After(limit)
	for {
		select {
		case c, ok := <-changes:
			if !ok {
				return time.Time{}, fmt.Errorf("the watch ended")
			}
			if wanted(c) {
				return c.at, nil
			}
		case <-timeout:
			return time.Time{}, fmt.Errorf("waited %v for a change in etcd", limit)
		}
	}
}

// sync returns when all changes so far were seen, and dropped.
func (e etcd) sync(changes <-chan change) error {
	if err := e.put(marker, time.Now().String()); err != nil {
		return err
	}
	_, err := await(changes, 10*time.Second, func(c change) bool { return c.key == marker && !c.deleted })
	return err
}

type keyValue struct {
	Key, Value []byte
	Lease      string
}

// all returns the keys with a prefix that ends in a slash.
func (e etcd) all(prefix string) ([]keyValue, error) {
	end := prefix[:len(prefix)-1] + "0"
	text, err := e.call("/v3/kv/range", fmt.Sprintf(`{"key":"%s","range_end":"%s"}`,
		base64.StdEncoding.EncodeToString([]byte(prefix)), base64.StdEncoding.EncodeToString([]byte(end))))
	if err != nil {
		return nil, err
	}
	var answer struct{ KVs []keyValue }
	return answer.KVs, json.Unmarshal(text, &answer)
}

// count2 returns how many keys a v2 directory has; none if there is no such directory.
func (e etcd) count2(directory string) (int, error) {
	answer, err := http.Get(e.url + "/v2/keys" + directory)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	var found struct {
		Node struct{ Nodes []struct{ Key string } }
	}
	if err := json.NewDecoder(answer.Body).Decode(&found); err != nil {
		return 0, err
	}
	return len(found.Node.Nodes), nil
}
