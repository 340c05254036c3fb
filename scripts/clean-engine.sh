#!/bin/sh
# Removes everything of ours from the engine: bottles, builds, test containers, networks, and with --images also the
# images. Unlike `bottle cleanup` it asks for no owner: running bottles go too. Hence the question.
#
#   scripts/clean-engine.sh [--images] [--yes]
#
# bottle-test/* and bottle/* are the images; the next `bottle setup` builds them again.
set -eu

cd "$(dirname "$0")/.."
yes=''
images=''
for word in "$@"; do
    case $word in
    --yes) yes=1 ;;
    --images) images=1 ;;
    *)
        echo "usage: clean-engine.sh [--images] [--yes]" >&2
        exit 2
        ;;
    esac
done

DOCKER_HOST=$(scripts/engine.sh --check)
export DOCKER_HOST
list=$(mktemp)
trap 'rm -f "$list"' EXIT
scripts/leftovers.sh --list >"$list"
docker network ls --no-trunc --filter name='^claude-bottle-egress$' --format 'network {{.ID}} {{.Name}}' >>"$list"
if [ -n "$images" ]; then
    for repository in 'bottle/*' 'bottle-test/*'; do
        docker image ls --filter "reference=$repository" --format 'image {{.Repository}}:{{.Tag}} {{.Size}}' >>"$list"
    done
fi
if [ ! -s "$list" ]; then
    echo "clean-engine: nothing of ours is on $DOCKER_HOST" >&2
    exit 0
fi
cat "$list"
if [ -z "$yes" ]; then
    printf 'remove all of this from %s? [y/N] ' "$DOCKER_HOST" >&2
    read -r answer || answer=
    case $answer in [yY] | [yY][eE][sS]) ;; *) exit 0 ;; esac
fi
# Containers first: a network with members cannot go.
for kind in container network image; do
    ids=$(awk -v kind="$kind" '$1 == kind { print $2 }' "$list" | sort -u)
    [ -n "$ids" ] || continue
    case $kind in
    container) remove="docker rm -f -v" ;;
    network) remove="docker network rm" ;;
    image) remove="docker image rm" ;;
    esac
    # shellcheck disable=SC2086 # lists of words
    $remove $ids >/dev/null || true
done
scripts/leftovers.sh
