#!/usr/bin/env bats
# What strangers write, in each context that it comes to: every printable ASCII character, and others that look like
# something else, through the real agent, etcd and confd into each file that etc/confd has a template for. HAProxy and
# nginx must take the file, and find in it just the servers that there are.

bats_require_minimum_version 1.8.0
load ../lib/one_host
load ../lib/lb

VALUE='{address}:{port}'

setup_file() {
    export BATS_TEST_TIMEOUT=300
    one_host_up
    lab_host lb 192.0.2.3
}

teardown_file() {
    lab_down
}

setup() {
    lab_attach
}

teardown() {
    one_host_clear
}

# A line for each text: each printable character alone within digits, then directions, zero widths, quotes and line
# ends of Unicode, and what has opened nginx.conf and haproxy.cfg before.
texts() {
    local code
    for ((code = 0x20; code < 0x7f; code++)); do
        # shellcheck disable=SC2059     # the format is the character
        printf "1\\x$(printf %x "$code")2\n"
    done
    printf '1%b2\n' '\u202e' '\u200b' '\u2066' '\ufeff' '\u00a0' '\u2028' '\u2029' '\u0085' '\u201c' '\u037e' '\uff1b' \
        '\uff5b' '\u00e4' '\U1f433' '\U1d7d9' '\U000e0041' '\t' '\r'
    # shellcheck disable=SC1003,SC2016     # as they stand
    printf '%s\n' '1;}server{stub_status;add_header' '1;}' '1 backup' '1"' '${HOME}' '%[src]' '1#' '1\'
}

# create_all: one container with a port for each text; its label SERVICE_<port>_T is the text.
create_all() {
    texts | jq -R -s '(. / "\n")[:-1] | [to_entries[] | {port: (1000 + .key), text: .value}] | {
        Image: "app3:1", Cmd: ["/bin/sleep", "1000"],
        ExposedPorts: (map({"\(.port)/tcp": {}}) | add),
        Labels: ((map({"SERVICE_\(.port)_T": .text}) | add) + {"SERVICE_READY": "none"}),
        HostConfig: {PortBindings: (map({"\(.port)/tcp": [{HostPort: "\(20000 + .port)"}]}) | add)}
    }' >"$LAB/body"
    lab_docker_get h1 "/containers/create?name=all" -X POST -H 'Content-Type: application/json' \
        --data-binary "@$LAB/body" | jq -e .Id
    lab_docker h1 start all >/dev/null
}

# all_keys VALUE-PATTERN: each text has its key, and all values are of this form.
all_keys() {
    local n
    n=$(texts | wc -l)
    keys3 | grep '^/app/servers/all-' >"$LAB/keys"
    (($(wc -l <"$LAB/keys") == n)) || return
    (($(grep -cE "^/app/servers/all-[0-9]+ $1\$" "$LAB/keys") == n))
}

# renders PAIR LINE-PATTERN: the pair's check command takes the file, in which each server is such a line.
renders() {
    local n file
    n=$(texts | wc -l)
    lb_setup lb "$1"
    file=$(_lb_config lb "${1%%-*}")
    rm -f "$file"
    lb_render lb || { tail -n 20 "$LAB/lb/confd.log" && false; }
    # Without this the check would have refused the file.
    [[ -s $file ]]
    grep -vE "$2" "$file" | not grep -E '^ *server .*192\.0\.2\.11'
    (($(grep -cE "$2" "$file") == n))
}

# renders_none PAIR: the pair's check command takes the file, in which no server is made of the keys.
renders_none() {
    local file
    lb_setup lb "$1"
    file=$(_lb_config lb "${1%%-*}")
    rm -f "$file"
    lb_render lb || { tail -n 20 "$LAB/lb/confd.log" && false; }
    [[ -s $file ]]
    not grep -E '^ *server .*192\.0\.2\.11' "$file"
}

@test "unquoted: a label becomes one harmless word in haproxy.cfg and nginx.conf" {
    create_all
    # The templates take an address, a port and a weight: a value with other words becomes a comment.
    agent --value "$VALUE cookie x{label:SERVICE_T}"
    wait_for 20 all_keys '192\.0\.2\.11:[0-9]+ cookie x[A-Za-z0-9._:/-]+'
    renders_none haproxy
    renders_none haproxy-services
    agent_again --value "$VALUE-{label:SERVICE_T}"
    wait_for 20 all_keys '192\.0\.2\.11:[0-9]+-[A-Za-z0-9._:/-]+'
    # nginx.tmpl has no place that takes a word: a header of the server's gets it.
    LB_EDIT='s#location /#{{range gets "/app/servers/*"}}add_header X {{.Value}};\n    {{end}}&#' renders_none nginx
    (($(grep -cE '^ *add_header X 192\.0\.2\.11:[0-9]+-[^;]*;$' "$(_lb_config lb nginx)") == $(texts | wc -l)))
    (($(grep -c 'server {' "$(_lb_config lb nginx)") == 1))
}

@test "as a number: with any label the files are valid, and no label adds a server" {
    local pattern='^ *server all-[0-9]+:192\.0\.2\.11:[0-9]+ 192\.0\.2\.11:[0-9]+ weight [0-9]+ check$'
    create_all
    agent --value "$VALUE {label:SERVICE_T|number:1-256?7}"
    wait_for 20 all_keys '192\.0\.2\.11:[0-9]+ [0-9]+'
    renders haproxy "$pattern"
    renders haproxy-services "$pattern"
    renders nginx '^ *server 192\.0\.2\.11:[0-9]+ weight=[0-9]+ max_fails=1 fail_timeout=2s; # all-[0-9]+$'
}

@test "as JSON: a consumer gets the label's text unchanged" {
    create_all
    agent --value '{"at":"{address}:{port}","port":{container_port},"text":{label:SERVICE_T|json}}'
    wait_for 20 all_keys '.*'
    diff <(texts | jq -R -c .) <(sed 's/^[^ ]* //' "$LAB/keys" | jq -s -c 'sort_by(.port)[].text')
}

@test "as the service's name: the files are valid, and the backends have harmless names" {
    create_all
    agent --service '{label:SERVICE_T?none}' --value "$VALUE"
    # Texts that differ in such characters only come to one service, but each has its key.
    # shellcheck disable=SC2016     # for eval
    wait_for 20 eval '(($(keys3 | grep -c "^/app/[A-Za-z0-9._:-]*/all-[0-9]* 192") == $(texts | wc -l)))'
    lb_setup lb haproxy-services
    rm -f "$LAB/lb/haproxy.cfg"
    lb_render lb || { tail -n 20 "$LAB/lb/confd.log" && false; }
    # One service's name has a colon, which HAProxy's names of servers need for themselves.
    (($(grep -cE '^    server all-[0-9]+:192\.0\.2\.11:[0-9]+ 192\.0\.2\.11:[0-9]+ check$' "$LAB/lb/haproxy.cfg") == $(texts | wc -l) - 1))
    (($(grep -c '^# Skipped: the service "1:2"$' "$LAB/lb/haproxy.cfg") == 1))
    not grep -vE '^backend (app-[A-Za-z0-9._:-]+|no-service)$' <(grep '^backend' "$LAB/lb/haproxy.cfg")
}
