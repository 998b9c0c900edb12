//! What REST and mmctl have in common about accounts: the rules of making one and of logging in, and their JSON.

use serde_json::{Map, Value, json};
use tokio_postgres::error::SqlState;

use crate::Server;
use crate::app_error::AppError;
use crate::store::{NewUser, User};

/// Who asks for a new account.
#[derive(Clone, Copy, PartialEq)]
pub enum Asker {
    /// Anyone who reaches the port. Only a server without any account lets strangers register.
    Stranger,
    /// Whoever may use the local socket.
    Local,
}

pub struct NewAccount {
    pub username: String,
    pub email: String,
    pub password: String,
    pub email_verified: bool,
    pub disable_welcome_email: bool,
}

pub async fn create(server: &Server, asker: Asker, account: NewAccount) -> Result<User, AppError> {
    let only_first = asker == Asker::Stranger && !server.flag("TeamSettings.EnableOpenServer").await;
    let no_open_server = || {
        let message =
            "This server does not allow open signups.  Please speak with your Administrator to receive an invitation.";
        AppError::new("api.user.create_user.no_open_server", message, 403)
    };
    // Hashing takes a while; a stranger who will be refused must not be able to ask for it.
    if only_first && server.store.has_people().await? {
        return Err(no_open_server());
    }
    check_username(&account.username)?;
    check_password(server, &account.password).await?;
    let new = NewUser {
        username: account.username.to_lowercase(),
        email: account.email.to_lowercase(),
        password_hash: hash(account.password).await?,
        email_verified: account.email_verified && asker == Asker::Local,
        disable_welcome_email: account.disable_welcome_email,
    };
    match server.store.create_user(&new, only_first).await {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(no_open_server()),
        Err(error) => Err(taken(&error).unwrap_or_else(|| error.into())),
    }
}

pub fn taken(error: &tokio_postgres::Error) -> Option<AppError> {
    let error = error.as_db_error().filter(|it| *it.code() == SqlState::UNIQUE_VIOLATION)?;
    Some(match error.constraint() {
        Some("users_email_key") => {
            AppError::new("app.user.save.email_exists.app_error", "An account with that email already exists.", 400)
        }
        _ => AppError::new(
            "app.user.save.username_exists.app_error",
            "An account with that username already exists.",
            400,
        ),
    })
}

pub fn check_username(name: &str) -> Result<(), AppError> {
    let allowed = |it: char| it.is_ascii_alphanumeric() || ".-_".contains(it);
    if !name.is_empty() && name.len() <= 64 && name.chars().all(allowed) {
        return Ok(());
    }
    let message = "Username must begin with a letter, and contain between 3 to 22 lowercase letters made up of numbers, \
         letters, and the symbols \".\", \"-\", and \"_\".";
    Err(AppError::new("model.user.is_valid.username.app_error", message, 400))
}

pub async fn check_password(server: &Server, password: &str) -> Result<(), AppError> {
    let minimum = server.setting("PasswordSettings.MinimumLength").await.as_u64().unwrap_or_default();
    if password.chars().count() as u64 >= minimum {
        return Ok(());
    }
    let message = format!("Your password must contain at least {minimum} characters.");
    Err(AppError::new("model.user.is_valid.pwd_min_length.app_error", &message, 400))
}

/// Hashes off the event loop: bcrypt is slow on purpose.
pub async fn hash(password: String) -> Result<String, AppError> {
    let hashed = tokio::task::spawn_blocking(move || bcrypt::hash(password, 10)).await;
    match hashed {
        Ok(Ok(it)) => Ok(it),
        Ok(Err(error)) => Err(AppError::new("standin.hash.app_error", &error.to_string(), 500)),
        Err(error) => Err(AppError::new("standin.hash.app_error", &error.to_string(), 500)),
    }
}

async fn verify(password: String, hash: String) -> bool {
    tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash).unwrap_or(false)).await.unwrap_or(false)
}

/// The account and a new session's token.
pub async fn log_in(server: &Server, login_id: &str, password: String) -> Result<(User, String), AppError> {
    let invalid = || {
        let message = "Enter a valid email or username and/or password.";
        AppError::new("api.user.login.invalid_credentials_email_username", message, 401)
    };
    let user = server.store.find_user(login_id).await?.ok_or_else(invalid)?;
    if user.bot.is_some() {
        return Err(AppError::new("api.user.login.bot_login_forbidden.app_error", "Bot login is forbidden.", 401));
    }
    if !verify(password, user.password.clone()).await {
        server.store.count_failed_login(&user.id).await?;
        return Err(invalid());
    }
    if user.delete_at != 0 {
        let message = "Login failed because your account has been deactivated.  Please contact an administrator.";
        return Err(AppError::new("api.user.login.inactive.app_error", message, 401));
    }
    server.store.forget_failed_logins(&user.id).await?;
    let token = server.store.create_session(&user.id).await?;
    Ok((user, token))
}

/// Whose token a request showed. An access token counts for people only while the setting is on, for bots always.
pub async fn of_token(server: &Server, token: &str) -> Result<User, AppError> {
    let tokens_for_people = server.flag("ServiceSettings.EnableUserAccessTokens").await;
    let found = server.store.user_of_token(token).await?;
    let user = found
        .filter(|(user, _)| user.delete_at == 0)
        .filter(|(user, access)| !access || user.bot.is_some() || tokens_for_people);
    user.map(|(user, _)| user).ok_or_else(|| {
        let message = "Invalid or expired session, please login again.";
        AppError::new("api.context.session_expired.app_error", message, 401)
    })
}

/// How much of an account is shown.
#[derive(Clone, Copy, PartialEq)]
pub enum View {
    /// To itself, or to whoever just made it.
    Own,
    /// In a list.
    Listed,
}

/// An account with the keys that Mattermost leaves out when they are empty left out.
pub fn user_json(user: &User, view: View) -> Map<String, Value> {
    let mut it = Map::new();
    let mut put = |key: &str, value: Value| {
        it.insert(key.to_owned(), value);
    };
    put("id", json!(user.id));
    put("create_at", json!(user.create_at));
    put("update_at", json!(user.update_at));
    put("delete_at", json!(user.delete_at));
    put("username", json!(user.username));
    put("auth_service", json!(""));
    put("email", json!(user.email));
    if view == View::Own && user.email_verified {
        put("email_verified", json!(true));
    }
    put("nickname", json!(""));
    put("first_name", json!(user.first_name));
    put("last_name", json!(""));
    put("position", json!(""));
    put("roles", json!(user.roles));
    put("notify_props", notify_props());
    if view == View::Own {
        put("last_password_update", json!(user.last_password_update));
    }
    if user.last_picture_update != 0 {
        put("last_picture_update", json!(user.last_picture_update));
    }
    if view == View::Listed && user.failed_attempts != 0 {
        put("failed_attempts", json!(user.failed_attempts));
    }
    put("locale", json!("en"));
    put("timezone", json!({"automaticTimezone": "", "manualTimezone": "", "useAutomaticTimezone": "true"}));
    if let Some(remote_id) = &user.remote_id {
        put("remote_id", json!(remote_id));
    }
    if let Some(bot) = &user.bot {
        put("is_bot", json!(true));
        if !bot.description.is_empty() {
            put("bot_description", json!(bot.description));
        }
    }
    put("disable_welcome_email", json!(user.disable_welcome_email));
    it
}

/// A bot; its names are left out when they are empty. The display name is the account's first name.
pub fn bot_json(user: &User, display_name: Option<&str>) -> Value {
    let Some(bot) = &user.bot else {
        return Value::Null;
    };
    let mut it = Map::new();
    it.insert("user_id".to_owned(), json!(user.id));
    it.insert("username".to_owned(), json!(user.username));
    let display_name = display_name.unwrap_or(&user.first_name);
    if !display_name.is_empty() {
        it.insert("display_name".to_owned(), json!(display_name));
    }
    if !bot.description.is_empty() {
        it.insert("description".to_owned(), json!(bot.description));
    }
    it.insert("owner_id".to_owned(), json!(bot.owner_id));
    it.insert("create_at".to_owned(), json!(bot.create_at));
    it.insert("update_at".to_owned(), json!(bot.update_at));
    it.insert("delete_at".to_owned(), json!(bot.delete_at));
    Value::Object(it)
}

pub fn is_administrator(user: &User) -> bool {
    user.roles.split(' ').any(|it| it == "system_admin")
}

fn notify_props() -> Value {
    json!({
        "channel": "true",
        "comments": "never",
        "desktop": "mention",
        "desktop_sound": "true",
        "desktop_threads": "all",
        "email": "true",
        "email_threads": "all",
        "first_name": "false",
        "mention_keys": "",
        "push": "mention",
        "push_status": "online",
        "push_threads": "all",
    })
}
