# Runs as root in the agent container; the private key comes on standard input and stays in memory.
# OpenSSH's agent answers only its own user, so a relay of root's stands between it and the agent user:
# the agent user can have things signed, and can never read a key.
set -eu
umask 077
mkdir -p /run/bottle/root
agent=/run/bottle/root/ssh-agent.sock
relay=/run/bottle/ssh-agent.sock
if ! [ -S "$agent" ]; then
  ssh-agent -a "$agent" >/dev/null
fi
SSH_AUTH_SOCK=$agent ssh-add -q -
if ! [ -S "$relay" ]; then
  setsid socat "UNIX-LISTEN:$relay,fork,mode=0666" "UNIX-CONNECT:$agent" </dev/null >/dev/null 2>&1 &
  tries=0
  while ! [ -S "$relay" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { echo "the ssh-agent relay did not start" >&2; exit 1; }
    sleep 0.02
  done
fi
