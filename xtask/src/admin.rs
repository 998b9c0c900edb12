//! The administrator: on a fresh database the first account must be ours.
//!
//! Until a first account exists, whoever reaches the port can register and becomes system administrator. So ours is made
//! at once, and then the list of users is compared with what was made.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::json;

use crate::certs;
use crate::drivers::https;
use crate::drivers::mmctl::mmctl;
use crate::secrets::{self, ADMIN_FIRST_PASSWORD, ADMIN_ID, ADMIN_PASSWORD, Secrets};
use crate::stack::Stack;

/// A user as mmctl lists one. Bots are users too.
#[derive(Debug, Clone, Deserialize)]
pub struct User {
    pub id: String,
    pub username: String,
    #[serde(default)]
    pub is_bot: bool,
}

/// What had to be done for the administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The account was made in this run.
    Made,
    /// It is the one that an earlier run made.
    Known,
}

/// Somebody else's account is on a database that this run, or an interrupted one, set up.
#[derive(Debug)]
pub struct Stranger {
    pub username: String,
}

impl std::fmt::Display for Stranger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the account {:?} was there before the administrator's: somebody was faster, and may be system administrator",
            self.username
        )
    }
}

impl std::error::Error for Stranger {}

/// The database is another one than that for which the administrator was made.
#[derive(Debug)]
pub struct Replaced {
    id: String,
}

impl std::fmt::Display for Replaced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "secrets.env knows the administrator ({ADMIN_ID}={}), and this database does not", self.id)
    }
}

impl std::error::Error for Replaced {}

/// Makes the administrator on a fresh database, finishes an interrupted run, or recognises the account by its id, whatever
/// its name and password are by now.
///
/// The account gets a throw-away password first and the real one as a bcrypt hash, because mmctl takes passwords in argv
/// only. The throw-away one is noted in secrets.env before, so that an interrupted run can prove whose account it is.
///
/// # Errors
/// [`Stranger`] when an account is there that was not made here, [`Replaced`] when the one that was made here is not.
pub fn ensure(stack: &Stack, secrets: &mut Secrets, today: &str) -> anyhow::Result<Outcome> {
    let container = stack.container("mattermost");
    let people = people(stack)?;
    if let Some(id) = secrets.get(ADMIN_ID) {
        if people.iter().any(|user| user.id == id) {
            return Ok(Outcome::Known);
        }
        bail!(Replaced { id: id.to_owned() });
    }
    let path = secrets::path(&stack.root);
    let name = stack.settings.administrator.name.as_str();
    if people.is_empty() {
        let first = secrets::generate(24);
        secrets.set(ADMIN_FIRST_PASSWORD, &first, today);
        secrets.save(&path)?;
        let email = stack.settings.administrator.email.as_str();
        let arguments = [
            "user",
            "create",
            "--username",
            name,
            "--email",
            email,
            "--password",
            &first,
            "--system-admin",
            "--email-verified",
        ];
        mmctl::<User>(&container, &arguments)?;
    } else if let Some(stranger) = people.iter().find(|user| user.username != name) {
        bail!(Stranger { username: stranger.username.clone() });
    } else if !is_ours(stack, secrets)? {
        bail!(Stranger { username: name.to_owned() });
    }
    let hash =
        bcrypt::hash_with_result(secrets.require(ADMIN_PASSWORD)?, 10)?.format_for_version(bcrypt::Version::TwoA);
    mmctl::<User>(&container, &["user", "change-password", name, "--password", &hash, "--hashed"])?;
    // Also an account that a create was cut off in the middle of becomes what it should be.
    mmctl::<serde_json::Value>(&container, &["roles", "system-admin", name])?;
    let people = self::people(stack)?;
    if let Some(stranger) = people.iter().find(|user| user.username != name) {
        bail!(Stranger { username: stranger.username.clone() });
    }
    let ours = people.first().context("the administrator was made and is not there")?;
    secrets.set(ADMIN_ID, &ours.id, today);
    secrets.remove(ADMIN_FIRST_PASSWORD);
    secrets.save(&path)?;
    Ok(Outcome::Made)
}

fn people(stack: &Stack) -> anyhow::Result<Vec<User>> {
    let users = mmctl::<User>(&stack.container("mattermost"), &["user", "list", "--all"])?;
    Ok(users.into_iter().filter(|user| !user.is_bot).collect())
}

/// Whether the account of our name takes a password that only we know: a stranger's does not.
fn is_ours(stack: &Stack, secrets: &Secrets) -> anyhow::Result<bool> {
    let ca = std::fs::read_to_string(certs::ca_path(&stack.root))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, stack.settings.ports.mattermost));
    let site = https::site(&ca, &stack.settings.mattermost_host(), address)?;
    for name in [ADMIN_FIRST_PASSWORD, ADMIN_PASSWORD] {
        let Some(password) = secrets.get(name) else { continue };
        let body = json!({ "login_id": stack.settings.administrator.name, "password": password });
        if https::post(&site, "/api/v4/users/login", &body)?.status() == 200 {
            return Ok(true);
        }
    }
    Ok(false)
}
