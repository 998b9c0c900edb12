//! `mmctl bot …`.

use serde_json::Value;

use super::args::Args;
use super::reply::{Reply, multierror};
use super::user::hang_on_own_bot;
use crate::Server;
use crate::accounts::bot_json;
use crate::app_error::AppError;
use crate::store::User;

pub async fn list(server: &Server, args: &Args) -> Reply {
    let users = match server.store.users().await {
        Ok(it) => it,
        Err(error) => return AppError::from(error).into(),
    };
    let mut bots: Vec<(i64, Value)> = users
        .iter()
        .filter_map(|user| user.bot.as_ref().map(|bot| (user, bot)))
        .filter(|(_, bot)| args.has("--all") || bot.delete_at == 0)
        .filter(|(_, bot)| !args.has("--orphaned") || users.iter().any(|it| it.id == bot.owner_id && it.delete_at != 0))
        .map(|(user, bot)| (bot.create_at, bot_json(user, None)))
        .collect();
    bots.sort_by_key(|(create_at, _)| *create_at);
    Reply::list(bots.into_iter().map(|(_, it)| it).collect()).counted("bots")
}

pub async fn assign(server: &Server, args: &Args) -> Reply {
    let [bot, owner] = args.positional.as_slice() else {
        return Reply::failed(format!("accepts 2 arg(s), received {}", args.positional.len()));
    };
    let assigned = async {
        let Some(bot) = server.store.find_user(bot).await? else {
            return Ok(unable_to_find(bot));
        };
        let Some(owner) = server.store.find_user(owner).await? else {
            return Ok(unable_to_find(owner));
        };
        server.store.assign_bot(&bot.id, &owner.id).await?;
        shown(server, &bot).await
    };
    assigned.await.unwrap_or_else(|error: AppError| error.into())
}

pub async fn update(server: &Server, args: &Args) -> Reply {
    let [name] = args.positional.as_slice() else {
        return Reply::failed(format!("accepts 1 arg(s), received {}", args.positional.len()));
    };
    if args.has("--username") {
        return Reply::not_covered("bot update --username");
    }
    let updated = async {
        let Some(user) = server.store.find_user(name).await? else {
            return Ok(unable_to_find(name));
        };
        let Some(bot) = &user.bot else {
            return Ok(unable_to_find(name));
        };
        let display_name = args.value("--display-name").unwrap_or(&user.first_name);
        let description = args.value("--description").unwrap_or(&bot.description);
        server.store.describe_bot(&user.id, display_name, description).await?;
        shown(server, &user).await
    };
    updated.await.unwrap_or_else(|error: AppError| error.into())
}

pub async fn set_active(server: &Server, args: &Args, active: bool) -> Reply {
    let (mut bots, mut errors) = (Vec::new(), Vec::new());
    let mut complaints = String::new();
    for name in &args.positional {
        let changed = async {
            let Some(user) = server.store.find_user(name).await?.filter(|it| it.bot.is_some()) else {
                return Ok(None);
            };
            server.store.set_bot_active(&user.id, active).await?;
            if !active {
                hang_on_own_bot(&user).await;
            }
            server.store.find_user(&user.id).await
        };
        match changed.await {
            Ok(Some(user)) => bots.push(bot_json(&user, None)),
            Ok(None) => {
                complaints.push_str(&format!("can't find user '{name}'\n"));
                errors.push(format!("can't find user '{name}'"));
            }
            Err(error) => return AppError::from(error).into(),
        }
    }
    let reply = Reply::list(bots).complaining(&complaints);
    if errors.is_empty() { reply } else { reply.and_failed(&multierror(&errors)) }
}

async fn shown(server: &Server, user: &User) -> Result<Reply, AppError> {
    let user = server.store.find_user(&user.id).await?;
    Ok(Reply::list(user.iter().map(|it| bot_json(it, None)).collect()))
}

fn unable_to_find(name: &str) -> Reply {
    Reply::list(Vec::new()).and_failed(&format!("unable to find user '{name}'"))
}
