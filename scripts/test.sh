#!/bin/bash
# All tests, from a bare machine with Rust: engine, gate, images, every cargo test, the addon's own tests, and a last
# look that nothing is left on the engine. Prints what each step took and, at the end, how many tests ran.
#
# BOTTLE_TEST_ENGINE=none      no engine: only the tests that need none; what is left out is said
# BOTTLE_TEST_REGISTRY=none    leave out the tests that need the Debian package docker-registry
# BOTTLE_TEST_PIPELOCK_BIN     a pipelock 2.3.0 binary: the gate's conformance suite runs on it too
# BOTTLE_TEST_PIPELOCK_IMAGE   an image of it on the engine: whole bottles run with it too
# BOTTLE_CA_BUNDLE             as in scripts/setup.sh
set -euo pipefail

cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=()
summary=()

# step NAME COMMAND…: runs, shows, times; a failure is remembered.
step() {
    local name=$1 began=$SECONDS code=0
    shift
    printf '\n== %s\n' "$name"
    "$@" || code=$?
    summary+=("$(printf '%6d s  %-24s %s' $((SECONDS - began)) "$name" "$([ "$code" = 0 ] && echo ok || echo "FAILED ($code)")")")
    [ "$code" = 0 ] || failed+=("$name")
    return "$code"
}

prepare() { scripts/setup.sh | tee "$scratch/setup.json"; }
suites() { cargo test --locked --no-fail-fast 2>&1 | tee "$scratch/cargo.log"; }
addon() {
    local image
    # The report names each image as "bottle/<name>:<hash>".
    image=$(grep -o '"bottle/mitmproxy:[^"]*"' "$scratch/setup.json" | head -n 1 | tr -d '"')
    [ -n "$image" ] || { echo "test: the report names no mitmproxy image" >&2; return 1; }
    scripts/test-addon.sh "$image" 2>&1 | tee "$scratch/addon.log"
}

with_engine=1
[ -n "${BOTTLE_TEST_PIPELOCK_IMAGE:-}" ] ||
    echo "BOTTLE_TEST_PIPELOCK_IMAGE is not set: whole bottles run with the builtin gate only"
if [ "${BOTTLE_TEST_ENGINE:-}" = none ]; then
    with_engine=
    echo "BOTTLE_TEST_ENGINE=none: NOT RUN are the real-engine tests, the addon's tests and the look for leftovers"
fi
[ "${BOTTLE_TEST_REGISTRY:-}" != none ] || echo "BOTTLE_TEST_REGISTRY=none: NOT RUN are the registry's tests"
[ -n "${BOTTLE_TEST_PIPELOCK_BIN:-}" ] ||
    echo "BOTTLE_TEST_PIPELOCK_BIN is not set: the gate's suite runs on the builtin gate only"

if [ -n "$with_engine" ]; then
    step packages scripts/packages.sh build images tests
    DOCKER_HOST=$(scripts/engine.sh)
    export DOCKER_HOST
    scripts/leftovers.sh --list >"$scratch/before"
    if [ -s "$scratch/before" ]; then
        echo "test: there before this run, and not counted as left behind:"
        cat "$scratch/before"
    fi
    step "gate and images" prepare
    # The tests that build images read the bundle from here.
    [ -z "${BOTTLE_CA_BUNDLE:-}" ] || export SSL_CERT_FILE=$BOTTLE_CA_BUNDLE
fi

step "cargo test" suites || true
if [ -n "$with_engine" ]; then
    step "addon tests" addon || true
    step leftovers scripts/leftovers.sh --except "$scratch/before" || true
fi

printf '\n== summary\n'
printf '%s\n' "${summary[@]}"
touch "$scratch/cargo.log" "$scratch/addon.log"
awk '
    /^test result: / { passed += $4; failed += $6; ignored += $8 }
    /^Ran [0-9]+ tests? in / { ran += $2 }
    /^FAILED \(/ || /^OK \(/ {
        text = $0
        while (match(text, /(failures|errors|unexpected successes)=[0-9]+/)) {
            bad += substr(text, RSTART + index(substr(text, RSTART), "="), RLENGTH - index(substr(text, RSTART), "=")) + 0
            text = substr(text, RSTART + RLENGTH)
        }
        if (match($0, /skipped=[0-9]+/)) skipped += substr($0, RSTART + 8, RLENGTH - 8) + 0
    }
    END {
        printf "%d passed, %d failed, %d skipped\n", passed + ran - bad - skipped, failed + bad, ignored + skipped
    }' "$scratch/cargo.log" "$scratch/addon.log"
if [ "${#failed[@]}" -gt 0 ]; then
    printf 'test: FAILED: %s\n' "${failed[*]}" >&2
    exit 1
fi
