//! `routemq` as a child process.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::{Duration, SystemTime},
};

use crate::{Directory, Launch, Process, Signal};

/// What to start and where it reaches the world.
#[derive(Clone, Debug, Default)]
pub struct WorkerConfig {
    /// The documents: one file's content.
    pub routes: String,
    /// A file or folder to run on instead.
    pub documents: Option<PathBuf>,
    /// `MQTT_BROKER`.
    pub broker: Option<String>,
    /// `DATABASE_URL`.
    pub database: Option<String>,
    /// `--slot`: only that worker in this process.
    pub slot: Option<u32>,
    /// Further variables.
    pub environment: Vec<(String, String)>,
    /// Further arguments after the command and before the path.
    pub arguments: Vec<String>,
    /// A program, and its arguments, that becomes `routemq` in the end (by exec): it may take something away first.
    pub wrapper: Vec<String>,
}

/// `routemq run` on a file of its own; dropping it kills it.
#[derive(Debug)]
pub struct WorkerProcess {
    process: Process,
    launch: Launch,
    routes: PathBuf,
    directory: Directory,
}

impl WorkerProcess {
    /// Starts `routemq run`. Nothing is waited for.
    pub fn run(config: &WorkerConfig) -> Self {
        Self::start("run", config)
    }

    /// Starts `routemq <command> … <file>` in a directory of its own, with a bare environment.
    pub fn start(command: &str, config: &WorkerConfig) -> Self {
        let directory = Directory::new("worker");
        let routes = directory.write("routes.yaml", &config.routes);
        let mut launch = launch(&config.wrapper)
            .clear_environment()
            .folder(directory.path())
            .env("LOG_LEVEL", env::var("ROUTEMQ_TEST_LOG_LEVEL").unwrap_or("INFO".to_owned()));
        for (name, value) in variables(config) {
            launch = launch.env(name, value);
        }
        launch = launch.arg(command).args(&config.arguments);
        if let Some(slot) = config.slot {
            launch = launch.arg("--slot").arg(slot.to_string());
        }
        launch = launch.arg(config.documents.as_ref().unwrap_or(&routes));
        let process = launch.start(&directory.path().join("output"));
        Self { process, launch, routes, directory }
    }

    /// The file of documents: write to it to change the table.
    pub fn routes_path(&self) -> &Path {
        &self.routes
    }

    /// Its directory.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The process: pid, signals, memory.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it has written to standard output and standard error so far, over all its lives.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM, and its end awaited.
    pub async fn terminate(&mut self, patience: Duration) -> ExitStatus {
        self.process.signal(Signal::TERM);
        self.process.exit(patience).await
    }

    /// The same command again (kills it first where it runs).
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = self.launch.start(&self.directory.path().join("output"));
    }
}

fn launch(wrapper: &[String]) -> Launch {
    match wrapper {
        [] => Launch::new(routemq_binary()),
        [program, arguments @ ..] => Launch::new(program).args(arguments).arg(routemq_binary()),
    }
}

fn variables(config: &WorkerConfig) -> Vec<(String, String)> {
    let named = [("MQTT_BROKER", &config.broker), ("DATABASE_URL", &config.database)];
    let named =
        named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
    named.chain(config.environment.iter().cloned()).collect()
}

/// The program under test: `ROUTEMQ_BIN`, or what cargo built beside this test. Cargo does not build another package's
/// program for a test, so it must be there, and not be older than its sources.
pub fn routemq_binary() -> PathBuf {
    match env::var_os("ROUTEMQ_BIN") {
        Some(path) => path.into(),
        None => built("routemq", &["crds/src", "worker/src", "worker/mqtt/src"]),
    }
}

/// The operator, likewise.
pub fn operator_binary() -> PathBuf {
    built("routemq-operator", &["crds/src", "operator/src"])
}

fn built(name: &str, sources: &[&str]) -> PathBuf {
    let test = env::current_exe().expect("a process knows its executable");
    let deps = test.parent().expect("it is in a folder");
    let profile = if deps.ends_with("deps") { deps.parent().unwrap_or(deps) } else { deps };
    let binary = profile.join(name);
    let build = format!("run `cargo build --bin {name}` first (./tests/run does)");
    assert!(binary.is_file(), "{} is missing: {build}", binary.display());
    if let Some(source) = newer_source(&binary, sources) {
        panic!("{} is older than {}: {build}", binary.display(), source.display());
    }
    binary
}

fn newer_source(binary: &Path, sources: &[&str]) -> Option<PathBuf> {
    let built = modified(binary)?;
    let mut folders: Vec<_> = sources.iter().map(|source| crate::folder(source)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).ok()?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if modified(&path)? > built {
                return Some(path);
            }
        }
    }
    None
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}
