#!/bin/sh
# From a machine with Rust and nothing else to a bottle with the real Claude Code in it, two blocked requests, and
# nothing left on the engine but images. See examples/demo.rs.
#
# CLAUDE_BOTTLE_OAUTH_TOKEN    talk to the real API with it; without it a stub of the Messages API answers
# BOTTLE_CA_BUNDLE             as in scripts/setup.sh
set -eu

cd "$(dirname "$0")/.."
scripts/packages.sh build images
DOCKER_HOST=$(scripts/engine.sh)
export DOCKER_HOST
BOTTLE_GATE_TARGET=$(scripts/toolchain.sh)
export BOTTLE_GATE_TARGET
scripts/build-gate.sh
exec cargo run --locked --quiet --example demo
