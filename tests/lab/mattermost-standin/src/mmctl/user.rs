//! `mmctl user …` and `mmctl roles …`.

use serde_json::{Value, json};

use super::args::Args;
use super::reply::{Reply, multierror};
use super::text;
use crate::accounts::{self, Asker, NewAccount, View, bot_json, user_json};
use crate::app_error::AppError;
use crate::store::{Page, User};
use crate::{Server, log};

/// The last five are Mattermost's and refused here.
pub const CREATE_FLAGS: &[&str] = &[
    "--email=",
    "--username=",
    "--password=",
    "--system-admin",
    "--email-verified",
    "--disable-welcome-email",
    "--guest",
    "--nickname=",
    "--firstname=",
    "--lastname=",
    "--locale=",
];

pub async fn create(server: &Server, args: &Args) -> Reply {
    let refused = CREATE_FLAGS[6..].iter().map(|it| it.trim_end_matches('='));
    if let Some(flag) = refused.into_iter().find(|it| args.has(it)) {
        return Reply::not_covered(&format!("user create {flag}"));
    }
    let account = match new_account(args) {
        Ok(it) => it,
        Err(message) => return Reply::failed(message),
    };
    let user = match accounts::create(server, Asker::Local, account).await {
        Ok(it) => it,
        Err(error) => {
            return Reply::failed(format!("Unable to create user. Error: {}", error.message));
        }
    };
    if args.has("--system-admin")
        && let Err(error) = server.store.set_roles(&user.id, "system_user system_admin").await
    {
        return Reply::failed(format!("Unable to update user roles. Error: {}", AppError::from(error).message));
    }
    // mmctl shows the account as it was made, before it changes the roles.
    Reply::single(user_json(&user, View::Own).into())
}

fn new_account(args: &Args) -> Result<NewAccount, String> {
    let required =
        |flag: &str, name: &str| args.value(flag).map(str::to_owned).ok_or_else(|| format!("{name} is required"));
    Ok(NewAccount {
        username: required("--username", "Username")?,
        email: required("--email", "Email")?,
        password: required("--password", "Password")?,
        email_verified: args.has("--email-verified"),
        disable_welcome_email: args.has("--disable-welcome-email"),
    })
}

/// Without --all, one page. A team's list has everybody who ever joined and did not leave, deactivated or not.
pub async fn list(server: &Server, args: &Args) -> Result<Reply, AppError> {
    let mut users = server.store.users().await?;
    if let Some(name) = args.value("--team") {
        let Some(team) = server.store.find_team(name).await? else {
            return Ok(Reply::list(Vec::new()).counted("users").and_failed(&format!("unable to find team {name:?}")));
        };
        let members = server.store.team_members(text(&team, "id"), Page::ALL).await?;
        users.retain(|user| members.iter().any(|it| it["user_id"] == user.id.as_str()));
    }
    users.retain(|it| !args.has("--inactive") || it.delete_at != 0);
    if !args.has("--all") {
        let number = |flag: &str, default: usize| args.value(flag).and_then(|it| it.parse().ok()).unwrap_or(default);
        let size = number("--per-page", 200).min(200);
        users = users.into_iter().skip(number("--page", 0) * size).take(size).collect();
    }
    Ok(Reply::list(users.iter().map(|it| user_json(it, View::Listed).into()).collect()).counted("users"))
}

/// One account is an object, several are an array.
pub async fn search(server: &Server, args: &Args) -> Reply {
    let (users, errors) = match find(server, &args.positional).await {
        Ok(it) => it,
        Err(error) => return error.into(),
    };
    let found = |user: &User| {
        let mut it = user_json(user, View::Listed);
        it.insert("Deactivated".to_owned(), json!(user.delete_at != 0));
        it.insert("AuthData".to_owned(), json!(""));
        Value::Object(it)
    };
    let reply = match users.as_slice() {
        [] => Reply::default(),
        [user] => Reply::single(found(user)),
        users => Reply::list(users.iter().map(found).collect()),
    };
    complain(reply, &errors)
}

pub async fn verify(server: &Server, args: &Args) -> Reply {
    let (users, errors) = match find(server, &args.positional).await {
        Ok(it) => it,
        Err(error) => return error.into(),
    };
    for user in &users {
        if let Err(error) = server.store.set_verified(&user.id).await {
            return AppError::from(error).into();
        }
    }
    complain(Reply::list(users.iter().map(|it| user_json(it, View::Listed).into()).collect()), &errors)
}

pub async fn convert(server: &Server, args: &Args) -> Reply {
    let (users, mut errors) = match find(server, &args.positional).await {
        Ok(it) => it,
        Err(error) => return error.into(),
    };
    let complaints = errors.len();
    let mut bots = Vec::new();
    for user in users {
        match server.store.convert_to_bot(&user.id).await {
            // Only this answer shows the user's name as the bot's; the list shows none.
            Ok(Some(user)) => bots.push(bot_json(&user, Some(&user.username))),
            Ok(None) => errors.push("Unable to save the bot.".to_owned()),
            Err(error) => return AppError::from(error).into(),
        }
    }
    let mut reply = Reply::list(bots);
    if complaints > 0 {
        reply = reply.complaining(&format!("{}\n", multierror(&errors[..complaints])));
    }
    if errors.is_empty() { reply } else { reply.and_failed(&multierror(&errors)) }
}

pub async fn set_active(server: &Server, args: &Args, active: bool) -> Reply {
    let mut errors = Vec::new();
    let mut reply = Reply::list(Vec::new());
    for name in &args.positional {
        match server.store.find_user(name).await {
            Ok(Some(user)) => {
                if let Err(error) = server.store.set_active(&user.id, active).await {
                    return AppError::from(error).into();
                }
                if !active {
                    hang_on_own_bot(&user).await;
                }
            }
            Ok(None) => {
                reply = reply.complaining(&format!("can't find user '{name}'\n"));
                errors.push(format!("can't find user '{name}'"));
            }
            Err(error) => return AppError::from(error).into(),
        }
    }
    if errors.is_empty() { reply } else { reply.and_failed(&multierror(&errors)) }
}

/// Mattermost disables the bots of an account that it deactivates. A bot that owns itself starts that again without
/// end; the call never returned, and here it does not either. Everything else goes on working.
pub async fn hang_on_own_bot(user: &User) {
    if user.bot.as_ref().is_some_and(|it| it.owner_id == user.id) {
        log::error("A bot that owns itself was deactivated: Mattermost hangs here, so this call never answers")
            .with("username", &user.username)
            .write();
        std::future::pending::<()>().await;
    }
}

pub async fn change_password(server: &Server, args: &Args) -> Reply {
    let Some(name) = args.positional.first() else {
        return Reply::failed("accepts 1 arg(s), received 0".to_owned());
    };
    let Some(password) = args.value("--password") else {
        return Reply::not_covered("user change-password without --password");
    };
    let changed = async {
        let Some(user) = server.store.find_user(name).await? else {
            return Ok(Reply::failed(format!("couldn't find user '{name}'")));
        };
        let hash = if args.has("--hashed") {
            password.to_owned()
        } else {
            accounts::check_password(server, password).await?;
            accounts::hash(password.to_owned()).await?
        };
        server.store.set_password(&user.id, &hash).await?;
        let user = server.store.find_user(&user.id).await?.unwrap_or(user);
        Ok(Reply::list(vec![user_json(&user, View::Listed).into()]))
    };
    changed
        .await
        .unwrap_or_else(|error: AppError| Reply::failed(format!("changing user password failed: {}", error.message)))
}

pub async fn roles(server: &Server, args: &Args, administrator: bool) -> Reply {
    let (users, errors) = match find(server, &args.positional).await {
        Ok(it) => it,
        Err(error) => return error.into(),
    };
    let mut said = Vec::new();
    for user in users {
        let is_administrator = user.roles.split(' ').any(|it| it == "system_admin");
        if is_administrator == administrator {
            continue;
        }
        let mut roles: Vec<&str> = user.roles.split(' ').filter(|it| *it != "system_admin").collect();
        if administrator {
            roles.push("system_admin");
        }
        if let Err(error) = server.store.set_roles(&user.id, &roles.join(" ")).await {
            return AppError::from(error).into();
        }
        let change = if administrator { "assigned to" } else { "revoked for" };
        let name = &user.username;
        said.push(json!(format!("System admin role {change} user {name:?}. Current roles are: {}", roles.join(", "))));
    }
    complain(Reply::list(said), &errors)
}

/// The accounts that the words name, and an error for each that names none.
async fn find(server: &Server, names: &[String]) -> Result<(Vec<User>, Vec<String>), AppError> {
    let (mut users, mut errors) = (Vec::new(), Vec::new());
    for name in names {
        match server.store.find_user(name).await? {
            Some(user) => users.push(user),
            None => errors.push(format!("user {name} not found")),
        }
    }
    Ok((users, errors))
}

/// mmctl prints such errors twice: as they are found, and again at the end.
fn complain(reply: Reply, errors: &[String]) -> Reply {
    if errors.is_empty() {
        return reply;
    }
    let text = multierror(errors);
    reply.complaining(&format!("{text}\n")).and_failed(&text)
}
