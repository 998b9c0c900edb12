//! `mmctl team …`.

use tokio_postgres::error::SqlState;

use super::args::Args;
use super::reply::Reply;
use super::text;
use crate::Server;
use crate::app_error::AppError;
use crate::store::Page;

pub async fn create(server: &Server, args: &Args) -> Result<Reply, AppError> {
    let Some(name) = args.value("--name") else {
        return Ok(Reply::failed("name is required".to_owned()));
    };
    let Some(display_name) = args.value("--display-name") else {
        return Ok(Reply::failed("display Name is required".to_owned()));
    };
    let kind = if args.has("--private") { "I" } else { "O" };
    match server.store.create_team(name, display_name, kind, args.text("--email")).await {
        Ok(team) => Ok(Reply::single(team.unwrap_or_default())),
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
            Ok(Reply::failed("Team creation failed: A team with this URL already exists.".to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Archived ones are in the list as well.
pub async fn list(server: &Server) -> Result<Reply, AppError> {
    let teams = server.store.teams(Page::ALL).await?;
    let plain = teams.iter().map(|it| format!("{}\n", text(it, "name"))).collect();
    Ok(Reply::list(teams).with_plain(plain).counted("teams"))
}

/// Shows the teams as they were before.
pub async fn archive(server: &Server, args: &Args) -> Result<Reply, AppError> {
    let (mut teams, mut errors) = (Vec::new(), Vec::new());
    for name in &args.positional {
        match server.store.find_team(name).await? {
            Some(team) => {
                server.store.set_team_archived(text(&team, "id"), true).await?;
                teams.push(team);
            }
            None => errors.push(format!("Unable to find team '{name}'")),
        }
    }
    Ok(Reply::list(teams).complaining_twice(&errors))
}

/// Shows the teams as they are afterwards.
pub async fn restore(server: &Server, args: &Args) -> Result<Reply, AppError> {
    let (mut teams, mut errors) = (Vec::new(), Vec::new());
    for name in &args.positional {
        match server.store.find_team(name).await? {
            Some(team) => {
                server.store.set_team_archived(text(&team, "id"), false).await?;
                teams.extend(server.store.find_team(text(&team, "id")).await?);
            }
            None => errors.push(format!("Unable to find team '{name}'")),
        }
    }
    Ok(Reply::list(teams).complaining_twice(&errors))
}

pub async fn add_users(server: &Server, args: &Args) -> Result<Reply, AppError> {
    change_users(server, args, true).await
}

pub async fn remove_users(server: &Server, args: &Args) -> Result<Reply, AppError> {
    change_users(server, args, false).await
}

async fn change_users(server: &Server, args: &Args, add: bool) -> Result<Reply, AppError> {
    let [team, names @ ..] = args.positional.as_slice() else {
        return Ok(Reply::failed("requires at least 2 arg(s), only received 0".to_owned()));
    };
    let Some(team) = server.store.find_team(team).await? else {
        return Ok(Reply::list(Vec::new()).and_failed(&format!("unable to find team '{team}'")));
    };
    let mut errors = Vec::new();
    for name in names {
        match server.store.find_user(name).await? {
            Some(user) if add => server.store.add_team_member(text(&team, "id"), &user.id).await?,
            Some(user) => server.store.remove_team_member(text(&team, "id"), &user.id).await?,
            None => errors.push(format!("can't find user '{name}'")),
        }
    }
    Ok(Reply::list(Vec::new()).complaining_twice(&errors))
}
