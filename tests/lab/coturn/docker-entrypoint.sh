#!/bin/sh
# Options alone mean turnserver. The official entrypoint also runs each argument through a shell (it drops "-n" and expands "$"):
# our stack goes round it with `entrypoint: ["turnserver"]`, so that part is left out.
case ${1:-} in
    -*) set -- turnserver "$@" ;;
esac
exec "$@"
