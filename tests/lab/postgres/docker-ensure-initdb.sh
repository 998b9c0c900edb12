#!/bin/bash
# As in the official image: initialises an empty data directory like the entrypoint does, then exits instead of serving.
# Arguments: the server's, with or without the program's name in front.
set -Eeuo pipefail

# shellcheck source=/dev/null
. /usr/local/bin/docker-entrypoint.sh

if [[ ${1:-} == postgres ]]; then
    shift
fi
load_environment
prepare_folders
if ((EUID == 0)); then
    drop_root "$@"
fi
if is_initialised; then
    printf '%s: note: %s holds a database already\n' "${0##*/}" "$PGDATA" >&2
else
    initialise "$@"
fi
