package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	goodbye = 2 * time.Second
	tick    = 100 * time.Millisecond // between two events of a stream
)

type server struct {
	name        string
	serviceTime time.Duration
	ending      chan struct{} // closed when streams should end
}

func (s *server) answer(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/events" {
		s.stream(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	time.Sleep(s.serviceTime)
	fmt.Fprintf(w, "served by %s, %d bytes\n", s.name, len(body))
}

// stream sends events until the client goes, or the server ends.
func (s *server) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		fmt.Fprintf(w, "data: served by %s\n\n", s.name)
		w.(http.Flusher).Flush()
		select {
		case <-ticker.C:
		case <-s.ending:
			return
		case <-r.Context().Done():
			return
		}
	}
}

func serve(mode string, serviceTime, start time.Duration) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	select {
	case <-time.After(start):
	case <-terminated:
		return nil
	}
	listener, err := net.Listen("tcp", ":80")
	if err != nil {
		return err
	}
	s := &server{name: name, serviceTime: serviceTime, ending: make(chan struct{})}
	httpServer := &http.Server{Handler: http.HandlerFunc(s.answer)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-terminated
		end(mode, httpServer, s.ending)
	}()
	if err := httpServer.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	<-done
	return nil
}

func end(mode string, httpServer *http.Server, ending chan struct{}) {
	switch mode {
	case "exit":
		os.Exit(0)
	case "keep":
		time.Sleep(goodbye)
	}
	limit, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	close(ending)
	httpServer.Shutdown(limit)
	if mode == "close" {
		// What still runs here may be more than requests; the listener is closed all the while.
		<-limit.Done()
	}
}

// crash serves, and fails.
func crash(after time.Duration) error {
	time.AfterFunc(after, func() { os.Exit(1) })
	return http.ListenAndServe(":80", nil)
}
