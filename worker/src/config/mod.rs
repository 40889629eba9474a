//! What the environment says, from the words that were written to values that are ready to use.
//!
//! [`Environment`] is what the user wrote (`.env` below the real environment); [`Settings`] is what
//! the program uses. The process environment is read once and never changed.

mod database;
mod environment;
mod log;
mod settings;

pub use database::DatabaseSetting;
pub use environment::{Environment, EnvironmentError};
pub use log::{LogFormat, LogSettings};
pub use settings::{BadSetting, Settings, broker_url, take_login};
