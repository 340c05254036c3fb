#!/bin/sh
# Prints what bottles, builds and tests have on the engine; fails when there is anything.
#
#   scripts/leftovers.sh                  print, exit 1 unless there is nothing
#   scripts/leftovers.sh --list           print, exit 0
#   scripts/leftovers.sh --except FILE    ignore the lines of FILE (an earlier --list)
#
# Ours are: containers and networks labelled bottle.id (a bottle), bottle.build (an image build), bottle-test,
# bottle.test or bottle.demo, and whatever is named claude-bottle-*. The shared network claude-bottle-egress belongs to no bottle
# and stays by design: it is not listed while nothing is connected to it.
set -eu

labels="bottle.id bottle.build bottle.shared bottle.demo bottle-test bottle.test"
shared=claude-bottle-egress

list() {
    {
        for label in $labels; do
            docker ps -a --no-trunc --filter "label=$label" --format 'container {{.ID}} {{.Names}} {{.Status}}'
            docker network ls --no-trunc --filter "label=$label" --format 'network {{.ID}} {{.Name}}'
        done
        docker ps -a --no-trunc --filter name='^/?claude-bottle-' --format 'container {{.ID}} {{.Names}} {{.Status}}'
        docker network ls --no-trunc --filter name='^claude-bottle-' --format 'network {{.ID}} {{.Name}}'
    } | sort -u | while read -r kind id name status; do
        if [ "$kind $name" = "network $shared" ] &&
            [ "$(docker network inspect --format '{{len .Containers}}' "$id" 2>/dev/null)" = 0 ]; then
            continue
        fi
        # The age of a container ("Up 3 minutes") changes from list to list, so it stays out.
        printf '%s %.12s %s %s\n' "$kind" "${id#sha256:}" "$name" "${status%% *}"
    done
}

case ${1:-} in
--list) list ;;
--except)
    found=$(list | grep -vxF -f "$2" || true)
    ;;
'') found=$(list) ;;
*)
    echo "usage: leftovers.sh [--list | --except FILE]" >&2
    exit 2
    ;;
esac
[ "${1:-}" != --list ] || exit 0
if [ -n "$found" ]; then
    echo "leftovers: still on the engine:" >&2
    printf '%s\n' "$found"
    exit 1
fi
echo "leftovers: none (containers, networks)" >&2
