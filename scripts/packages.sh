#!/bin/sh
# Makes sure that the programs which building and testing call are there; installs what is missing from Debian.
#
#   scripts/packages.sh GROUP…     groups: build, images, tests
#
# Installs only as root on Debian or Ubuntu; anywhere else it names what is missing and fails. Safe to repeat.
set -eu

say() { printf '%s\n' "$*" >&2; }
missing=
# want COMMAND PACKAGE
want() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }

for group in "$@"; do
    case $group in
    build)
        want cc build-essential
        want curl curl
        ;;
    images) want mmdebstrap mmdebstrap ;;
    tests)
        want busybox busybox-static
        want docker-registry docker-registry
        want ssh-keygen openssh-client
        want /usr/sbin/sshd openssh-server
        want tar tar
        ;;
    *)
        say "packages: unknown group $group (known: build, images, tests)"
        exit 2
        ;;
    esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    say "packages: not installed:$missing"
    say "packages: install them (names of Debian), or run this as root on Debian or Ubuntu"
    exit 1
fi
say "packages: installing$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# RUNLEVEL=1: a package's start script must not start its service on this machine.
# shellcheck disable=SC2086 # a list of words
if ! { apt-get update -q && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    say "packages: apt-get could not install$missing (log above)"
    exit 1
fi
