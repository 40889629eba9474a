//! A mosquitto of one's own.

use std::{fmt::Write as _, net::SocketAddr, path::PathBuf, process::ExitStatus, time::Duration};

use rumqttc::v5::mqttbytes::QoS;

use crate::{
    Client, ClientConfig, Directory, Launch, Process, Signal, free_port, process::accepts, program,
    version_of,
};

/// How a [`Mosquitto`] behaves. The limits whose defaults differ between its versions are always set.
#[derive(Clone, Debug)]
pub struct MosquittoConfig {
    /// Whether sessions and messages survive a restart. Default true.
    pub persistence: bool,
    /// Messages held for one session beyond those on the way; more are dropped. Default 1,000,000.
    pub max_queued: u32,
    /// QoS 1 and 2 messages on the way to one client, below its own Receive Maximum. Default 65,535.
    pub max_inflight: u16,
    /// Changes after which the state is written to disk; 0: only at the end. Default 0.
    pub autosave_changes: u32,
    /// An access list (lines of mosquitto's `acl_file`).
    pub acl: Option<String>,
    /// User names and passwords; with them nobody comes in anonymously.
    pub users: Vec<(String, String)>,
    /// A certificate to serve with instead of plain TCP, and whether clients need one of the same authority.
    pub tls: Option<MosquittoTls>,
    /// Further lines of mosquitto.conf.
    pub extra: String,
    /// Whether it is 2.0.13 or later where the machine has one (`tests/brokers/mosquitto`), and not its own. Default false.
    pub recent: bool,
}

/// PEM files of a TLS listener.
#[derive(Clone, Debug)]
pub struct MosquittoTls {
    /// The authority of clients.
    pub ca: PathBuf,
    /// The server's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Whether clients must show a certificate.
    pub require_client: bool,
}

/// A running mosquitto on a loopback port; dropping it kills it.
#[derive(Debug)]
pub struct Mosquitto {
    process: Process,
    config: MosquittoConfig,
    port: u16,
    directory: Directory,
}

impl Default for MosquittoConfig {
    fn default() -> Self {
        Self {
            persistence: true,
            max_queued: 1_000_000,
            max_inflight: 65_535,
            autosave_changes: 0,
            acl: None,
            users: Vec::new(),
            tls: None,
            extra: String::new(),
            recent: false,
        }
    }
}

impl MosquittoConfig {
    /// For what depends on a version that keeps to MQTT 5.
    pub fn recent() -> Self {
        Self { recent: true, ..Self::default() }
    }
}

impl Mosquitto {
    /// Starts it and waits until it accepts connections.
    pub async fn start(config: MosquittoConfig) -> Self {
        let directory = Directory::new("mosquitto");
        for _ in 0..5 {
            let port = free_port();
            write_configuration(&config, &directory, port);
            let mut process = launch(&config, &directory);
            if accepts(&mut process, port).await {
                return Self { process, config, port, directory };
            }
        }
        panic!("mosquitto does not start: see {}", log(&directory).display())
    }

    /// The listening port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1` and the port.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// `mqtt://127.0.0.1:<port>`, or `mqtts://localhost:<port>` with TLS.
    pub fn url(&self) -> String {
        match self.config.tls {
            None => format!("mqtt://127.0.0.1:{}", self.port),
            Some(_) => format!("mqtts://localhost:{}", self.port),
        }
    }

    /// Its directory: configuration, database, log.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// `(major, minor, patch)` of the program.
    pub fn version(&self) -> (u32, u32, u32) {
        let line = version_of(&broker_program(&self.config), "-h");
        let number = line.rsplit(' ').next().unwrap_or_default();
        let mut parts = number.split('.').map(|part| part.parse().unwrap_or(0));
        let mut part = || parts.next().unwrap_or(0);
        (part(), part(), part())
    }

    /// Whether it sends a client no more unacknowledged messages than that client asked for: from 2.0.13 on.
    pub fn keeps_to_receive_maximum(&self) -> bool {
        self.version() >= (2, 0, 13)
    }

    /// SIGTERM, and its end awaited: sessions and messages are written to disk.
    pub async fn stop(&mut self) -> ExitStatus {
        self.process.signal(Signal::TERM);
        self.process.exit(Duration::from_secs(30)).await
    }

    /// SIGKILL: what was not written to disk is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port with what is on disk (stops it first where it runs).
    pub async fn restart(&mut self) {
        if self.process.exit_status().is_none() {
            self.stop().await;
        }
        self.process = launch(&self.config, &self.directory);
        assert!(
            accepts(&mut self.process, self.port).await,
            "mosquitto does not start again: see {}",
            log(&self.directory).display()
        );
    }

    /// Stands still: accepts at TCP level, says nothing.
    pub fn pause(&mut self) {
        self.process.signal(Signal::STOP);
    }

    /// Goes on.
    pub fn resume(&mut self) {
        self.process.signal(Signal::CONT);
    }

    /// Writes another access list and makes it read (needs one from the start).
    pub fn reload_acl(&mut self, acl: &str) {
        self.directory.write("acl", acl);
        self.process.signal(Signal::HUP);
    }

    /// A client of this broker, connected (plain TCP, anonymous).
    pub async fn client(&self, client_id: &str) -> Client {
        Client::connect(self.address(), ClientConfig::new(client_id)).await
    }

    /// The value of `$SYS/broker/<name>`, published every second.
    pub async fn sys(&self, name: &str) -> String {
        let mut client = self.client(&format!("sys-{}", fastrand::u32(..))).await;
        client.subscribe(&format!("$SYS/broker/{name}"), QoS::AtMostOnce).await;
        let received = client.receive(Duration::from_secs(5)).await;
        received.unwrap_or_else(|| panic!("mosquitto has no $SYS/broker/{name}")).text()
    }
}

/// `MOSQUITTO`, or what `tests/brokers/mosquitto` has fetched, or the machine's own.
fn broker_program(config: &MosquittoConfig) -> PathBuf {
    let fetched = || Some(cache()?.join("routemq/brokers/mosquitto/mosquitto"));
    let given = std::env::var_os("MOSQUITTO").map(PathBuf::from);
    let recent = given.or_else(fetched).filter(|path| config.recent && path.is_file());
    recent.unwrap_or_else(|| program("mosquitto", "mosquitto"))
}

fn cache() -> Option<PathBuf> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)
}

fn launch(config: &MosquittoConfig, directory: &Directory) -> Process {
    let conf = directory.path().join("mosquitto.conf");
    Launch::new(broker_program(config)).arg("-c").arg(conf).start(&log(directory))
}

fn log(directory: &Directory) -> PathBuf {
    directory.path().join("mosquitto.log")
}

fn write_configuration(config: &MosquittoConfig, directory: &Directory, port: u16) {
    let mut conf = limits(config, directory, port);
    if rustix::process::geteuid().is_root() {
        // Without this line it changes to a user who cannot write here.
        conf.push_str("user root\n");
    }
    access(config, directory, &mut conf);
    if let Some(tls) = &config.tls {
        let (ca, certificate, key) =
            (tls.ca.display(), tls.certificate.display(), tls.key.display());
        let _ = write!(conf, "cafile {ca}\ncertfile {certificate}\nkeyfile {key}\n");
        let _ = writeln!(conf, "require_certificate {}", tls.require_client);
    }
    conf.push_str(&config.extra);
    directory.write("mosquitto.conf", conf);
}

fn limits(config: &MosquittoConfig, directory: &Directory, port: u16) -> String {
    format!(
        "per_listener_settings false\npersistence {}\npersistence_location {}/\n\
         max_queued_messages {}\nmax_queued_bytes 0\nmax_inflight_messages {}\n\
         autosave_interval {}\nautosave_on_changes true\nsys_interval 1\nset_tcp_nodelay true\n\
         log_dest stderr\nlog_type error\nlog_type warning\nlog_type notice\nlog_type information\n\
         listener {port} 127.0.0.1\n",
        config.persistence,
        directory.path().display(),
        config.max_queued,
        config.max_inflight,
        config.autosave_changes,
    )
}

fn access(config: &MosquittoConfig, directory: &Directory, conf: &mut String) {
    let _ = writeln!(conf, "allow_anonymous {}", config.users.is_empty());
    if let Some(acl) = &config.acl {
        let _ = writeln!(conf, "acl_file {}", directory.write("acl", acl).display());
    }
    if !config.users.is_empty() {
        let file = directory.write("passwords", "");
        for (user, password) in &config.users {
            Launch::new(program("mosquitto_passwd", "mosquitto"))
                .arg("-b")
                .arg(&file)
                .args([user, password])
                .run();
        }
        let _ = writeln!(conf, "password_file {}", file.display());
    }
}
