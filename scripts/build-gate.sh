#!/bin/sh
# Builds the static helpers, the gate and the agent's first process, and puts them at target/gate/bottle-gate and
# target/gate/bottle-init, where `bottle setup` finds them.
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
cargo build --profile gate --no-default-features --bin bottle-gate --bin bottle-init --target "$target"

out=${CARGO_TARGET_DIR:-target}
mkdir -p "$out/gate"
for helper in bottle-gate bottle-init; do
    # By rename: a setup that reads it now sees the old or the new one, never half of it.
    cp "$out/$target/gate/$helper" "$out/gate/.$helper.new"
    mv "$out/gate/.$helper.new" "$out/gate/$helper"
    ls -l "$out/gate/$helper" >&2
done
