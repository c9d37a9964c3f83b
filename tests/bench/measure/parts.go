package main

import (
	"encoding/base64"
	"flag"
	"fmt"
	"math/rand"
	"strings"
	"time"
)

// What single requests cost that an agent cannot do without and the floor does.

const partsLease = 4711

func compareCreate(key string) string {
	return fmt.Sprintf(`{"key":"%s","target":"CREATE","result":"EQUAL","create_revision":"0"}`, key)
}

func putOp(key, value string, lease int) string {
	return fmt.Sprintf(`{"request_put":{"key":"%s","value":"%s","lease":"%d"}}`, key, value, lease)
}

func encode(format string, arguments ...interface{}) string {
	return base64.StdEncoding.EncodeToString([]byte(fmt.Sprintf(format, arguments...)))
}

// many is a transaction of 125 puts, with or without compares and lease.
func many(compare bool) string {
	var compares, puts []string
	lease := 0
	if compare {
		lease = partsLease
	}
	for i := 0; i < 125; i++ {
		key := encode("/parts/servers/web-%05d", i)
		compares = append(compares, compareCreate(key))
		puts = append(puts, putOp(key, encode("192.0.2.12:%d", 32768+i), lease))
	}
	if !compare {
		return `{"success":[` + strings.Join(puts, ",") + `]}`
	}
	return `{"compare":[` + strings.Join(compares, ",") + `],"success":[` + strings.Join(puts, ",") + `]}`
}

func parts(arguments []string) error {
	flags := flag.NewFlagSet("parts", flag.ExitOnError)
	socket := flags.String("docker", "", "Docker's `socket`")
	url := flags.String("etcd", "", "etcd's `URL`")
	container := flags.String("container", "", "the `name` of one to inspect")
	rounds := flags.Int("rounds", 200, "how often each is done")
	flags.Parse(arguments)

	e, d := etcd{*url}, newDocker(*socket)
	if _, err := e.call("/v3/lease/grant", fmt.Sprintf(`{"TTL":"3600","ID":"%d"}`, partsLease)); err != nil {
		return err
	}
	key, value := encode("/parts/servers/bench-agent"), encode("192.0.2.11:32768")
	kv := fmt.Sprintf(`{"key":"%s","value":"%s"}`, key, value)
	remove := `{"key":"` + key + `"}`
	all := []struct {
		name, path, body string
		there            bool // the key is to be there before
	}{
		{"put", "/v3/kv/put", kv, false},
		{"create", "/v3/kv/txn", `{"compare":[` + compareCreate(key) + `],"success":[` + putOp(key, value, partsLease) + `]}`, false},
		{"delete", "/v3/kv/deleterange", remove, true},
		{"delete_own", "/v3/kv/txn", fmt.Sprintf(`{"compare":[{"key":"%s","target":"LEASE","result":"EQUAL","lease":"%d"}],`+
			`"success":[{"request_delete_range":%s}]}`, key, partsLease, remove), true},
		{"put125", "/v3/kv/txn", many(false), false},
		{"create125", "/v3/kv/txn", many(true), false},
		{"inspect", "", "", false},
	}
	samples := map[string][]float64{}
	for round := 0; round < *rounds; round++ {
		for _, i := range rand.Perm(len(all)) {
			p := all[i]
			if _, err := e.call("/v3/kv/deleterange", `{"key":"AA==","range_end":"AA=="}`); err != nil {
				return err
			}
			if p.there {
				if _, err := e.call("/v3/kv/put", fmt.Sprintf(`{"key":"%s","lease":"%d"}`, key, partsLease)); err != nil {
					return err
				}
			}
			time.Sleep(time.Millisecond)
			begin := time.Now()
			var err error
			if p.path == "" {
				_, err = d.call("GET", "/containers/"+*container+"/json", "")
			} else {
				_, err = e.call(p.path, p.body)
			}
			if err != nil {
				return err
			}
			samples[p.name] = append(samples[p.name], float64(time.Since(begin))/1e6)
		}
	}
	for _, p := range all {
		printPercentiles("parts."+p.name, samples[p.name])
	}
	return e.clear()
}
