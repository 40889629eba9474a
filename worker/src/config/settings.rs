//! The variables, read and checked: every bad value is told, not only the first.

use routemq_mqtt::{Credentials, Login};
use url::Url;

use super::{DatabaseSetting, Environment, LogSettings};

/// What the environment gives where a spec leaves something out.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `MQTT_BROKER` and `MQTT_PORT`, without a login. Default `mqtt://localhost:1883`.
    pub broker: Url,
    /// The login in `MQTT_BROKER`, else `MQTT_USERNAME` and `MQTT_PASSWORD`; of each either may be missing.
    pub credentials: Credentials,
    /// `MQTT_CLIENT_ID`: what every client identifier begins with. Default `mqtt-framework-main`.
    pub client_id: String,
    /// `MQTT_GROUP_NAME`: the share name of every spec that names none. `None`: not set.
    pub share: Option<String>,
    /// `DATABASE_URL`, else `DB_*`; `None` where `ENABLE_MYSQL` is false.
    pub database: Option<DatabaseSetting>,
    /// `LOG_LEVEL` and `LOG_FORMAT`.
    pub log: LogSettings,
}

/// A variable whose value cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}={value:?}: {fix}")]
pub struct BadSetting {
    /// The variable.
    pub variable: &'static str,
    /// Its value (never a secret).
    pub value: String,
    /// What to write instead.
    pub fix: String,
}

impl BadSetting {
    pub(super) fn new(
        variable: &'static str,
        value: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { variable, value: value.into(), fix: fix.into() }
    }
}

impl Settings {
    /// Reads and checks every variable.
    ///
    /// # Errors
    /// Every bad value at once.
    pub fn read(environment: &Environment) -> Result<Self, Vec<BadSetting>> {
        let mut bad = Vec::new();
        let broker = keep(broker(environment), &mut bad);
        let share = keep(share(environment), &mut bad).flatten();
        let client_id = keep(client_id(environment), &mut bad);
        let database = keep(DatabaseSetting::read(environment), &mut bad).flatten();
        let (log, bad_log) = LogSettings::read(environment);
        bad.extend(bad_log);
        match (broker, client_id) {
            (Some(mut broker), Some(client_id)) if bad.is_empty() => {
                let named = take_login(&mut broker).map(Credentials::Static);
                let credentials = named.unwrap_or_else(|| credentials(environment));
                Ok(Self { broker, credentials, client_id, share, database, log })
            }
            _ => Err(bad),
        }
    }
}

fn keep<T>(read: Result<T, BadSetting>, bad: &mut Vec<BadSetting>) -> Option<T> {
    read.map_err(|error| bad.push(error)).ok()
}

/// `MQTT_BROKER` is a host, a `host:port` or a whole URL; `MQTT_PORT` fills in what it leaves out.
fn broker(environment: &Environment) -> Result<Url, BadSetting> {
    let written = environment.get("MQTT_BROKER").unwrap_or("localhost");
    // It may hold a password.
    let shown = written.rsplit('@').next().unwrap_or_default();
    let mut url = broker_url(written).map_err(|fix| BadSetting::new("MQTT_BROKER", shown, fix))?;
    if url.port().is_none() && environment.get("MQTT_PORT").is_some() {
        let port = port(environment, "MQTT_PORT", 1883)?;
        let _ = url.set_port(Some(port));
    }
    Ok(url)
}

/// Reads what people write for a broker: `host`, `host:port`, or a URL with one of the four schemes.
///
/// # Errors
/// What to write instead.
pub fn broker_url(written: &str) -> Result<Url, &'static str> {
    const FIX: &str =
        "write a host, host:port, or a URL that begins with mqtt://, mqtts://, ws:// or wss://";
    let whole =
        if written.contains("://") { written.to_owned() } else { format!("mqtt://{written}") };
    let url = Url::parse(&whole).map_err(|_| FIX)?;
    let known = matches!(url.scheme(), "mqtt" | "mqtts" | "ws" | "wss");
    if known && url.host_str().is_some_and(|host| !host.is_empty()) { Ok(url) } else { Err(FIX) }
}

/// Takes the login out of `mqtt://user:password@host`: it goes with CONNECT, not into messages about the URL. `None`: there is none.
pub fn take_login(url: &mut Url) -> Option<Login> {
    let decoded = |text: &str| percent_decoded(text).filter(|text| !text.is_empty());
    let username = decoded(url.username());
    let password = url.password().and_then(decoded);
    let login = Login { username, password };
    let _ = (url.set_username(""), url.set_password(None));
    (login != Login::default()).then_some(login)
}

/// `None`: what comes out is not UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = (first == b'%').then(|| after.get(..2)).flatten();
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).ok()
}

pub(super) fn port(
    environment: &Environment,
    name: &'static str,
    default: u16,
) -> Result<u16, BadSetting> {
    let Some(value) = environment.get(name) else { return Ok(default) };
    match value.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(BadSetting::new(name, value, "write a port number, 1 to 65535")),
    }
}

fn credentials(environment: &Environment) -> Credentials {
    let owned = |name| environment.get(name).map(str::to_owned);
    let login = Login { username: owned("MQTT_USERNAME"), password: owned("MQTT_PASSWORD") };
    if login == Login::default() { Credentials::None } else { Credentials::Static(login) }
}

/// MQTT 5, 4.8.2: a share name holds no `/`, `+` or `#`.
fn share(environment: &Environment) -> Result<Option<String>, BadSetting> {
    match environment.get("MQTT_GROUP_NAME") {
        Some(name) if name.contains(['/', '+', '#']) => Err(BadSetting::new(
            "MQTT_GROUP_NAME",
            name,
            "a share name holds no '/', '+' or '#': write for example fleet-devices",
        )),
        name => Ok(name.map(str::to_owned)),
    }
}

fn client_id(environment: &Environment) -> Result<String, BadSetting> {
    let id = environment.get("MQTT_CLIENT_ID").unwrap_or("mqtt-framework-main");
    if id.contains(['/', '+', '#']) || id.chars().any(char::is_control) {
        let fix = "a client id holds no '/', '+', '#' or control character: it is also the last level of a topic";
        return Err(BadSetting::new("MQTT_CLIENT_ID", id, fix));
    }
    Ok(id.to_owned())
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
