package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"time"
)

// A watcher asks for all changes below a prefix over gRPC, as confd's etcdv3 backend and etcd's own clients do: the JSON
// gateway would cost etcd much more for each event. It speaks just enough HTTP/2 and protobuf for that one stream.
type watcher struct {
	conn    net.Conn
	events  atomic.Int64
	deletes atomic.Int64
	bytes   atomic.Int64
	before  int64 // deletes before the latest loss of hosts
	probe   func(number int)
	ended   atomic.Bool
	created chan struct{}
}

const (
	frameData         = 0x0
	frameHeaders      = 0x1
	frameSettings     = 0x4
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindowUpdate = 0x8
	windowMax         = 1<<31 - 1
	windowGiven       = 1 << 26
)

// The key of a probe ends in its number.
const probePrefix = "/app/servers/probe-"

func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	header := make([]byte, 9, 9+len(payload))
	header[0], header[1], header[2] = byte(len(payload)>>16), byte(len(payload)>>8), byte(len(payload))
	header[3], header[4] = kind, flags
	binary.BigEndian.PutUint32(header[5:], stream)
	return append(header, payload...)
}

func number(value uint32) []byte { return binary.BigEndian.AppendUint32(nil, value) }

// literal is a header of HPACK that is not indexed. index 0: the name follows.
func literal(index byte, name, value string) []byte {
	out := []byte{index}
	if index >= 15 {
		out = []byte{15, index - 15}
	}
	if name != "" {
		out = append(append(out, byte(len(name))), name...)
	}
	return append(append(out, byte(len(value))), value...)
}

func field(number byte, value []byte) []byte {
	return append(append([]byte{number<<3 | 2}, binary.AppendUvarint(nil, uint64(len(value)))...), value...)
}

// watch begins a watch of prefix, which ends in a slash.
func watch(endpoint, prefix string, probe func(number int)) (*watcher, error) {
	conn, err := net.DialTimeout("tcp", endpoint, 5*time.Second)
	if err != nil {
		return nil, err
	}
	end := prefix[:len(prefix)-1] + "0"
	request := field(1, append(field(1, []byte(prefix)), field(2, []byte(end))...))
	message := append(append([]byte{0}, number(uint32(len(request)))...), request...)
	headers := append([]byte{0x83, 0x86}, literal(4, "", "/etcdserverpb.Watch/Watch")...)
	headers = append(headers, literal(1, "", endpoint)...)
	headers = append(headers, literal(31, "", "application/grpc")...)
	headers = append(headers, literal(0, "te", "trailers")...)
	out := []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	// The initial window of a stream is setting 4.
	out = append(out, frame(frameSettings, 0, 0, append([]byte{0, 4}, number(windowMax)...))...)
	out = append(out, frame(frameWindowUpdate, 0, 0, number(windowMax-65535))...)
	out = append(out, frame(frameHeaders, 0x4, 1, headers)...)
	out = append(out, frame(frameData, 0, 1, message)...)
	if _, err := conn.Write(out); err != nil {
		conn.Close()
		return nil, err
	}
	w := &watcher{conn: conn, probe: probe, created: make(chan struct{})}
	go func() {
		w.read()
		w.ended.Store(true)
	}()
	select {
	case <-w.created:
		return w, nil
	case <-time.After(10 * time.Second):
		conn.Close()
		return nil, fmt.Errorf("the watch does not begin")
	}
}

func (w *watcher) read() error {
	var header [9]byte
	var payload, pending []byte
	consumed := 0
	for {
		if _, err := io.ReadFull(w.conn, header[:]); err != nil {
			return err
		}
		length := int(header[0])<<16 | int(header[1])<<8 | int(header[2])
		if cap(payload) < length {
			payload = make([]byte, length)
		}
		payload = payload[:length]
		if _, err := io.ReadFull(w.conn, payload); err != nil {
			return err
		}
		switch header[3] {
		case frameSettings:
			if header[4]&1 == 0 {
				w.conn.Write(frame(frameSettings, 1, 0, nil))
			}
		case framePing:
			if header[4]&1 == 0 {
				w.conn.Write(frame(framePing, 1, 0, payload))
			}
		case frameGoAway:
			return io.EOF
		case frameData:
			w.bytes.Add(int64(length))
			if consumed += length; consumed > windowGiven {
				w.conn.Write(append(frame(frameWindowUpdate, 0, 0, number(uint32(consumed))),
					frame(frameWindowUpdate, 0, 1, number(uint32(consumed)))...))
				consumed = 0
			}
			pending = append(pending, payload...)
			for len(pending) >= 5 {
				size := int(binary.BigEndian.Uint32(pending[1:]))
				if len(pending) < 5+size {
					break
				}
				w.message(pending[5 : 5+size])
				pending = pending[5+size:]
			}
			if len(pending) == 0 {
				pending = nil
			}
		}
	}
}

// message counts the events of a WatchResponse (its fields 11; 3 says that the watch has begun).
func (w *watcher) message(message []byte) {
	events, deletes := 0, 0
	forEachField(message, func(number uint64, value []byte) {
		if number == 3 && value == nil {
			close(w.created)
		}
		if number != 11 {
			return
		}
		events++
		if bytes.HasPrefix(value, []byte{8, 1}) {
			deletes++
		}
		if at := bytes.Index(value, []byte(probePrefix)); at >= 0 && w.probe != nil {
			rest := value[at+len(probePrefix):]
			if n, err := strconv.Atoi(string(rest[:8])); err == nil {
				w.probe(n)
			}
		}
	})
	w.events.Add(int64(events))
	w.deletes.Add(int64(deletes))
}

// forEachField calls fn with each field; value is nil for a number.
func forEachField(message []byte, fn func(number uint64, value []byte)) {
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 {
			return
		}
		message = message[n:]
		value, n := binary.Uvarint(message)
		if n <= 0 {
			return
		}
		message = message[n:]
		if tag&7 == 0 {
			fn(tag>>3, nil)
			continue
		}
		if tag&7 != 2 || uint64(len(message)) < value {
			return
		}
		fn(tag>>3, message[:value])
		message = message[value:]
	}
}
