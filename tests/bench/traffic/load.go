package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	patience    = 10 * time.Second // of a client
	progress    = 5 * time.Second
	bodyBytes   = 1024
	connections = 50 // that stay
)

type tally struct {
	mu      sync.Mutex
	total   int
	failed  map[string]int
	slowest time.Duration // for streams: the longest time without an event
	streams int           // that ended and were opened again
}

func (t *tally) add(began time.Time, what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total++
	if took := time.Since(began); took > t.slowest {
		t.slowest = took
	}
	if what == "" {
		return
	}
	t.failed[what]++
	fmt.Printf("failed %s %s after %.3f s\n", began.Format("15:04:05.000"), what, time.Since(began).Seconds())
}

func (t *tally) sum() int {
	sum := 0
	for _, n := range t.failed {
		sum += n
	}
	return sum
}

func (t *tally) progress() {
	for range time.Tick(progress) {
		t.mu.Lock()
		fmt.Printf("progress %d failed %d\n", t.total, t.sum())
		t.mu.Unlock()
	}
}

func (t *tally) print() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for what, n := range t.failed {
		fmt.Printf("kind %d %s\n", n, what)
	}
	fmt.Printf("requests %d failed %d slowest_ms %d streams %d\n", t.total, t.sum(), t.slowest.Milliseconds(), t.streams)
}

func lastPart(err error) string {
	text := err.Error()
	return text[strings.LastIndex(text, ": ")+1:]
}

// request returns what went wrong, or "".
func request(client *http.Client, url, kind string) string {
	var response *http.Response
	var err error
	if kind == "post" {
		// Not a strings.Reader: the client must not be able to send it again.
		body := io.LimitReader(zeroes{}, bodyBytes)
		response, err = client.Post(url, "application/octet-stream", body)
	} else {
		response, err = client.Get(url)
	}
	if err != nil {
		return strings.TrimSpace(lastPart(err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return "cut short: " + err.Error()
	case response.StatusCode != http.StatusOK:
		return strconv.Itoa(response.StatusCode)
	case !strings.HasPrefix(string(body), "served by "):
		return "another answer"
	case kind == "post" && !strings.HasSuffix(string(body), fmt.Sprintf(", %d bytes\n", bodyBytes)):
		return "not the whole body"
	}
	return ""
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 0
	}
	return len(p), nil
}

// follow reads one stream to its end. Counted is each connection: it fails without a 200 and a first event.
func (t *tally) follow(client *http.Client, url string, last time.Time) time.Time {
	response, err := client.Get(url + "events")
	if err != nil {
		t.add(last, strings.TrimSpace(lastPart(err)))
		return last
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.add(last, strconv.Itoa(response.StatusCode))
		return last
	}
	lines := bufio.NewScanner(response.Body)
	first := true
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), "data: served by ") {
			continue
		}
		if first {
			t.add(last, "")
			first = false
		}
		t.mu.Lock()
		if gap := time.Since(last); gap > t.slowest {
			t.slowest = gap
		}
		t.mu.Unlock()
		last = time.Now()
	}
	if first {
		t.add(last, "no event")
	}
	return last
}

func (t *tally) streamsOf(client *http.Client, url string, n int) {
	for i := 0; i < n; i++ {
		go func() {
			for last := time.Now(); ; {
				last = t.follow(client, url, last)
				t.mu.Lock()
				t.streams++
				t.mu.Unlock()
				// As browsers do, but sooner.
				time.Sleep(tick)
			}
		}()
	}
}

func (t *tally) requests(client *http.Client, url, kind string, rate int, stop <-chan os.Signal) {
	ticker := time.NewTicker(time.Second / time.Duration(rate))
	defer ticker.Stop()
	var running sync.WaitGroup
	for {
		select {
		case <-ticker.C:
			running.Add(1)
			go func() {
				defer running.Done()
				began := time.Now()
				t.add(began, request(client, url, kind))
			}()
		case <-stop:
			running.Wait()
			return
		}
	}
}

func load(url string, rate int, kind string) error {
	t := &tally{failed: map[string]int{}}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go t.progress()
	switch kind {
	case "get", "post":
		// A new connection for each request, and no retry: what the load balancer does not save is lost.
		t.requests(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}, url, kind, rate, stop)
	case "keepalive":
		// Go's client sends a GET again if a connection that was kept turns out to be closed.
		t.requests(&http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}, Timeout: patience}, url, kind, rate, stop)
	case "events":
		t.streamsOf(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, url, rate)
		<-stop
	default:
		return fmt.Errorf("there is no load %q", kind)
	}
	t.print()
	return nil
}
