#!/bin/sh
# Adds the musl target for the static helpers where rustup can; says what is used otherwise.
# Prints the target on stdout; scripts/build-gate.sh builds with it. Safe to repeat.
set -eu

musl=x86_64-unknown-linux-musl
gnu=x86_64-unknown-linux-gnu
has_target() { [ -d "$(rustc --print sysroot)/lib/rustlib/$1/lib" ]; }

command -v cargo >/dev/null 2>&1 || {
    echo "toolchain: cargo is not installed: see https://rustup.rs" >&2
    exit 1
}
if has_target "$musl"; then
    echo "$musl"
elif command -v rustup >/dev/null 2>&1 && rustup target add "$musl" >&2 && has_target "$musl"; then
    echo "$musl"
else
    echo "toolchain: no musl target; static helpers are built for $gnu with +crt-static" >&2
    echo "$gnu"
fi
