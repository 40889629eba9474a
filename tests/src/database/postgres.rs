//! A PostgreSQL of one's own.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{rows::Rows, template};
use crate::{Directory, Launch, Owner, Process, Signal, eventually, free_port, program};

/// Starts before it is given up.
const TRIES: u32 = 10;

/// How a [`Postgres`] behaves.
#[derive(Clone, Debug)]
pub struct PostgresConfig {
    /// Default 200.
    pub max_connections: u32,
    /// Further settings, `name=value`.
    pub extra: Vec<String>,
}

/// A running PostgreSQL on a loopback port; dropping it kills it. Commits survive its death, not the machine's.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    config: PostgresConfig,
    port: u16,
    rows: Rows,
    directory: Directory,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self { max_connections: 200, extra: Vec::new() }
    }
}

impl Postgres {
    /// Starts one with the defaults.
    pub async fn start() -> Self {
        Self::start_with(PostgresConfig::default()).await
    }

    /// Starts it and waits until it answers.
    pub async fn start_with(config: PostgresConfig) -> Self {
        let directory = Directory::new("postgres");
        let data = directory.path().join("data");
        template::copy("postgres", &server(), &data, owner(), install);
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
        template::give(directory.path(), owner());
        for _ in 0..5 {
            let port = free_port();
            let mut process = launch(&config, &directory, port);
            let rows = Rows::postgres(&url(port));
            if ready(&mut process, &rows).await {
                return Self { process, config, port, rows, directory };
            }
        }
        panic!("PostgreSQL does not start: see {}", directory.path().join("postgres.log").display())
    }

    /// `postgres://routemq@127.0.0.1:<port>/postgres`; the user may do everything.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// The listening port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A connection of its own.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Ends it in good order ("fast": open connections are closed).
    pub async fn stop(&mut self) {
        self.process.signal(Signal::INT);
        self.process.exit(Duration::from_mins(1)).await;
    }

    /// SIGKILL to all of it.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Stands still with its connections open.
    pub fn pause(&mut self) {
        self.process.signal_tree(Signal::STOP);
    }

    /// Goes on.
    pub fn resume(&mut self) {
        self.process.signal_tree(Signal::CONT);
    }

    /// Starts it again on the same port with the same data (stops it first where it runs).
    pub async fn restart(&mut self) {
        if self.process.exit_status().is_none() {
            self.stop().await;
        }
        self.rows = Rows::postgres(&url(self.port));
        // After a kill the last of its processes may hold the shared memory for a moment, and it refuses to start.
        for _ in 0..TRIES {
            self.process = launch(&self.config, &self.directory, self.port);
            if ready(&mut self.process, &self.rows).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        panic!("PostgreSQL does not start again: {}", self.process.output());
    }
}

fn url(port: u16) -> String {
    format!("postgres://routemq@127.0.0.1:{port}/postgres")
}

fn server() -> PathBuf {
    program("postgres", "postgresql")
}

/// PostgreSQL refuses to be root: then it is the user `postgres`, or else `nobody`.
fn owner() -> Option<Owner> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    ["postgres", "nobody"].iter().find_map(|name| entry(&passwd, name))
}

fn entry(passwd: &str, name: &str) -> Option<Owner> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some(Owner { user: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
}

fn install(data: &Path) {
    // The parent must be theirs to write to.
    template::give(data.parent().expect("it has a folder"), owner());
    Launch::new(program("initdb", "postgresql"))
        .arg("-D")
        .arg(data)
        .args(["-U", "routemq", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"])
        .folder("/")
        .owner(owner())
        .run();
}

fn launch(config: &PostgresConfig, directory: &Directory, port: u16) -> Process {
    let path = directory.path();
    let mut launch = Launch::new(server())
        .arg("-D")
        .arg(path.join("data"))
        .args(["-h", "127.0.0.1", "-p"])
        .arg(port.to_string())
        .arg("-k")
        .arg(path)
        .args(["-c", "fsync=off", "-c", "full_page_writes=off", "-c"])
        .arg(format!("max_connections={}", config.max_connections))
        .folder("/")
        .owner(owner());
    for setting in &config.extra {
        launch = launch.arg("-c").arg(setting);
    }
    launch.start(&path.join("postgres.log"))
}

/// True when it answers; false when it ended (the port was taken after all).
async fn ready(process: &mut Process, rows: &Rows) -> bool {
    eventually("PostgreSQL answers", Duration::from_mins(1), async || {
        if process.exit_status().is_some() {
            return Ok(false);
        }
        rows.try_execute("SELECT 1").await.map(|()| true)
    })
    .await
}
