//! PostgreSQL: TLS, owners, size and connections.

use super::context::Context;
use super::problem::{Row, ok, problems};
use crate::causes;
use crate::certs;
use crate::drivers::docker;
use crate::error::hint_of;

problems! {
    PG_SILENT: Fail "postgres.silent",
        "Mattermost says that it cannot reach its database.",
        "PostgreSQL does not answer its own superuser.",
        "see what it says: `cargo xtask logs postgres`; then `cargo xtask up`";
    PG_SCHEMA: Fail "postgres.schema-owner",
        "Mattermost does not start after an update: \"permission denied for schema public\".",
        "The role mattermost does not own its database or the schema public; since PostgreSQL 15 only an owner makes tables there.",
        "{fix}";
    PG_PLAIN: Fail "postgres.plain",
        "None; passwords and messages cross the network in the clear.",
        "A connection to PostgreSQL does not use TLS.",
        "find out whose it is: in the stack's compose folder, docker compose exec postgres psql -U postgres -c 'SELECT a.usename, a.client_addr FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE NOT s.ssl AND a.client_addr IS NOT NULL'";
    PG_NO_TLS: Fail "postgres.no-tls",
        "Mattermost cannot connect: it requires TLS.",
        "PostgreSQL runs with TLS switched off.",
        "`cargo xtask up`, and remove what overrides `ssl` (ALTER SYSTEM, or a compose override)", Up;
    PG_CONNECTIONS: Warn "postgres.connections",
        "Mattermost is slow or says \"too many clients\".",
        "More than four fifths of PostgreSQL's connections are taken.",
        "see whose they are: in the stack's compose folder, docker compose exec postgres psql -U postgres -c 'SELECT usename, state, count(*) FROM pg_stat_activity GROUP BY 1, 2'";
    PG_EXTERNAL: Fail "postgres.external",
        "Mattermost does not start, or stops working.",
        "The PostgreSQL that stack.toml names lacks something that Mattermost needs, or does not answer.",
        "{fix}";
    PG_UNASKED: Warn "postgres.unasked",
        "None yet.",
        "The PostgreSQL that stack.toml names was not asked yet.",
        "`cargo xtask up` asks it";
}

const QUERY: &str = "SELECT current_setting('server_version'), current_setting('ssl'), \
    (SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'public'), \
    (SELECT datdba::regrole::text FROM pg_database WHERE datname = current_database()), \
    (SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.client_addr IS NOT NULL AND NOT s.ssl AND NOT a.client_addr <<= '127.0.0.0/8'), \
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), current_setting('max_connections'), \
    pg_database_size(current_database())";

pub fn check(context: &Context) -> Vec<Row> {
    let stack = &context.stack;
    if stack.settings.external_postgres().is_some() {
        let Ok(Ok(_)) = context.engine() else { return Vec::new() };
        return vec![external(context)];
    }
    // One that does not run has a row already.
    let Some(container) = context.running("postgres") else { return Vec::new() };
    let argv = ["exec", &container.name, "psql", "-U", "postgres", "-d", "mattermost", "-Atqc", QUERY];
    vec![match docker::try_docker(&argv) {
        Ok(answer) if answer.success => judge(answer.stdout.trim()),
        Ok(answer) => PG_SILENT.found(answer.complaint()),
        Err(error) => PG_SILENT.found(format!("{error:#}")),
    }]
}

/// The one line that psql prints, its columns divided by `|`.
pub fn judge(line: &str) -> Row {
    let columns: Vec<&str> = line.split('|').collect();
    let [version, ssl, schema, database, plain, used, most, size] = columns[..] else {
        return PG_SILENT.found(format!("it answered {line:?}"));
    };
    let number = |text: &str| text.parse::<u64>().unwrap_or_default();
    if schema != "mattermost" || database != "mattermost" {
        let finding = format!("the schema public belongs to {schema}, the database to {database}");
        let fix = if schema == "mattermost" { DATABASE_FIX } else { causes::SCHEMA_FIX };
        return PG_SCHEMA.found(finding).with("fix", fix);
    }
    if ssl != "on" {
        return PG_NO_TLS.found("TLS is switched off");
    }
    if number(plain) > 0 {
        return PG_PLAIN.found(format!("{plain} connections without TLS"));
    }
    let connections = format!("{used} of {most} connections");
    if number(used) * 5 > number(most) * 4 {
        return PG_CONNECTIONS.found(connections);
    }
    let size = number(size) >> 20;
    ok("postgres", format!("{version}, TLS, owned by its role, {size} MiB, {connections}"))
}

const DATABASE_FIX: &str = "in the stack's compose folder: docker compose exec postgres psql -U postgres -c 'ALTER DATABASE mattermost OWNER TO mattermost'";

fn external(context: &Context) -> Row {
    if !context.stack.root.join(certs::POSTGRES_CA).exists() {
        return PG_UNASKED.found("not asked yet");
    }
    match crate::external_postgres::prove(&context.stack) {
        Ok(proof) => ok("postgres", proof.replacen("PostgreSQL", "version", 1)),
        Err(error) => {
            let fix = hint_of(&error).unwrap_or("see the message").to_owned();
            PG_EXTERNAL.found(format!("{error:#}")).with("fix", fix)
        }
    }
}
