#!/bin/sh
# Builds the static gate and puts it at target/gate/bottle-gate, where `bottle setup` finds it.
#
# BOTTLE_GATE_TARGET   the Rust target; default: what scripts/toolchain.sh prints
set -eu

cd "$(dirname "$0")/.."
target=${BOTTLE_GATE_TARGET:-$(scripts/toolchain.sh)}
case $target in
*-gnu)
    # Only together with an explicit --target: without one, the flag would reach build scripts and proc macros.
    upper=$(printf %s "$target" | tr 'a-z-' 'A-Z_')
    export "CARGO_TARGET_${upper}_RUSTFLAGS=-C target-feature=+crt-static"
    ;;
esac
cargo build --profile gate --no-default-features --bin bottle-gate --target "$target"

out=${CARGO_TARGET_DIR:-target}
mkdir -p "$out/gate"
# By rename: a setup that reads it now sees the old or the new one, never half of it.
cp "$out/$target/gate/bottle-gate" "$out/gate/.bottle-gate.new"
mv "$out/gate/.bottle-gate.new" "$out/gate/bottle-gate"
ls -l "$out/gate/bottle-gate" >&2
