// The two ends of a rolling replacement: servers that start and end in different ways, and a constant load that counts
// every request which fails.
//
//	traffic serve exit|close|keep MILLISECONDS START   on port 80; how long a request takes, and until it listens
//	traffic crash SECONDS                              on port 80, for so long; then exits with status 1
//	traffic load URL RATE KIND                         until SIGTERM or SIGINT; then prints a summary
//
// Kinds of load: get and post, RATE requests a second, each on a new connection; keepalive, the same on connections
// that stay; events, RATE clients of server-sent events, each of which connects again when its stream ends.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// number reads argument i as milliseconds or a rate; -1 if there is no such number.
func number(i int) int {
	if i >= len(os.Args) {
		return -1
	}
	n, err := strconv.Atoi(os.Args[i])
	if err != nil || n < 0 {
		return -1
	}
	return n
}

func main() {
	err := fmt.Errorf("usage: traffic serve exit|close|keep MILLISECONDS START | crash SECONDS | load URL RATE KIND")
	switch {
	case len(os.Args) == 5 && os.Args[1] == "serve" && number(3) >= 0 && number(4) >= 0:
		err = serve(os.Args[2], time.Duration(number(3))*time.Millisecond, time.Duration(number(4))*time.Millisecond)
	case len(os.Args) == 3 && os.Args[1] == "crash" && number(2) > 0:
		err = crash(time.Duration(number(2)) * time.Second)
	case len(os.Args) == 5 && os.Args[1] == "load" && number(3) > 0:
		err = load(os.Args[2], number(3), os.Args[4])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "traffic:", err)
		os.Exit(1)
	}
}
