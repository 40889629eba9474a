//! A MariaDB of one's own.

use std::{fs, path::PathBuf, time::Duration};

use super::{rows::Rows, template};
use crate::{Directory, Launch, Process, Signal, eventually, free_port, program, program::find};

/// How a [`MariaDb`] behaves.
#[derive(Clone, Debug)]
pub struct MariaDbConfig {
    /// innodb_flush_log_at_trx_commit. Default 2: a commit survives the server's death, not the machine's, and is fast.
    pub flush_log_at_commit: u8,
    /// Default 200.
    pub max_connections: u32,
    /// Further arguments of mariadbd.
    pub extra: Vec<String>,
}

/// A running MariaDB on a loopback port with the database `routemq`; dropping it kills it.
#[derive(Debug)]
pub struct MariaDb {
    process: Process,
    config: MariaDbConfig,
    port: u16,
    rows: Rows,
    directory: Directory,
}

const INIT: &str = "CREATE DATABASE IF NOT EXISTS routemq CHARACTER SET utf8mb4;\n\
    CREATE USER IF NOT EXISTS routemq@'%' IDENTIFIED BY 'routemq';\n\
    GRANT ALL ON *.* TO routemq@'%' WITH GRANT OPTION;\n";

impl Default for MariaDbConfig {
    fn default() -> Self {
        Self { flush_log_at_commit: 2, max_connections: 200, extra: Vec::new() }
    }
}

impl MariaDb {
    /// Starts one with the defaults.
    pub async fn start() -> Self {
        Self::start_with(MariaDbConfig::default()).await
    }

    /// Starts it and waits until it answers.
    pub async fn start_with(config: MariaDbConfig) -> Self {
        let directory = Directory::new("mariadb");
        let data = directory.path().join("data");
        template::copy("mariadb", &server(), &data, None, install);
        directory.write("init.sql", INIT);
        fs::create_dir(directory.path().join("tmp")).unwrap();
        for _ in 0..5 {
            let port = free_port();
            let mut process = launch(&config, &directory, port);
            let rows = Rows::mysql(&url(port));
            if ready(&mut process, &rows).await {
                return Self { process, config, port, rows, directory };
            }
        }
        panic!("MariaDB does not start: see {}", directory.path().join("mariadb.log").display())
    }

    /// `mysql://routemq:routemq@127.0.0.1:<port>/routemq`; the user may do everything.
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

    /// Ends it in good order.
    pub async fn stop(&mut self) {
        self.process.signal(Signal::TERM);
        self.process.exit(Duration::from_mins(1)).await;
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Stands still with its connections open.
    pub fn pause(&mut self) {
        self.process.signal(Signal::STOP);
    }

    /// Goes on.
    pub fn resume(&mut self) {
        self.process.signal(Signal::CONT);
    }

    /// Starts it again on the same port with the same data (stops it first where it runs).
    pub async fn restart(&mut self) {
        if self.process.exit_status().is_none() {
            self.stop().await;
        }
        self.process = launch(&self.config, &self.directory, self.port);
        self.rows = Rows::mysql(&url(self.port));
        assert!(ready(&mut self.process, &self.rows).await, "MariaDB does not start again");
    }
}

fn url(port: u16) -> String {
    format!("mysql://routemq:routemq@127.0.0.1:{port}/routemq")
}

fn server() -> PathBuf {
    find("mariadbd").unwrap_or_else(|| program("mysqld", "mariadb-server"))
}

/// A server deletes the temporary tables that it finds when it starts, another's too: each has a folder for them.
fn install(data: &std::path::Path) {
    let temporary = Directory::new("mariadb-install");
    let mut launch = Launch::new(program("mariadb-install-db", "mariadb-server"))
        .arg("--no-defaults")
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--tmpdir={}", temporary.path().display()))
        .args(["--skip-test-db", "--auth-root-authentication-method=normal"])
        .args(["--innodb-log-file-size=16M", "--innodb-flush-log-at-trx-commit=0"]);
    if rustix::process::geteuid().is_root() {
        launch = launch.arg("--user=root");
    }
    launch.run();
}

fn launch(config: &MariaDbConfig, directory: &Directory, port: u16) -> Process {
    let path = directory.path();
    let mut launch = Launch::new(server())
        .arg("--no-defaults")
        .arg(format!("--datadir={}", path.join("data").display()))
        .arg(format!("--tmpdir={}", path.join("tmp").display()))
        .arg(format!("--socket={}", path.join("socket").display()))
        .arg(format!("--pid-file={}", path.join("pid").display()))
        .arg(format!("--init-file={}", path.join("init.sql").display()))
        .arg(format!("--port={port}"))
        .arg(format!("--max-connections={}", config.max_connections))
        .arg(format!("--innodb-flush-log-at-trx-commit={}", config.flush_log_at_commit))
        .args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--skip-log-bin"])
        .args(["--innodb-buffer-pool-size=64M", "--innodb-log-file-size=16M"])
        .args(["--performance-schema=OFF", "--innodb-fast-shutdown=1"])
        .args(&config.extra);
    if rustix::process::geteuid().is_root() {
        launch = launch.arg("--user=root");
    }
    launch.start(&path.join("mariadb.log"))
}

/// True when it answers; false when it ended (the port was taken after all).
async fn ready(process: &mut Process, rows: &Rows) -> bool {
    eventually("MariaDB answers", Duration::from_mins(1), async || {
        if process.exit_status().is_some() {
            return Ok(false);
        }
        rows.try_execute("SELECT 1").await.map(|()| true)
    })
    .await
}
