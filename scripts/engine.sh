#!/bin/sh
# Makes a Docker engine reachable and prints its endpoint on stdout.
#
# A reachable engine is used as it is: DOCKER_HOST, the current docker context, the system socket, a rootless
# socket, in this order. Only where none answers, on Debian or Ubuntu and as root, docker.io is installed and
# dockerd started in the background. Safe to repeat. Nothing else of the machine is changed.
#
#   scripts/engine.sh            ensure, print the endpoint
#   scripts/engine.sh --check    only look: exit 1 where no engine answers
#
# BOTTLE_ENGINE_DEADLINE       seconds to wait for a freshly started engine (default 60)
# BOTTLE_DOCKERD_FLAGS         more flags for dockerd
set -eu

deadline=${BOTTLE_ENGINE_DEADLINE:-60}
system_socket=/var/run/docker.sock

say() { printf '%s\n' "$*" >&2; }

# answers ENDPOINT: does an engine answer `_ping` there?
answers() {
    case $1 in
    unix://*)
        socket=${1#unix://}
        [ -S "$socket" ] || return 1
        if command -v curl >/dev/null 2>&1; then
            [ "$(curl -fsS --noproxy '*' --max-time 5 --unix-socket "$socket" http://engine/_ping 2>/dev/null)" = OK ]
            return
        fi
        ;;
    esac
    command -v docker >/dev/null 2>&1 &&
        timeout 10 docker --host "$1" version --format '{{.Server.Version}}' >/dev/null 2>&1
}

find_engine() {
    if [ -n "${DOCKER_HOST:-}" ]; then
        # An explicit choice is the only candidate: another engine than the named one would be a surprise.
        answers "$DOCKER_HOST" && printf '%s\n' "$DOCKER_HOST"
        return
    fi
    context=
    if command -v docker >/dev/null 2>&1; then
        context=$(docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null || true)
    fi
    for candidate in "$context" "unix://$system_socket" \
        "unix://${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/docker.sock" "unix://${HOME:-/}/.docker/run/docker.sock"; do
        [ -n "$candidate" ] || continue
        if answers "$candidate"; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    return 1
}

give_up() {
    say "engine: $1"
    say "engine: do one of these, then run this script again:"
    say "  - start Docker (systemctl start docker, or Docker Desktop)"
    say "  - export DOCKER_HOST=unix:///path/to/docker.sock (or ssh://user@host) of an engine you may use"
    say "  - on Debian or Ubuntu run this script as root: it installs docker.io and starts dockerd"
    exit 1
}

install_missing() {
    wanted=
    command -v dockerd >/dev/null 2>&1 || wanted="$wanted docker.io"
    command -v mmdebstrap >/dev/null 2>&1 || wanted="$wanted mmdebstrap"
    command -v iptables >/dev/null 2>&1 || wanted="$wanted iptables"
    [ -n "$wanted" ] || return 0
    say "engine: installing$wanted"
    # A package's start script must not start a second engine while this script starts its own.
    log=$(mktemp)
    # shellcheck disable=SC2086 # a list of words
    if ! { apt-get update -q && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends $wanted; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        give_up "apt-get could not install$wanted (log above)"
    fi
    rm -f "$log"
}

# start_engine FLAGS…: dockerd in the background, waits until it answers; its log stays where the message says.
start_engine() {
    say "engine: starting dockerd $* (log: $log_file)"
    : >"$log_file"
    setsid nohup dockerd --host "unix://$system_socket" "$@" </dev/null >>"$log_file" 2>&1 &
    engine_pid=$!
    waited=0
    while [ "$waited" -lt "$((deadline * 4))" ]; do
        answers "unix://$system_socket" && return 0
        kill -0 "$engine_pid" 2>/dev/null || return 1
        sleep 0.25
        waited=$((waited + 1))
    done
    say "engine: no answer in $deadline s"
    kill "$engine_pid" 2>/dev/null || true
    wait "$engine_pid" 2>/dev/null || true
    return 1
}

# A flag that answers what the log complains about; nothing when the log names nothing that is known.
remedy_flags() {
    if grep -qiE 'iptables.*(failed|not found|no chain|incompatible)|failed to create NAT chain' "$log_file"; then
        printf '%s\n' --iptables=false --ip6tables=false
    fi
    if grep -qiE 'overlay2?.*(not supported|failed|invalid argument)|error initializing graphdriver' "$log_file"; then
        if command -v fuse-overlayfs >/dev/null 2>&1; then
            printf '%s\n' --storage-driver=fuse-overlayfs
        else
            printf '%s\n' --storage-driver=vfs
        fi
    fi
}

if endpoint=$(find_engine); then
    printf '%s\n' "$endpoint"
    exit 0
fi
[ "${1:-}" != --check ] || give_up "no engine answers"
[ -z "${DOCKER_HOST:-}" ] || give_up "DOCKER_HOST=$DOCKER_HOST does not answer"
[ "$(uname -s)" = Linux ] || give_up "no engine answers, and dockerd runs on Linux only"
[ "$(id -u)" = 0 ] || give_up "no engine answers, and starting one needs root"
command -v apt-get >/dev/null 2>&1 || give_up "no engine answers, and this is not a Debian system"
install_missing

if [ -w /var/log ]; then
    log_file=/var/log/bottle-dockerd.log
else
    mkdir -p "${XDG_STATE_HOME:-$HOME/.local/state}/bottle"
    log_file=${XDG_STATE_HOME:-$HOME/.local/state}/bottle/dockerd.log
fi
# shellcheck disable=SC2086 # flags are words
if ! start_engine ${BOTTLE_DOCKERD_FLAGS:-}; then
    flags=$(remedy_flags)
    tail -n 20 "$log_file" >&2
    [ -n "$flags" ] || give_up "dockerd did not start (end of its log above)"
    # shellcheck disable=SC2086
    start_engine ${BOTTLE_DOCKERD_FLAGS:-} $flags || {
        tail -n 20 "$log_file" >&2
        give_up "dockerd did not start, also not with" $flags
    }
fi
case "$*" in *iptables=false*) say "engine: iptables is off: isolation between networks is weaker" ;; esac
printf 'unix://%s\n' "$system_socket"
