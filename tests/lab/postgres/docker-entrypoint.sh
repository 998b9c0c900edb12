#!/bin/bash
# Stand-in for the official PostgreSQL image's entrypoint: same variables, same order of steps, same flaws.
# A data directory that holds PG_VERSION counts as finished, even when an earlier start died half-way: production does the
# same, so nothing here may be cleverer.

# No -u: scripts of /docker-entrypoint-initdb.d are sourced into this shell and may use unset variables, as with the real one.
set -Eeo pipefail

die() {
    printf 'docker-entrypoint.sh: %s\n' "$*" >&2
    exit 1
}

# Exports NAME from NAME or from the file that NAME_FILE points to.
load_variable() {
    local name=$1 default=${2:-} file_name=${1}_FILE value
    if [[ -n ${!name:-} && -n ${!file_name:-} ]]; then
        die "$name and $file_name are both set: keep one"
    fi
    value=${!name:-}
    if [[ -z $value && -n ${!file_name:-} ]]; then
        value=$(<"${!file_name}")
    fi
    export "$name=${value:-$default}"
    unset "$file_name"
}

load_environment() {
    load_variable POSTGRES_PASSWORD
    load_variable POSTGRES_USER postgres
    load_variable POSTGRES_DB "$POSTGRES_USER"
    load_variable POSTGRES_INITDB_ARGS
}

is_initialised() {
    [[ -s $PGDATA/PG_VERSION ]]
}

# A read-only root or a foreign --user may forbid the chmod; the server itself complains when that matters.
prepare_folders() {
    mkdir -p "$PGDATA"
    chmod 0700 "$PGDATA" || true
    mkdir -p /var/run/postgresql || true
    chmod 3775 /var/run/postgresql || true
    if ((EUID == 0)); then
        find "$PGDATA" /var/run/postgresql ! -user postgres -exec chown postgres {} +
    fi
}

# Runs this same program again as postgres.
drop_root() {
    HOME=/var/lib/postgresql exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
}

refuse_without_password() {
    if [[ -z $POSTGRES_PASSWORD && ${POSTGRES_HOST_AUTH_METHOD:-} != trust ]]; then
        die 'the data directory is empty and there is no superuser password: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE'
    fi
}

create_cluster() {
    # POSTGRES_INITDB_ARGS is written for a shell, quotes and all, so a shell has to read it.
    local -a initdb_args
    eval "initdb_args=($POSTGRES_INITDB_ARGS)"
    initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") "${initdb_args[@]}"
}

# initdb lets in local clients only. Arguments: those of the server, because they may set password_encryption.
allow_hosts() {
    local method=${POSTGRES_HOST_AUTH_METHOD:-}
    if [[ -z $method ]]; then
        method=$(postgres -C password_encryption "$@")
    fi
    printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

# Listens on the socket only, so that nobody on the network meets a server that is not ready yet.
start_temporary_server() {
    set -- "$@" -c listen_addresses='' -p "${PGPORT:-5432}"
    # An empty NOTIFY_SOCKET: this server's readiness is nobody's business.
    NOTIFY_SOCKET='' PGUSER=${PGUSER:-$POSTGRES_USER} pg_ctl -D "$PGDATA" -o "$(printf '%q ' "$@")" -w start
}

stop_temporary_server() {
    PGUSER=${PGUSER:-postgres} pg_ctl -D "$PGDATA" -m fast -w stop
}

# psql as the superuser over the socket; sourced scripts call it by this name.
docker_process_sql() {
    PGHOST='' PGHOSTADDR='' psql -v ON_ERROR_STOP=1 --no-psqlrc --no-password \
        --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" "$@"
}

create_database() {
    local found
    found=$(docker_process_sql --dbname postgres --set db="$POSTGRES_DB" --tuples-only --no-align \
        <<<"select 1 from pg_database where datname = :'db'")
    if [[ -z $found ]]; then
        docker_process_sql --dbname postgres --set db="$POSTGRES_DB" <<<'create database :"db"'
    fi
}

run_init_files() {
    local file
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
            *.sh)
                if [[ -x $file ]]; then
                    printf '%s: running %s\n' "$0" "$file"
                    "$file"
                else
                    printf '%s: sourcing %s\n' "$0" "$file"
                    # shellcheck source=/dev/null
                    . "$file"
                fi
                ;;
            *.sql) printf '%s: running %s\n' "$0" "$file" && docker_process_sql -f "$file" ;;
            *.sql.gz) printf '%s: running %s\n' "$0" "$file" && gunzip -c "$file" | docker_process_sql ;;
            *) printf '%s: ignoring %s\n' "$0" "$file" ;;
        esac
    done
}

# Arguments: the server's, without the program's name.
initialise() {
    refuse_without_password
    # Before initdb, because a folder that cannot be read would leave a cluster without its roles.
    ls /docker-entrypoint-initdb.d/ >/dev/null
    create_cluster
    allow_hosts "$@"
    # For POSTGRES_INITDB_ARGS that ask for a password on the socket too.
    export PGPASSWORD=${PGPASSWORD:-$POSTGRES_PASSWORD}
    start_temporary_server "$@"
    create_database
    run_init_files
    stop_temporary_server
    unset PGPASSWORD
}

only_asks() {
    local argument
    for argument; do
        case $argument in
            -'?' | --help | --describe-config | -V | --version) return 0 ;;
        esac
    done
    return 1
}

main() {
    if [[ ${1:-} == -* ]]; then
        set -- postgres "$@"
    fi
    if [[ ${1:-} == postgres ]] && ! only_asks "$@"; then
        load_environment
        prepare_folders
        if ((EUID == 0)); then
            drop_root "$@"
        fi
        if is_initialised; then
            printf '\nPostgreSQL Database directory appears to contain a database; Skipping initialization\n\n'
        else
            initialise "${@:2}"
            printf '\nPostgreSQL init process complete; ready for start up.\n\n'
        fi
    fi
    exec "$@"
}

# docker-ensure-initdb.sh sources this file for its functions.
if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    main "$@"
fi
