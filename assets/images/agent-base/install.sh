#!/bin/sh
# Fills the agent image. Runs as root in a build container; BUILD is a directory that never reaches the image.
set -eu

apt-get update -q
# shellcheck disable=SC2086 # a list of words
apt-get install -y -q $PACKAGES python3-venv

# npm's own client is used, so that a mirror or a proxy of the surroundings works as it does everywhere else.
python3 -m venv "$BUILD/node"
"$BUILD/node/bin/pip" install -q --no-compile --only-binary :all: --require-hashes -r "$BUILD/node.txt"
PATH="$BUILD/node/bin:$PATH"
mkdir "$BUILD/fetch"
cd "$BUILD/fetch"
npm pack --silent "$CLAUDE_PACKAGE@$CLAUDE_VERSION"
set -- *.tgz
found=sha512-$(sha512sum "$1" | python3 -c 'import base64, sys; print(base64.b64encode(bytes.fromhex(sys.stdin.read().split()[0])).decode())')
if [ "$found" != "$CLAUDE_INTEGRITY" ]; then
    echo "$CLAUDE_PACKAGE@$CLAUDE_VERSION has integrity $found, expected $CLAUDE_INTEGRITY" >&2
    exit 1
fi
tar -xzf "$1" -C "$BUILD/fetch" package/claude
install -o root -g root -m 0755 package/claude /usr/local/bin/claude
cd /

# Debian's git depends on perl, nothing of the agent's image on python.
apt-get purge -y -q --auto-remove python3-venv

groupadd --gid 1000 agent
useradd --uid 1000 --gid 1000 --home-dir /home/agent --create-home --shell /bin/bash agent
install -d -o agent -g agent -m 0755 /workspace
install -d -o agent -g agent -m 0700 /home/agent/.claude /home/agent/.ssh
