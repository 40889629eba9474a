//! A mosquitto of one's own: free loopback port, own directory, ended with the test.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

pub use routemq_tests::free_port;

const PATHS: [&str; 3] =
    ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/opt/homebrew/sbin/mosquitto"];

pub struct Mosquitto {
    pub port: u16,
    child: Child,
    directory: tempfile::TempDir,
}

impl Mosquitto {
    /// Starts one that anybody may use.
    pub async fn start() -> Self {
        Self::with("allow_anonymous true\n").await
    }

    /// Starts one with more configuration.
    pub async fn with(extra: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let file = write_config(directory.path(), port, extra);
        let child = spawn(&file);
        let mut broker = Self { port, child, directory };
        broker.wait_until_ready().await;
        broker
    }

    /// Starts it again after [`Self::kill`], on the same port with the same state.
    pub async fn restart(&mut self) {
        self.child = spawn(&self.directory.path().join("mosquitto.conf"));
        self.wait_until_ready().await;
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as an administrator would: it saves its state.
    pub fn terminate(&mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        self.child.wait().unwrap();
    }

    async fn wait_until_ready(&mut self) {
        for _ in 0..500 {
            if tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("mosquitto ended at once: {status}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("mosquitto does not listen");
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_config(directory: &Path, port: u16, extra: &str) -> PathBuf {
    let mut text = format!("listener {port} 127.0.0.1\n");
    // Started by root, mosquitto would become a user that cannot write here.
    text.push_str("user root\n");
    writeln!(text, "persistence_location {}/", directory.display()).unwrap();
    for line in ["max_queued_messages 100000", "max_inflight_messages 1000", "set_tcp_nodelay true"]
    {
        writeln!(text, "{line}").unwrap();
    }
    text.push_str(extra);
    let file = directory.join("mosquitto.conf");
    std::fs::write(&file, text).unwrap();
    file
}

fn spawn(file: &Path) -> Child {
    let program = PATHS.iter().find(|path| Path::new(path).exists()).unwrap_or(&"mosquitto");
    Command::new(program)
        .arg("-c")
        .arg(file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("mosquitto is installed (apt-get install mosquitto)")
}
