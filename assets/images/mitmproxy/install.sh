#!/bin/sh
# Fills the mitmproxy image. Runs as root in a build container; BUILD is a directory that never reaches the image.
set -eu

apt-get update -q
# shellcheck disable=SC2086 # a list of words
apt-get install -y -q $PACKAGES python3-venv

# pip stays in the build directory: the image gets the packages, not the installer.
python3 -m venv "$BUILD/pip"
python3 -m venv --without-pip /opt/venv
"$BUILD/pip/bin/pip" --python /opt/venv/bin/python3 install -q --no-compile --only-binary :all: --require-hashes \
    -r "$BUILD/requirements.txt"

mkdir -p /opt/bottle
[ ! -d "$BUILD/addon" ] || cp -R "$BUILD/addon/." /opt/bottle/

# The root is read-only at run time: bytecode is made here, and never compared with the sources' times again.
/opt/venv/bin/python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib /opt/bottle
# What cannot be loaded shows here rather than in a bottle.
/opt/venv/bin/python3 -c 'import mitmproxy.tools.dump'
[ ! -d "$BUILD/addon" ] || PYTHONPATH=/opt/bottle /opt/venv/bin/python3 -B -c 'import bottle_addon.main'

echo 'mitmproxy:x:65532:65532::/tmp:/usr/sbin/nologin' >>/etc/passwd
echo 'mitmproxy:x:65532:' >>/etc/group

# Nothing that installs or fetches software, and no interpreter but the one needed. The order matters: apt and
# perl are what the other removals run on.
apt-get purge -y -q --auto-remove python3-venv
dpkg --purge --force-all apt perl-base
