//! What handlers read from a request, and the refusals that they share.

use std::collections::HashMap;

use axum::http::HeaderMap;
use serde_json::Value;

use super::authenticate;
use crate::Server;
use crate::accounts::is_administrator;
use crate::app_error::AppError;
use crate::store::{Page, User};

/// Mattermost gives no more than this at once, whatever is asked for.
const PER_PAGE_MAXIMUM: i64 = 200;

/// The parameters in a path's query.
pub struct Query(HashMap<String, String>);

impl Query {
    pub fn read(query: Option<String>) -> Query {
        Query(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|it| !it.is_empty())
    }

    pub fn is_true(&self, name: &str) -> bool {
        self.value(name) == Some("true")
    }

    pub fn page(&self) -> Page {
        let number = |name: &str| self.value(name).and_then(|it| it.parse::<i64>().ok()).filter(|it| *it >= 0);
        let limit = number("per_page").unwrap_or(60).min(PER_PAGE_MAXIMUM);
        Page { offset: number("page").unwrap_or(0).saturating_mul(limit), limit }
    }

    /// Refuses a filter that would otherwise be left out of account.
    pub fn knows(&self, names: &[&str]) -> Result<(), AppError> {
        match self.0.keys().find(|it| !names.contains(&it.as_str())) {
            Some(name) => Err(not_covered(&format!("the parameter {name}"))),
            None => Ok(()),
        }
    }
}

pub async fn administrator(server: &Server, headers: &HeaderMap) -> Result<User, AppError> {
    let user = authenticate(server, headers).await?;
    if is_administrator(&user) { Ok(user) } else { Err(forbidden()) }
}

pub fn document(body: &[u8], name: &str) -> Result<Value, AppError> {
    serde_json::from_slice::<Value>(body).ok().filter(Value::is_object).ok_or_else(|| invalid_body(name))
}

pub fn text(body: &Value, key: &str) -> String {
    body[key].as_str().unwrap_or_default().to_owned()
}

pub fn invalid_body(name: &str) -> AppError {
    let message = format!("Invalid or missing {name} in request body.");
    AppError::new("api.context.invalid_body_param.app_error", &message, 400)
}

pub fn forbidden() -> AppError {
    AppError::new("api.context.permissions.app_error", "You do not have the appropriate permissions.", 403)
}

pub fn not_covered(what: &str) -> AppError {
    AppError::new("standin.not_covered", &format!("The lab's stand-in for Mattermost does not know {what}."), 501)
}

pub fn missing_channel() -> AppError {
    AppError::new("app.channel.get.existing.app_error", "Unable to find the existing channel.", 404)
}

pub fn missing_team() -> AppError {
    AppError::new("app.team.get.find.app_error", "Unable to find the existing team.", 404)
}

pub fn missing_user() -> AppError {
    AppError::new("app.user.missing_account.const", "Unable to find the user.", 404)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str) -> (i64, i64) {
        let page = Query::read(Some(query.to_owned())).page();
        (page.offset, page.limit)
    }

    #[test]
    fn a_page_has_two_hundred_entries_at_most() {
        assert_eq!(page(""), (0, 60));
        assert_eq!(page("per_page=10&page=3"), (30, 10));
        assert_eq!(page("per_page=1000&page=1"), (200, 200));
        assert_eq!(page("per_page=-1"), (0, 60));
    }
}
