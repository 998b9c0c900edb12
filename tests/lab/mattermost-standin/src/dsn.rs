//! MM_SQLSETTINGS_DATASOURCE: a postgres:// URL, with lib/pq's way of naming TLS.

#[derive(Debug, PartialEq)]
pub struct DataSource {
    /// The URL without the parameters that are ours to read.
    pub url: String,
    pub tls: Verification,
}

#[derive(Debug, PartialEq)]
pub enum Verification {
    /// No TLS at all.
    Disabled,
    /// The chain up to this CA file, and the host's name.
    Full { root: String },
}

/// Keeps to the two ends of sslmode. What lies between verifies less than it seems to, so the lab does not have it.
pub fn parse(text: &str) -> Result<DataSource, String> {
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
        return Err("the data source is no postgres:// URL".to_owned());
    }
    let (base, query) = text.split_once('?').unwrap_or((text, ""));
    let (mut mode, mut root, mut kept) = (None, None, Vec::new());
    for pair in query.split('&').filter(|it| !it.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "sslmode" => mode = Some(value),
            "sslrootcert" => root = Some(value.replace("%2F", "/")),
            "connect_timeout" => kept.push(pair),
            "binary_parameters" => {}
            _ => {
                return Err(format!("the stand-in does not know the data source's parameter {name:?}"));
            }
        }
    }
    let tls = match (mode, root) {
        (Some("verify-full"), Some(root)) => Verification::Full { root },
        (Some("verify-full"), None) => {
            return Err("sslmode=verify-full needs sslrootcert in the lab".to_owned());
        }
        (Some("disable"), _) => Verification::Disabled,
        (mode, _) => {
            let mode = mode.unwrap_or("require, which is the default");
            return Err(format!("the stand-in knows sslmode=verify-full and disable, not {mode}"));
        }
    };
    let url = if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) };
    Ok(DataSource { url, tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verify_full_keeps_the_rest_of_the_url() {
        let it = parse("postgres://mm:p%40w@db:5432/mm?sslmode=verify-full&sslrootcert=/ca.pem&connect_timeout=10");
        let it = it.expect("valid");
        assert_eq!(it.url, "postgres://mm:p%40w@db:5432/mm?connect_timeout=10");
        assert_eq!(it.tls, Verification::Full { root: "/ca.pem".to_owned() });
    }

    #[test]
    fn what_verifies_less_is_refused() {
        for query in ["", "?sslmode=require", "?sslmode=verify-ca&sslrootcert=/ca.pem", "?sslmode=verify-full"] {
            assert!(parse(&format!("postgres://mm@db/mm{query}")).is_err(), "{query}");
        }
    }
}
