//! Known causes of a service that does not start, by what it says.

/// A cause that is known, and the way out.
#[derive(Debug, PartialEq, Eq)]
pub struct Cause {
    pub what: &'static str,
    pub fix: &'static str,
}

pub const SCHEMA_FIX: &str = "in the stack's compose folder: docker compose exec postgres psql -U postgres -d mattermost -c 'ALTER SCHEMA public OWNER TO mattermost'; then `cargo xtask up`";

const REPAIR_FIX: &str = "in the stack's compose folder: docker compose exec postgres psql -U postgres -f /docker-entrypoint-initdb.d/10-mattermost.sql; then `cargo xtask up`";

/// The likely cause of a failure, from a service's log and Compose's own words. What is in the way of a PostgreSQL of somebody
/// else is mended there.
pub fn of(text: &str, is_external: bool) -> Option<Cause> {
    type Known = &'static [(&'static str, &'static str, &'static str)];
    const EXTERNAL: Known = &[
        (
            "permission denied for schema public",
            "the role does not own the schema public of its database",
            "on the server of postgres.external, in its database: ALTER SCHEMA public OWNER TO the role; then `cargo xtask up`",
        ),
        (
            "must be owner of",
            "tables of the database belong to another role",
            "on the server of postgres.external, in its database: REASSIGN OWNED BY that role TO the one of postgres.role; then `cargo xtask up`",
        ),
        (
            "password authentication failed",
            "the role has another password than env/secrets.env",
            "mend EXTERNAL_POSTGRES_PASSWORD in env/secrets.env; then `cargo xtask up`",
        ),
        (
            "x509: certificate",
            "the certificate of the server at postgres.external is not one that Mattermost accepts",
            "mend postgres.ca or the host in postgres.external, in stack.toml; then `cargo xtask up`",
        ),
    ];
    const KNOWN: Known = &[
        (
            "permission denied for schema public",
            "the role mattermost does not own the schema public of its database; since PostgreSQL 15 it cannot create tables then",
            SCHEMA_FIX,
        ),
        (
            "password authentication failed",
            "the database has another password than env/secrets.env",
            "bring back the secrets.env that the volume was made with; or, to give the role the present password, run this: docker compose exec postgres psql -U postgres -f /docker-entrypoint-initdb.d/10-mattermost.sql",
        ),
        ("role \"mattermost\" does not exist", "somebody removed the database's role", REPAIR_FIX),
        ("database \"mattermost\" does not exist", "somebody removed the database", REPAIR_FIX),
        (
            "database files are incompatible with server",
            "the data volume was made by another major version of PostgreSQL",
            "put the version back in compose/images.Dockerfile, and move the data with pg_dump and pg_restore",
        ),
        ("port is already allocated", "another container holds the port", "`cargo xtask doctor` says which"),
        ("address already in use", "another process holds the port", "`cargo xtask doctor` says which"),
        (
            "x509: certificate",
            "the certificate that PostgreSQL presents is not one that Mattermost accepts",
            "`cargo xtask certs --renew`",
        ),
        (
            "Cannot assign requested address",
            "this host does not have the LAN address any more",
            "`cargo xtask up` renders the present one",
        ),
        (
            "Cannot find config file",
            "coturn cannot read its configuration",
            "`cargo xtask render`, then `cargo xtask up`",
        ),
        (
            "no space left on device",
            "the disk is full",
            "free some space; `cargo xtask doctor` shows how much there is",
        ),
    ];
    let text = text.to_lowercase();
    let external = if is_external { EXTERNAL } else { &[] };
    let known = external.iter().chain(KNOWN).find(|(pattern, _, _)| text.contains(&pattern.to_lowercase()));
    known.map(|(_, what, fix)| Cause { what, fix })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from Mattermost 11.6 on PostgreSQL 17.
    #[test]
    fn a_schema_that_the_role_does_not_own_is_named() {
        let log = "failed to initialize platform: cannot create store: failed to apply database migrations: pq: permission denied for schema public";
        assert!(of(log, false).is_some_and(|cause| cause.fix == SCHEMA_FIX));
        assert!(of(log, true).is_some_and(|cause| cause.fix.contains("postgres.external")));
        assert_eq!(of("all is well", false), None);
    }
}
