// The two ends of a rolling replacement: servers that end in different ways, and a constant load that
// counts every request which fails.
//
//	traffic serve exit|close|keep MILLISECONDS         on port 80; what a request takes
//	traffic load URL REQUESTS-PER-SECOND               until SIGTERM or SIGINT; then prints a summary
package main

import (
	"context"
	"fmt"
	"io"
	"net"
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
	goodbye  = 2 * time.Second
	patience = 10 * time.Second // of a client
)

func serve(mode string, serviceTime time.Duration) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", ":80")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(serviceTime)
		fmt.Fprintf(w, "served by %s\n", name)
	})}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-terminated
		switch mode {
		case "exit":
			os.Exit(0)
		case "keep":
			time.Sleep(goodbye)
		}
		limit, cancel := context.WithTimeout(context.Background(), goodbye)
		defer cancel()
		server.Shutdown(limit)
		if mode == "close" {
			// What still runs here may be more than requests; the listener is closed all the while.
			<-limit.Done()
		}
	}()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	<-done
	return nil
}

type tally struct {
	mu      sync.Mutex
	total   int
	failed  map[string]int
	slowest time.Duration
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

// request returns what went wrong, or "".
func request(client *http.Client, url string) string {
	response, err := client.Get(url)
	if err != nil {
		text := err.Error()
		return text[strings.LastIndex(text, ": ")+2:]
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "cut short: " + err.Error()
	}
	if response.StatusCode != http.StatusOK {
		return strconv.Itoa(response.StatusCode)
	}
	if !strings.HasPrefix(string(body), "served by ") {
		return "another answer"
	}
	return ""
}

func load(url string, rate int) error {
	// A new connection for each request, and no retry: what HAProxy does not save is lost.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	t := &tally{failed: map[string]int{}}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	ticker := time.NewTicker(time.Second / time.Duration(rate))
	var running sync.WaitGroup
	for {
		select {
		case <-ticker.C:
			running.Add(1)
			go func() {
				defer running.Done()
				began := time.Now()
				t.add(began, request(client, url))
			}()
		case <-stop:
			running.Wait()
			sum := 0
			for what, n := range t.failed {
				fmt.Printf("kind %d %s\n", n, what)
				sum += n
			}
			fmt.Printf("requests %d failed %d slowest_ms %d\n", t.total, sum, t.slowest.Milliseconds())
			return nil
		}
	}
}

func main() {
	err := fmt.Errorf("usage: traffic serve exit|close|keep MILLISECONDS | traffic load URL RATE")
	if len(os.Args) == 4 {
		number, bad := strconv.Atoi(os.Args[3])
		switch {
		case bad != nil || number < 0:
		case os.Args[1] == "serve":
			err = serve(os.Args[2], time.Duration(number)*time.Millisecond)
		case os.Args[1] == "load" && number > 0:
			err = load(os.Args[2], number)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "traffic:", err)
		os.Exit(1)
	}
}
