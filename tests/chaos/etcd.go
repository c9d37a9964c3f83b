package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// etcd's members as the recorder and the operator see them.
type cluster struct {
	urls     []string
	recorder *Recorder

	mutex    sync.Mutex
	revision int64 // all up to it are recorded
	keys     map[string]entry
	term     int64
	answered int
}

type entry struct{ value, lease string }

var etcdClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}

func newCluster(urls []string, recorder *Recorder) *cluster {
	return &cluster{urls: urls, recorder: recorder, keys: map[string]entry{}, answered: -1}
}

type keyValue struct {
	Key   []byte
	Value []byte
	Lease int64 `json:",string"`
	Mod   int64 `json:"mod_revision,string"`
}

type header struct {
	Revision int64 `json:",string"`
	Term     int64 `json:"raft_term,string"`
}

func leaseName(lease int64) string {
	if lease == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(lease), 16)
}

func post(ctx context.Context, url string, body any) (*http.Response, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, "POST", url, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	answer, err := etcdClient.Do(request)
	if err == nil && answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		err = fmt.Errorf("%s: %s", url, answer.Status)
	}
	return answer, err
}

func call(ctx context.Context, url string, body, ret any) error {
	answer, err := post(ctx, url, body)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	return json.NewDecoder(answer.Body).Decode(ret)
}

// any asks one member after the other, each for a while.
func (c *cluster) any(ctx context.Context, path string, body, ret any) error {
	err := fmt.Errorf("no member")
	for _, url := range c.urls {
		limited, cancel := context.WithTimeout(ctx, 2*time.Second)
		err = call(limited, url+path, body, ret)
		cancel()
		if err == nil {
			break
		}
	}
	return err
}

// watch records what any of the members tells first: each goes on where all of them together are.
func (c *cluster) watch(ctx context.Context) {
	for _, url := range c.urls {
		go func(url string) {
			for ctx.Err() == nil {
				c.watchOnce(ctx, url)
				sleep(ctx, 100*time.Millisecond)
			}
		}(url)
	}
}

func (c *cluster) recorded() int64 {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.revision
}

func (c *cluster) watchOnce(ctx context.Context, url string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begin := c.recorded()
	answer, err := post(ctx, url+"/v3/watch", map[string]any{"create_request": map[string]any{
		"key": []byte{0}, "range_end": []byte{0}, "start_revision": strconv.FormatInt(begin+1, 10)}})
	if err != nil {
		return
	}
	defer answer.Body.Close()

	// A member that is cut off says nothing, for ever.
	var mutex sync.Mutex
	seen := begin
	go func() {
		for last := begin; ctx.Err() == nil; {
			sleep(ctx, 3*time.Second)
			mutex.Lock()
			stuck := seen == last && last < c.recorded()
			last = seen
			mutex.Unlock()
			if stuck {
				cancel()
			}
		}
	}()

	stream := json.NewDecoder(answer.Body)
	for {
		var message struct {
			Result struct {
				Events []struct {
					Type string
					KV   keyValue
				}
				Canceled bool
				Compact  int64 `json:"compact_revision,string"`
			}
		}
		if stream.Decode(&message) != nil || message.Result.Canceled || message.Result.Compact != 0 {
			return
		}
		var records []Record
		for _, event := range message.Result.Events {
			records = append(records, Record{Kind: kindEtcd, At: now(), Revision: event.KV.Mod, Key: string(event.KV.Key),
				Value: string(event.KV.Value), Lease: leaseName(event.KV.Lease), Deleted: event.Type == "DELETE"})
		}
		c.take(records)
		if len(records) > 0 {
			mutex.Lock()
			seen = records[len(records)-1].Revision
			mutex.Unlock()
		}
	}
}

func (c *cluster) take(records []Record) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	before := c.revision
	for _, record := range records {
		if record.Revision <= before {
			continue
		}
		c.revision = record.Revision
		if record.Deleted {
			delete(c.keys, record.Key)
		} else {
			c.keys[record.Key] = entry{record.Value, record.Lease}
		}
		c.recorder.add(record)
	}
}

func (c *cluster) state() map[string]entry {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	keys := map[string]entry{}
	for key, value := range c.keys {
		keys[key] = value
	}
	return keys
}

// probe keeps track of how many members serve, and of the leader's changes, on which leases begin anew.
func (c *cluster) probe(ctx context.Context) {
	for ctx.Err() == nil {
		at := now()
		answers := make(chan int64)
		for _, url := range c.urls {
			go func(url string) {
				limited, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				var answer struct{ Header header }
				if call(limited, url+"/v3/kv/range", map[string]any{"key": []byte{0}}, &answer) != nil {
					answer.Header.Term = 0
				}
				answers <- answer.Header.Term
			}(url)
		}
		answered, term := 0, int64(0)
		for range c.urls {
			if t := <-answers; t > 0 {
				answered++
				if t > term {
					term = t
				}
			}
		}
		c.mutex.Lock()
		news := ctx.Err() == nil && (answered != c.answered || (term != c.term && term != 0))
		c.answered = answered
		if term != 0 {
			c.term = term
		}
		if news {
			c.recorder.add(Record{Kind: kindProbe, At: at, Done: now(), Answered: answered, Term: c.term})
		}
		c.mutex.Unlock()
		sleep(ctx, 300*time.Millisecond)
	}
}

func (c *cluster) healthy() bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.answered == len(c.urls)
}

// sync returns when all that stands in etcd now is recorded, and which revision that is.
func (c *cluster) sync(ctx context.Context) (int64, error) {
	var answer struct{ Header header }
	var err error
	for i := 0; i < 10 && ctx.Err() == nil; i++ {
		if err = c.any(ctx, "/v3/kv/range", map[string]any{"key": []byte{0}}, &answer); err == nil {
			break
		}
	}
	if err != nil {
		return 0, err
	}
	for i := 0; i < 200; i++ {
		if c.recorded() >= answer.Header.Revision {
			return answer.Header.Revision, nil
		}
		sleep(ctx, 50*time.Millisecond)
	}
	return 0, fmt.Errorf("the recorder has revision %d only, etcd %d", c.recorded(), answer.Header.Revision)
}

// What the operator does by hand: a key of his own where there is none, away with it again; and a key of an
// agent's deleted. Recorded before and after, since an answer may never come.
func (c *cluster) operate(ctx context.Context, action, key, value string) {
	record := Record{Kind: kindOperator, At: now(), Action: action, Key: key, Value: value}
	k := []byte(key)
	compare := map[string]any{"key": k}
	request := map[string]any{"request_delete_range": map[string]any{"key": k}}
	switch action {
	case "hand-put":
		compare["target"], compare["create_revision"] = "CREATE", "0"
		request = map[string]any{"request_put": map[string]any{"key": k, "value": []byte(value)}}
	case "hand-delete":
		compare["target"], compare["lease"] = "LEASE", "0"
	case "tamper":
		compare["target"], compare["lease"], compare["result"] = "LEASE", "0", "GREATER"
	}
	var answer struct {
		Header    header
		Succeeded bool
	}
	err := c.any(ctx, "/v3/kv/txn", map[string]any{"compare": []any{compare}, "success": []any{request}}, &answer)
	switch {
	case err != nil:
		record.Error = err.Error()
	case answer.Succeeded:
		record.Revision = answer.Header.Revision
	default:
		record.Error = "nothing to be done"
	}
	record.Done = now()
	c.recorder.add(record)
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
