#!/usr/bin/env bash
# What a careful person's script does with openssl: secrets, a P-256 CA with name constraints, two leaf certificates, and
# the files that the servers read. The yardstick for `cargo xtask render`; it makes every file durable, as that does.
set -euo pipefail
root=$1
umask 077
mkdir -p "$root"/certs/mattermost "$root"/certs/postgres "$root"/env/postgres "$root"/compose
cd "$root"

for name in POSTGRES_SUPERUSER_PASSWORD POSTGRES_PASSWORD ADMIN_PASSWORD TURN_SECRET; do
    echo "$name=$(openssl rand -hex 24)"
done > env/secrets.env
. env/secrets.env

key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1"; }
key certs/ca.key
openssl req -x509 -new -key certs/ca.key -sha256 -days 3650 -subj "/CN=Command Center CA" \
    -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -addext "nameConstraints=critical,permitted;DNS:cicd.local,permitted;DNS:localhost,permitted;IP:127.0.0.0/255.0.0.0,permitted;IP:192.168.0.0/255.255.0.0" \
    -out certs/ca.crt
leaf() {
    key "certs/$1/tls.key"
    printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\nkeyUsage=critical,digitalSignature\nbasicConstraints=critical,CA:FALSE\nauthorityKeyIdentifier=keyid\n' "$2" > extensions
    openssl req -new -key "certs/$1/tls.key" -subj "/CN=$1.cicd.local" |
        openssl x509 -req -CA certs/ca.crt -CAkey certs/ca.key -set_serial "0x$(openssl rand -hex 16)" -days 397 \
            -extfile extensions -out "certs/$1/tls.crt" 2> /dev/null
    rm extensions
}
leaf mattermost "DNS:mattermost.cicd.local,DNS:localhost,IP:127.0.0.1,IP:192.168.1.10"
leaf postgres "DNS:postgres.cicd.local"

echo "LAN_IP=192.168.1.10" > compose/.env
echo "services: {}" > compose/compose.yaml
echo "MM_SQLSETTINGS_DATASOURCE=postgres://mattermost:$POSTGRES_PASSWORD@postgres.cicd.local/mattermost" > env/mattermost.env
echo "static-auth-secret=$TURN_SECRET" > env/turnserver.conf
echo "$POSTGRES_PASSWORD" > env/postgres/password
echo "$POSTGRES_SUPERUSER_PASSWORD" > env/postgres/superuser_password
echo "hostssl mattermost mattermost samenet scram-sha-256" > env/postgres/pg_hba.conf
echo "CREATE ROLE mattermost LOGIN;" > env/postgres/init.sql
chmod 644 certs/*.crt certs/*/*.crt compose/.env compose/compose.yaml env/postgres/pg_hba.conf env/postgres/init.sql
find . -type f -exec sync {} +
