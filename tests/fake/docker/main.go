// A fake Docker engine, or a thousand of them in one process; see README.md.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

type options struct {
	sockets    []string
	control    string
	data       string
	containers int
	seed       int64
	names      string
	apiVersion string
	minAPI     string
	labels     int
	env        int
	ports      int
	stopMS     int
	serve      string
}

type socketList []string

func (s *socketList) String() string { return strings.Join(*s, ",") }
func (s *socketList) Set(value string) error {
	*s = append(*s, value)
	return nil
}

func parseOptions() options {
	var o options
	var dir string
	var count int

	flag.Var((*socketList)(&o.sockets), "socket", "`path` of a unix socket, or tcp://ADDRESS:PORT; again for another engine")
	flag.StringVar(&dir, "sockets", "", "`directory` for the sockets of --count engines: 0000.sock, 0001.sock, ...")
	flag.IntVar(&count, "count", 1, "how many engines in --sockets")
	flag.StringVar(&o.control, "control", "", "`path` of the control socket")
	flag.StringVar(&o.data, "data", "tests/data/docker", "`directory` of the recorded bodies")
	flag.IntVar(&o.containers, "containers", 0, "how many run at the start, in each engine")
	flag.Int64Var(&o.seed, "seed", 1, "all IDs and choices follow from it")
	flag.StringVar(&o.names, "names", "web-%05d", "`format` of the containers' names; %e becomes the engine's number")
	flag.StringVar(&o.apiVersion, "api-version", "1.41", "newest API version")
	flag.StringVar(&o.minAPI, "min-api", "1.12", "oldest API version")
	flag.IntVar(&o.labels, "labels", 0, "how many labels a container has")
	flag.IntVar(&o.env, "env", 0, "how many environment variables a container has")
	flag.IntVar(&o.ports, "ports", 1, "how many published ports a container has")
	flag.IntVar(&o.stopMS, "stop-ms", 0, "how long a container takes from the signal to its death")
	flag.StringVar(&o.serve, "serve", "", "`ADDRESS:PORT` of a server that takes each connection and closes it")
	flag.Parse()
	if dir != "" {
		for i := 0; i < count; i++ {
			o.sockets = append(o.sockets, filepath.Join(dir, fmt.Sprintf("%04d.sock", i)))
		}
	}
	if len(o.sockets) == 0 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(1)
	}
	return o
}

func listen(address string) (net.Listener, error) {
	if rest := strings.TrimPrefix(address, "tcp://"); rest != address {
		return net.Listen("tcp", rest)
	}
	// Left over from a run that was killed.
	if err := os.Remove(address); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return net.Listen("unix", address)
}

// For probes: the containers' servers, where the host has the containers' addresses.
func serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		c.Close()
	}
}

func run(o options) error {
	recorded, err := loadBodies(o.data)
	if err != nil {
		return err
	}
	world := &world{}
	for i, socket := range o.sockets {
		e := newEngine(i, o, recorded)
		e.setCount(o.containers)
		world.engines = append(world.engines, e)
		l, err := listen(socket)
		if err != nil {
			return err
		}
		defer l.Close()
		go http.Serve(l, e)
	}
	if o.control != "" {
		l, err := listen(o.control)
		if err != nil {
			return err
		}
		defer l.Close()
		go http.Serve(l, world.control())
	}
	if o.serve != "" {
		l, err := net.Listen("tcp", o.serve)
		if err != nil {
			return err
		}
		defer l.Close()
		go serve(l)
	}
	fmt.Println("ready")

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	<-signals
	return nil
}

func main() {
	if err := run(parseOptions()); err != nil {
		fmt.Fprintln(os.Stderr, "fake-docker:", err)
		os.Exit(1)
	}
}
