//! A PostgreSQL that exists already: its owner gives Mattermost a database and a role, and here is asked whether that is
//! enough, as the role and over verified TLS, before Mattermost stumbles over it.

use std::path::Path;
use std::time::Duration;

use anyhow::bail;

use crate::drivers::process::{self, Answer};
use crate::error::hinted;
use crate::secrets::{EXTERNAL_POSTGRES_PASSWORD, Secrets};
use crate::settings::{Postgres, Settings};
use crate::stack::Stack;
use crate::{certs, images, lab, secrets};

/// Proves that the role may create Mattermost's tables. Says so in words.
///
/// # Errors
/// With the one thing that is missing, and the statement or setting that mends it.
pub fn prove(stack: &Stack) -> anyhow::Result<String> {
    const QUERY: &str = "SELECT current_setting('server_version_num')::int / 10000, pg_is_in_recovery(), \
        (SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = 'public'), \
        (SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.usename = current_user AND NOT s.ssl)";
    let secrets = Secrets::load(&secrets::path(&stack.root))?;
    let postgres = &stack.settings.postgres;
    let answer = ask(stack, password(&stack.settings, &secrets)?, QUERY)?;
    if !answer.success {
        let said = secrets.redact(answer.stderr.trim());
        let problem = refusal(postgres, &stack.settings.network.subnet.to_string(), &said);
        return Err(problem.into_error(stack, &said));
    }
    let found: Vec<&str> = answer.stdout.trim().split('|').collect();
    match *found.as_slice() {
        [version, recovering, may_create, plain] => match shortage(postgres, version, recovering, may_create, plain) {
            Some(problem) => Err(problem.into_error(stack, "")),
            None => Ok(format!(
                "PostgreSQL {version} at {}: the role {} may create tables in the schema public, and all its connections use TLS",
                postgres.external, postgres.role
            )),
        },
        _ => bail!("PostgreSQL at {} answered something else than was asked", postgres.external),
    }
}

/// The role's password, which the user puts into secrets.env.
pub fn password<'a>(settings: &Settings, secrets: &'a Secrets) -> anyhow::Result<&'a str> {
    secrets.get(EXTERNAL_POSTGRES_PASSWORD).ok_or_else(|| {
        let postgres = &settings.postgres;
        hinted(
            anyhow::anyhow!(
                "env/secrets.env: {EXTERNAL_POSTGRES_PASSWORD} is missing, and postgres.external in stack.toml names {}",
                postgres.external
            ),
            format!(
                "add the line {EXTERNAL_POSTGRES_PASSWORD}=… with the password of the role {}: letters, digits, `-`, `_` and `.`",
                postgres.role
            ),
        )
    })
}

/// Runs a query with the client of the stack's PostgreSQL image, on the network by which Mattermost reaches the server.
/// Password and CA go in by standard input, so that they are in no argument, environment or file of this host.
fn ask(stack: &Stack, password: &str, query: &str) -> anyhow::Result<Answer> {
    const SCRIPT: &str = "umask 077; IFS= read -r password; printf '*:*:*:*:%s\\n' \"$password\" > /tmp/pgpass; \
        cat > /tmp/ca.crt; PGPASSFILE=/tmp/pgpass exec timeout --signal=KILL 25 psql -XAtqw --dbname=\"$1\" --command=\"$2\"";
    const LIMIT: Duration = Duration::from_secs(40);
    let settings = &stack.settings;
    let Some((host, port)) = settings.external_postgres() else { bail!("postgres.external is empty") };
    let image = if stack.is_lab() { lab::postgres_image()? } else { images::pinned()?.postgres };
    let ca = std::fs::read_to_string(stack.root.join(certs::POSTGRES_CA))?;
    let connection = format!(
        "host={host} port={port} dbname={} user={} sslmode=verify-full sslrootcert=/tmp/ca.crt connect_timeout=8 options='-c statement_timeout=8s'",
        settings.postgres.database, settings.postgres.role
    );
    let network = format!("--network={}", settings.network.name);
    let argv = [
        &["docker", "run", "--rm", "--interactive", "--pull=never", &network, "--read-only", "--tmpfs=/tmp:mode=1777"]
            [..],
        &["--user=999:999", "--cap-drop=ALL", "--security-opt=no-new-privileges:true", "--memory=128m"],
        &["--pids-limit=50", "--log-driver=none", "--env=LC_ALL=C", "--entrypoint=/bin/bash", &image],
        &["-euc", SCRIPT, "bash", &connection, query],
    ]
    .concat();
    process::capture(Path::new("/"), &argv, format!("{password}\n{ca}").as_bytes(), LIMIT)
}

/// What is wrong, and the way out of it.
#[derive(Debug, PartialEq, Eq)]
struct Problem {
    what: String,
    fix: String,
}

impl Problem {
    fn into_error(self, stack: &Stack, said: &str) -> anyhow::Error {
        let said = if said.is_empty() { String::new() } else { format!("\n  {}", said.replace('\n', "\n  ")) };
        let external = &stack.settings.postgres.external;
        let fix = stack.hint(&format!("{}; then `cargo xtask up`", self.fix));
        hinted(anyhow::anyhow!("postgres.external: PostgreSQL at {external}: {}{said}", self.what), fix)
    }
}

fn run_there(database: &str, statement: String) -> String {
    format!("run this there as a superuser, in the database {database}: {statement}")
}

/// Why it did not answer, by libpq's words.
fn refusal(postgres: &Postgres, subnet: &str, said: &str) -> Problem {
    let Postgres { external, database, role, .. } = postgres;
    let problem = |what: &str, fix: String| Problem { what: what.to_owned(), fix };
    let says = |text: &str| said.contains(text);
    if says("does not match host name") {
        let fix = "use the host as its certificate has it in postgres.external in stack.toml".to_owned();
        return problem("its certificate is for another name", fix);
    }
    // The second is what OpenSSL says of a CA of the right name with another key.
    if says("certificate verify failed") || says("signature failure") {
        let fix = "name the CA that signed its certificate in postgres.ca in stack.toml".to_owned();
        return problem("its certificate was not signed by the CA of postgres.ca, or has run out", fix);
    }
    if says("server does not support SSL") {
        return problem("it does not speak TLS", "switch it on there: `ssl = on` with a certificate".to_owned());
    }
    if says("could not translate host name") {
        let fix =
            "use a name that DNS knows (containers do not read /etc/hosts), or an address that its certificate has";
        return problem("its name is not known on the network of Mattermost", fix.to_owned());
    }
    if ["Connection refused", "timeout expired", "No route to host", "Network is unreachable"].iter().any(|it| says(it))
    {
        let fix = format!(
            "start it, and let {subnet} and this host reach {external}; or mend postgres.external in stack.toml"
        );
        return problem("it does not answer", fix);
    }
    if says("no pg_hba.conf entry") {
        let line = format!("hostssl {database} {role} ADDRESS scram-sha-256");
        return problem(
            "it lets nobody in from here",
            format!("add to its pg_hba.conf, with this host's address: {line}"),
        );
    }
    if says("password authentication failed") {
        let fix = format!("mend {EXTERNAL_POSTGRES_PASSWORD} in env/secrets.env");
        return problem(&format!("it does not take the password of the role {role}, or has no such role"), fix);
    }
    if says("is not permitted to log in") {
        return problem("the role may not log in", run_there("postgres", format!("ALTER ROLE {role} LOGIN")));
    }
    if says(&format!("database \"{database}\" does not exist")) {
        let sql = format!("CREATE DATABASE {database} OWNER {role} TEMPLATE template0 ENCODING 'UTF8'");
        return problem(&format!("it has no database {database}"), run_there("postgres", sql));
    }
    if says("permission denied for database") {
        let sql = format!("ALTER DATABASE {database} OWNER TO {role}");
        return problem("the role may not use the database", run_there(database, sql));
    }
    problem("it cannot be used", "see what it said above".to_owned())
}

/// What is missing, by its answers.
fn shortage(postgres: &Postgres, version: &str, recovering: &str, may_create: &str, plain: &str) -> Option<Problem> {
    let Postgres { database, role, .. } = postgres;
    let problem = |what: String, fix: String| Some(Problem { what, fix });
    if version.parse::<u32>().is_ok_and(|version| version < 14) {
        return problem(format!("it is version {version}"), "Mattermost needs PostgreSQL 14 or later".to_owned());
    }
    if recovering == "t" {
        return problem(
            "it is a standby and takes no writes".to_owned(),
            "name the primary in postgres.external".to_owned(),
        );
    }
    match may_create {
        "t" => {}
        "" => {
            let sql = format!("CREATE SCHEMA public AUTHORIZATION {role}");
            return problem("the database has no schema public".to_owned(), run_there(database, sql));
        }
        _ => {
            let what =
                format!("the role {role} does not own the schema public of {database}, and cannot create tables");
            let sql = format!("ALTER SCHEMA public OWNER TO {role}");
            return problem(what, run_there(database, sql));
        }
    }
    if plain != "0" {
        let fix = format!("find who else connects as {role}; `hostssl` in pg_hba.conf keeps them out");
        return problem(format!("{plain} connections of the role {role} are in plain text"), fix);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgres() -> Postgres {
        Postgres {
            external: "db.cicd.local:5432".to_owned(),
            ca: "db-ca.pem".into(),
            database: "chat".to_owned(),
            role: "chat_owner".to_owned(),
        }
    }

    /// Recorded from psql 17 and PostgreSQL 17.
    #[test]
    fn each_refusal_has_its_own_fix() {
        let begin = "psql: error: connection to server at \"db.cicd.local\" (10.0.0.5), port 5432 failed: ";
        for (said, fix) in [
            ("Connection refused", "start it"),
            ("timeout expired", "start it"),
            ("could not translate host name \"db.cicd.local\" to address: Name or service not known", "DNS"),
            ("server does not support SSL, but SSL was required", "ssl = on"),
            ("SSL error: certificate verify failed", "postgres.ca"),
            ("SSL error: provider signature failure", "postgres.ca"),
            ("server certificate for \"db\" does not match host name \"10.0.0.5\"", "postgres.external"),
            ("FATAL:  password authentication failed for user \"chat_owner\"", EXTERNAL_POSTGRES_PASSWORD),
            (
                "FATAL:  no pg_hba.conf entry for host \"10.0.0.9\", user \"chat_owner\", database \"chat\", SSL encryption",
                "hostssl chat chat_owner ADDRESS scram-sha-256",
            ),
            ("FATAL:  role \"chat_owner\" is not permitted to log in", "ALTER ROLE chat_owner LOGIN"),
            ("FATAL:  database \"chat\" does not exist", "CREATE DATABASE chat OWNER chat_owner"),
            ("FATAL:  permission denied for database \"chat\"", "ALTER DATABASE chat OWNER TO chat_owner"),
            ("something that nobody has seen yet", "see what it said"),
        ] {
            let problem = refusal(&postgres(), "172.30.0.0/24", &format!("{begin}{said}"));
            assert!(problem.fix.contains(fix), "{said}: {problem:?}");
        }
    }

    #[test]
    fn one_thing_that_is_missing_is_named() {
        let of = |version, recovering, may_create, plain| shortage(&postgres(), version, recovering, may_create, plain);
        assert_eq!(of("17", "f", "t", "0"), None);
        for (problem, fix) in [
            (of("13", "f", "t", "0"), "PostgreSQL 14"),
            (of("17", "t", "t", "0"), "primary"),
            (of("17", "f", "f", "0"), "in the database chat: ALTER SCHEMA public OWNER TO chat_owner"),
            (of("17", "f", "", "0"), "in the database chat: CREATE SCHEMA public AUTHORIZATION chat_owner"),
            (of("17", "f", "t", "2"), "hostssl"),
        ] {
            assert!(problem.as_ref().is_some_and(|problem| problem.fix.contains(fix)), "{problem:?}");
        }
    }
}
