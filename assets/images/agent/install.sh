#!/bin/sh
# Adds the first process to the agent's image. Runs as root in a build container of `agent-base`.
set -eu

install -o root -g root -m 0755 "$BUILD/usr/local/bin/bottle-init" /usr/local/bin/bottle-init
