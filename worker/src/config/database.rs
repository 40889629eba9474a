//! `DATABASE_URL`, or Python's `DB_*` put together.

use url::Url;

use super::{BadSetting, Environment};

/// The database that handlers use where a spec names none.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseSetting {
    /// `mysql://`, `postgres://` or `sqlite://`.
    pub url: String,
    /// Whether a variable says so; false means that only the defaults of `DB_*` made it.
    pub is_explicit: bool,
}

const SCHEMES: [&str; 6] = ["mysql", "mariadb", "postgres", "postgresql", "sqlite", "sqlite3"];
const PARTS: [&str; 5] = ["DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_PASS"];

impl DatabaseSetting {
    /// `None` where `ENABLE_MYSQL` is false and there is no `DATABASE_URL`.
    pub(super) fn read(environment: &Environment) -> Result<Option<Self>, BadSetting> {
        if let Some(url) = environment.get("DATABASE_URL") {
            return checked(url).map(|url| Some(Self { url, is_explicit: true }));
        }
        if !enabled(environment)? {
            return Ok(None);
        }
        let named = PARTS.iter().any(|name| environment.get(name).is_some());
        let explicit = named || environment.get("ENABLE_MYSQL").is_some();
        Ok(Some(Self { url: from_parts(environment)?, is_explicit: explicit }))
    }

    /// The URL without its password, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        match Url::parse(&self.url) {
            Ok(mut url) if url.password().is_some() => {
                let _ = url.set_password(Some("***"));
                url.into()
            }
            _ => self.url.clone(),
        }
    }
}

/// The URL is parsed by its driver later: here only what every driver needs.
fn checked(url: &str) -> Result<String, BadSetting> {
    let scheme = url.split(':').next().unwrap_or_default();
    if url.contains(':') && SCHEMES.contains(&scheme) {
        return Ok(url.to_owned());
    }
    // The value may hold a password: only the scheme is repeated.
    Err(BadSetting::new(
        "DATABASE_URL",
        format!("{scheme}…"),
        "write mysql://user:password@host:3306/name, postgres://user:password@host:5432/name or sqlite://path.db",
    ))
}

fn enabled(environment: &Environment) -> Result<bool, BadSetting> {
    let Some(value) = environment.get("ENABLE_MYSQL") else { return Ok(true) };
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(BadSetting::new("ENABLE_MYSQL", value, "write true or false")),
    }
}

fn from_parts(environment: &Environment) -> Result<String, BadSetting> {
    let or = |name, default| environment.get(name).unwrap_or(default);
    let bad_host = || {
        BadSetting::new("DB_HOST", or("DB_HOST", "localhost"), "write a host name or an IP address")
    };
    let mut url = Url::parse("mysql://localhost").map_err(|_| bad_host())?;
    url.set_host(Some(or("DB_HOST", "localhost"))).map_err(|_| bad_host())?;
    url.set_port(Some(super::settings::port(environment, "DB_PORT", 3306)?))
        .map_err(|()| bad_host())?;
    url.set_username(or("DB_USER", "root")).map_err(|()| bad_host())?;
    url.set_password(environment.get("DB_PASS")).map_err(|()| bad_host())?;
    url.path_segments_mut().map_err(|()| bad_host())?.push(or("DB_NAME", "mqtt_framework"));
    Ok(url.into())
}

/// Without the password.
impl std::fmt::Debug for DatabaseSetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DatabaseSetting").field(&self.shown()).finish()
    }
}
