//! `mmctl token …`.

use serde_json::{Value, json};

use super::args::Args;
use super::reply::Reply;
use crate::Server;
use crate::app_error::AppError;
use crate::store::AccessToken;

pub async fn generate(server: &Server, args: &Args) -> Reply {
    let [name, description] = args.positional.as_slice() else {
        return Reply::failed(format!("accepts 2 arg(s), received {}", args.positional.len()));
    };
    let generated = async {
        let Some(user) = server.store.find_user(name).await? else {
            return Ok(Reply::list(Vec::new()).and_failed(&format!("could not retrieve user information of {name:?}")));
        };
        if user.bot.is_none() && !server.flag("ServiceSettings.EnableUserAccessTokens").await {
            let message = "Personal access tokens are disabled on this server. Please contact your system administrator \
                 for details.";
            let message = format!("could not create token for {name:?}: {message}");
            return Ok(Reply::list(Vec::new()).and_failed(&message));
        }
        let token = server.store.create_access_token(&user.id, description).await?;
        Ok(Reply::list(vec![token_json(&token, true)]))
    };
    generated.await.unwrap_or_else(|error: AppError| error.into())
}

/// The list never shows a token itself.
pub async fn list(server: &Server, args: &Args) -> Reply {
    let [name] = args.positional.as_slice() else {
        return Reply::failed(format!("accepts 1 arg(s), received {}", args.positional.len()));
    };
    let listed = async {
        let Some(user) = server.store.find_user(name).await? else {
            return Ok(Reply::list(Vec::new()).and_failed(&format!("could not retrieve user information of {name:?}")));
        };
        let tokens = server.store.access_tokens(&user.id).await?;
        let reply = Reply::list(tokens.iter().map(|it| token_json(it, false)).collect()).counted("tokens");
        if !tokens.is_empty() {
            return Ok(reply);
        }
        Ok(reply.and_failed(&format!("there are no tokens for the {name:?}")))
    };
    listed.await.unwrap_or_else(|error: AppError| error.into())
}

pub async fn revoke(server: &Server, args: &Args) -> Result<Reply, AppError> {
    let mut errors = Vec::new();
    for id in &args.positional {
        if !server.store.revoke_access_token(id).await? {
            errors.push(format!("could not revoke token {id:?}"));
        }
    }
    Ok(Reply::list(Vec::new()).complaining_twice(&errors))
}

fn token_json(token: &AccessToken, with_secret: bool) -> Value {
    let mut it = serde_json::Map::new();
    it.insert("id".to_owned(), json!(token.id));
    if with_secret {
        it.insert("token".to_owned(), json!(token.token));
    }
    it.insert("user_id".to_owned(), json!(token.user_id));
    it.insert("description".to_owned(), json!(token.description));
    it.insert("is_active".to_owned(), json!(token.is_active));
    Value::Object(it)
}
