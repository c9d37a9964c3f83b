package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"sort"
	"strings"
	"sync"
)

// A request, as it is compared. The headers that say who asks, and whom, are left out.
type request struct {
	Method, Path, Body string
	Headers            map[string]string
}

// record passes requests on to etcd, and writes each to a file, one JSON text a line.
func record(arguments []string) error {
	flags := flag.NewFlagSet("record", flag.ExitOnError)
	listen := flags.String("listen", "", "`ADDRESS:PORT`")
	etcd := flags.String("etcd", "", "etcd's `URL`")
	out := flags.String("out", "", "the `file`")
	flags.Parse(arguments)

	file, err := os.OpenFile(*out, os.O_CREATE|os.O_TRUNC|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	var lock sync.Mutex
	return http.ListenAndServe(*listen, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen := request{Method: r.Method, Path: r.URL.RequestURI(), Body: string(body), Headers: map[string]string{}}
		for name, values := range r.Header {
			if name != "User-Agent" && name != "Content-Length" {
				seen.Headers[name] = strings.Join(values, ", ")
			}
		}
		line, _ := json.Marshal(seen)
		lock.Lock()
		file.Write(append(line, '\n'))
		lock.Unlock()
		passed, err := http.NewRequest(r.Method, *etcd+seen.Path, bytes.NewReader(body))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		passed.Header = r.Header
		answer, err := http.DefaultClient.Do(passed)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		w.Header().Set("Content-Type", answer.Header.Get("Content-Type"))
		w.WriteHeader(answer.StatusCode)
		io.Copy(w, answer.Body)
	}))
}

// shapes prints the different requests of a recording in the order in which each appeared first. A transaction counts as one
// for each of its keys, because Docker's answers decide which keys are written together. They also decide the ports, so that
// these are left out, as is the number of a revision.
func shapes(arguments []string) error {
	if len(arguments) != 1 {
		return fmt.Errorf("usage: hosts shapes RECORDING")
	}
	file, err := os.Open(arguments[0])
	if err != nil {
		return err
	}
	defer file.Close()
	seen := map[string]bool{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		found, err := shapesOf(lines.Bytes())
		if err != nil {
			return err
		}
		for _, shape := range found {
			if !seen[shape] {
				seen[shape] = true
				fmt.Println(shape)
			}
		}
	}
	return lines.Err()
}

func shapesOf(line []byte) ([]string, error) {
	var r request
	if err := json.Unmarshal(line, &r); err != nil {
		return nil, err
	}
	var names []string
	for name, value := range r.Headers {
		names = append(names, name+": "+value)
	}
	sort.Strings(names)
	begin := fmt.Sprintf("%s %s %s ", r.Method, r.Path, strings.Join(names, "; "))
	if r.Body == "" {
		return []string{begin}, nil
	}
	var tree map[string]interface{}
	if err := json.Unmarshal([]byte(r.Body), &tree); err != nil {
		return nil, err
	}
	var found []string
	for _, part := range parts(tree) {
		text, err := json.Marshal(normal("", part))
		if err != nil {
			return nil, err
		}
		found = append(found, begin+string(text))
	}
	return found, nil
}

// parts splits a transaction that has the same number of entries in each list.
func parts(tree map[string]interface{}) []map[string]interface{} {
	success, ok := tree["success"].([]interface{})
	if !ok {
		return []map[string]interface{}{tree}
	}
	split := make([]map[string]interface{}, len(success))
	for name, value := range tree {
		list, ok := value.([]interface{})
		if !ok || len(list) != len(success) {
			return []map[string]interface{}{tree}
		}
		for i := range list {
			if split[i] == nil {
				split[i] = map[string]interface{}{}
			}
			split[i][name] = list[i]
		}
	}
	return split
}

func normal(name string, tree interface{}) interface{} {
	switch value := tree.(type) {
	case map[string]interface{}:
		for key := range value {
			value[key] = normal(key, value[key])
		}
	case []interface{}:
		for i := range value {
			value[i] = normal("", value[i])
		}
	case string:
		if name == "mod_revision" && value != "0" {
			return "N"
		}
		if text, err := base64.StdEncoding.DecodeString(value); err == nil && name == "value" {
			host, _, _ := strings.Cut(string(text), ":")
			return host + ":PORT"
		}
	}
	return tree
}
