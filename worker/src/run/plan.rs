//! How an object's workers connect: from its table and the process' settings. Pure but for the Secrets it reads.

use std::{ops::Range, time::Duration};

use routemq_crds::{
    table::Table,
    v1alpha1::{KeyRef, NameRef, SessionKind, Tls},
};
use routemq_mqtt::{Credentials, Login, SessionConfig, SharedLogin, TlsConfig};
use url::Url;

use super::{Loaded, RunError, RunSettings, name_of};
use crate::{
    database::Dialect,
    secrets::{SecretError, Secrets},
    slot::client_id,
};

/// Siblings in this process change to a new table at once: what remains is what is on its way.
const TRANSITION_WITHIN: Duration = Duration::from_secs(5);
/// Siblings in other processes see a changed file or ConfigMap this much later, at most (kubelet: a minute and a half).
const TRANSITION_BETWEEN: Duration = Duration::from_mins(3);
/// `metadata.generation` of an object that has never been changed.
const FIRST_GENERATION: i64 = 1;

/// What a session is made of. Two tables with equal plans can be swapped while connected.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// `<namespace>.<name>`.
    pub(super) name: String,
    pub(super) url: Url,
    pub(super) credentials: Credentials,
    pub(super) tls: TlsConfig,
    pub(super) share: Option<String>,
    pub(super) session: SessionKind,
    pub(super) expiry: Duration,
    pub(super) receive_maximum: u16,
    pub(super) concurrency: usize,
    /// The URL of the database, where the table uses one.
    pub(super) database: Option<String>,
    /// The slots that this process runs.
    pub(super) slots: Range<u32>,
    /// Paused, or no worker is asked for: the sessions stay as they are.
    pub(super) idle: bool,
    /// How long siblings may still have another table.
    pub(super) transition: Duration,
    /// Whether siblings may have an older table when a worker starts.
    pub(super) older_tables: bool,
}

/// Decides how `loaded` connects.
pub(super) fn plan(loaded: &Loaded, settings: &RunSettings) -> Result<Plan, RunError> {
    let (table, secrets) = (&loaded.table, &loaded.secrets);
    let leased = settings.lease.is_some();
    let slots = if leased { 0..0 } else { slots(table, settings.slot) };
    let within = (settings.slot.is_none() && !leased) || worker_count(table) <= 1;
    Ok(Plan {
        name: name_of(table),
        url: broker(table, settings)?,
        credentials: credentials(table, secrets, settings)?,
        tls: tls(table, secrets)?,
        share: table.share.clone(),
        session: table.delivery.session,
        expiry: table.delivery.session_expiry,
        receive_maximum: table.delivery.receive_maximum,
        concurrency: table.delivery.concurrency,
        database: database(table, secrets, settings)?,
        slots,
        idle: worker_count(table) == 0,
        transition: if within { TRANSITION_WITHIN } else { TRANSITION_BETWEEN },
        older_tables: !within && table.generation != Some(FIRST_GENERATION),
    })
}

/// Workers that the table asks for, over all processes.
pub(super) fn worker_count(table: &Table) -> u32 {
    match (table.paused, &table.share) {
        (true, _) => 0,
        (false, None) => table.worker_count.min(1),
        (false, Some(_)) => table.worker_count,
    }
}

fn slots(table: &Table, only: Option<u32>) -> Range<u32> {
    let count = worker_count(table);
    match only {
        None => 0..count,
        Some(slot) if slot < count => slot..slot + 1,
        Some(_) => 0..0,
    }
}

fn broker(table: &Table, settings: &RunSettings) -> Result<Url, RunError> {
    let Some(written) = &table.broker.url else { return Ok(settings.broker.clone()) };
    crate::config::broker_url(written)
        .map_err(|_| RunError::Broker { name: name_of(table), url: written.clone() })
}

/// A mounted Secret is read again before each connection; one among the documents is known, and replaced when they
/// change.
fn credentials(
    table: &Table,
    secrets: &Secrets,
    settings: &RunSettings,
) -> Result<Credentials, RunError> {
    let Some(NameRef { name }) = &table.broker.credentials_secret_ref else {
        return Ok(settings.credentials.clone());
    };
    if let Some(folder) = secrets.mounted(name) {
        return Ok(Credentials::Folder(folder));
    }
    let text = |key: &str| secrets.text(&KeyRef { name: name.clone(), key: key.to_owned() });
    match (text("username"), text("password")) {
        (Err(source), Err(_)) => Err(missing(table, "spec.broker.credentialsSecretRef", source)),
        (username, password) => {
            let login = Login { username: username.ok(), password: password.ok() };
            Ok(Credentials::Shared(SharedLogin::new(login)))
        }
    }
}

fn tls(table: &Table, secrets: &Secrets) -> Result<TlsConfig, RunError> {
    let Some(Tls { ca_secret_ref, client_cert_secret_ref }) = &table.broker.tls else {
        return Ok(TlsConfig::default());
    };
    let folder = |at: &Option<NameRef>, field| match at {
        None => Ok(None),
        Some(NameRef { name }) => match secrets.mounted(name) {
            Some(folder) => Ok(Some(folder)),
            None => Err(missing(
                table,
                field,
                SecretError::Missing {
                    name: name.clone(),
                    key: "ca.crt, tls.crt or tls.key".to_owned(),
                    places:
                        "; certificates are read from files: give their folder with --secrets DIR"
                            .to_owned(),
                },
            )),
        },
    };
    let ca = folder(ca_secret_ref, "spec.broker.tls.caSecretRef")?;
    let client = folder(client_cert_secret_ref, "spec.broker.tls.clientCertSecretRef")?;
    Ok(TlsConfig {
        ca: ca.map(|folder| folder.join("ca.crt")),
        client: client.map(|folder| (folder.join("tls.crt"), folder.join("tls.key"))),
    })
}

/// Only where a handler or a middleware uses it.
fn database(
    table: &Table,
    secrets: &Secrets,
    settings: &RunSettings,
) -> Result<Option<String>, RunError> {
    if !super::database::is_used(table) {
        return Ok(None);
    }
    let Some(at) = &table.database else { return Ok(settings.database.clone()) };
    let url = secrets.text(at);
    url.map(Some).map_err(|source| missing(table, "spec.database.urlSecretRef", source))
}

fn missing(table: &Table, field: &'static str, source: SecretError) -> RunError {
    RunError::Secret { name: name_of(table), field, source }
}

impl Plan {
    /// Whether workers of this plan may go on with a table of the other (slots aside). What a Secret says is no reason
    /// to stop: a login and certificates are read at the next connect, and a database is redirected.
    pub(super) fn connects_as(&self, other: &Self) -> bool {
        self.url == other.url
            && same_login(&self.credentials, &other.credentials)
            && (&self.tls.ca, &self.tls.client) == (&other.tls.ca, &other.tls.client)
            && self.session == other.session
            && self.expiry == other.expiry
            && self.receive_maximum == other.receive_maximum
            && self.concurrency == other.concurrency
            && dialect(self) == dialect(other)
            && self.idle == other.idle
    }

    /// Whether workers of this plan may finish what those of the other have begun: the same broker keeps a durable session
    /// for both.
    pub(super) fn resumes(&self, other: &Self) -> bool {
        self.url == other.url
            && (self.session == other.session || self.session == SessionKind::Durable)
    }

    /// Whether what the other plan's table writes can be written with this plan's database.
    pub(super) fn writes_as(&self, other: &Self) -> bool {
        dialect(self) == dialect(other)
    }

    /// The session of one slot. An ephemeral one resumes, too: what a durable predecessor left is delivered and not
    /// deleted, and it ends with the connection all the same, since it does not outlive it.
    pub(super) fn session(&self, prefix: &str, slot: u32) -> Result<SessionConfig, RunError> {
        let ephemeral = self.session == SessionKind::Ephemeral;
        Ok(SessionConfig {
            clean_start: false,
            session_expiry: if ephemeral { Duration::ZERO } else { self.expiry },
            receive_maximum: self.receive_maximum,
            ..self.connection(prefix, &slot.to_string())?
        })
    }

    /// The connection that handlers publish over: its own, never resumed.
    pub(super) fn publisher(&self, prefix: &str) -> Result<SessionConfig, RunError> {
        let suffix = format!("pub-{:08x}", fastrand::u32(..));
        Ok(SessionConfig {
            clean_start: true,
            session_expiry: Duration::ZERO,
            ..self.connection(prefix, &suffix)?
        })
    }

    fn connection(&self, prefix: &str, suffix: &str) -> Result<SessionConfig, RunError> {
        let id = client_id(prefix, &self.name, suffix)?;
        Ok(SessionConfig {
            credentials: self.credentials.clone(),
            tls: self.tls.clone(),
            ..SessionConfig::new(self.url.clone(), id)
        })
    }
}

/// `None`: no database, or no URL.
fn dialect(plan: &Plan) -> Option<Dialect> {
    Dialect::of_scheme(plan.database.as_ref()?.split(':').next()?)
}

fn same_login(one: &Credentials, other: &Credentials) -> bool {
    match (one, other) {
        (Credentials::None, Credentials::None)
        | (Credentials::Shared(_), Credentials::Shared(_)) => true,
        (Credentials::Static(one), Credentials::Static(other)) => one == other,
        (Credentials::Folder(one), Credentials::Folder(other)) => one == other,
        _ => false,
    }
}

impl Plan {
    /// Takes over what the other plan's Secrets say where that needs no new connection: sessions read the login at their
    /// next connect. Whether it is another login.
    pub(super) fn take_login(&self, other: &mut Self) -> bool {
        let (Credentials::Shared(mine), Credentials::Shared(theirs)) =
            (&self.credentials, &other.credentials)
        else {
            return false;
        };
        let (before, now) = (mine.get(), theirs.get());
        mine.set(now.clone());
        other.credentials = self.credentials.clone();
        before != now
    }
}

#[cfg(test)]
mod tests {
    use routemq_crds::document::Documents;

    use super::*;

    const YAML: &str = r"
apiVersion: routemq.io/v1alpha1
kind: MqttRoute
metadata: {name: devices, namespace: fleet}
spec:
  broker: {credentialsSecretRef: {name: login}}
  database: {urlSecretRef: {name: rows, key: url}}
  routes:
    - {name: a, topic: a, handlers: [{sql: {table: t, columns: {topic: topic}}}]}
";

    fn planned(url: &str, password: &str) -> Plan {
        let documents = Documents::parse("x.yaml", YAML).unwrap();
        let table = documents.compile().unwrap().remove(0).object;
        let written = (&documents.routes[0].object).into();
        let secrets = Secrets::default()
            .with_value("login", "password", password.to_owned())
            .with_value("rows", "url", url.to_owned());
        let settings = RunSettings::new("mqtt://broker".parse().unwrap());
        plan(&Loaded { written, table, secrets }, &settings).unwrap()
    }

    #[test]
    fn another_password_or_database_of_the_same_dialect_keeps_the_connection_another_dialect_does_not()
     {
        let running = planned("mysql://user:old@db/fleet", "old");
        let rows = [
            ("another password", planned("mysql://user:old@db/fleet", "new"), true),
            ("another database", planned("mariadb://user:new@other/fleet", "old"), true),
            ("another dialect", planned("postgres://user:old@db/fleet", "old"), false),
        ];
        for (name, next, same) in rows {
            assert_eq!(next.connects_as(&running), same, "{name}");
        }
    }

    #[test]
    fn siblings_may_have_an_older_table_where_they_are_other_processes_and_the_object_was_changed()
    {
        let documents =
            Documents::parse("x.yaml", YAML.replace("spec:", "spec:\n  workerCount: 3"));
        let documents = documents.unwrap();
        let table = documents.compile().unwrap().remove(0).object;
        for (generation, slot, expected) in [
            (Some(1), Some(0), false),
            (Some(2), Some(0), true),
            (None, Some(0), true),
            (Some(2), None, false),
        ] {
            let secrets = Secrets::default()
                .with_value("login", "password", String::new())
                .with_value("rows", "url", "mysql://db/fleet".to_owned());
            let table = Table { generation, ..table.clone() };
            let written = (&documents.routes[0].object).into();
            let loaded = Loaded { written, table, secrets };
            let settings = RunSettings { slot, ..RunSettings::new("mqtt://b".parse().unwrap()) };
            let planned = plan(&loaded, &settings).unwrap();
            assert_eq!(planned.older_tables, expected, "{generation:?}, {slot:?}");
        }
    }

    #[test]
    fn a_session_of_the_running_plan_gets_the_new_login() {
        let running = planned("mysql://db/fleet", "old");
        let session = running.session("test", 0).unwrap();
        let mut next = planned("mysql://db/fleet", "new");
        assert!(running.take_login(&mut next));
        let Credentials::Shared(login) = session.credentials else { panic!("not shared") };
        assert_eq!(login.get().password.as_deref(), Some("new"));
        assert!(!running.take_login(&mut next), "the same login again");
    }
}
