#!/bin/sh
# Runs the tests of the mitmproxy addon inside the mitmproxy image, without a network.
#
#   scripts/test-addon.sh IMAGE
#
# The files go in through standard input, so that the engine may be on another machine.
set -eu

cd "$(dirname "$0")/.."
image=${1:?usage: test-addon.sh IMAGE}
run='
import os, sys, tarfile
tarfile.open(fileobj=sys.stdin.buffer, mode="r|").extractall("/tmp/tests", filter="data")
os.chdir("/tmp/tests/tests/addon")
os.environ["PYTHONPATH"] = "/tmp/tests/assets/addon"
os.execv(sys.executable, [sys.executable, "-m", "unittest"])
'
tar -c tests/addon assets/addon | docker run --rm --interactive --network none --read-only \
    --tmpfs /tmp:exec,mode=1777 --cap-drop ALL --security-opt no-new-privileges --label bottle.test=addon \
    --entrypoint /opt/venv/bin/python3 "$image" -c "$run"
