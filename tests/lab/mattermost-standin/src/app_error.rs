//! The error that REST answers with and whose message mmctl prints.

use serde_json::{Value, json};

use crate::{ids, log, store};

#[derive(Debug)]
pub struct AppError {
    pub id: &'static str,
    pub message: String,
    pub status: u16,
}

impl AppError {
    pub fn new(id: &'static str, message: &str, status: u16) -> AppError {
        AppError { id, message: message.to_owned(), status }
    }

    pub fn json(&self) -> Value {
        json!({
            "id": self.id,
            "message": self.message,
            "detailed_error": "",
            "request_id": ids::new_id(),
            "status_code": self.status,
        })
    }
}

impl From<tokio_postgres::Error> for AppError {
    fn from(error: tokio_postgres::Error) -> AppError {
        let message = store::describe(&error);
        log::error("The database refused a statement").with("error", &message).write();
        AppError::new("standin.store.app_error", &message, 500)
    }
}
