#!/bin/sh
# Gets everything a launch needs from the engine ready: engine, static gate, images. Prints the report of the
# images as JSON on stdout. The first run takes some minutes; later ones only look.
#
# BOTTLE_CA_BUNDLE     PEM bundle that build steps trust (networks that intercept TLS); never reaches an image
set -eu

cd "$(dirname "$0")/.."
scripts/packages.sh build images
DOCKER_HOST=$(scripts/engine.sh)
export DOCKER_HOST
BOTTLE_GATE_TARGET=$(scripts/toolchain.sh)
export BOTTLE_GATE_TARGET
scripts/build-gate.sh
# shellcheck disable=SC2086 # no argument at all when the variable is empty
cargo run --locked --quiet --example setup -- ${BOTTLE_CA_BUNDLE:+"$BOTTLE_CA_BUNDLE"}
