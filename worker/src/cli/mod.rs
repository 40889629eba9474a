//! Commands: parsed here, done in a module each.
//!
//! Exit codes: 0 done, 1 the input is wrong, 2 usage, 3 the outside world failed.

mod check;
mod connection;
#[cfg(feature = "dev-broker")]
mod dev;
mod dlq;
mod documents;
mod explain;
mod failure;
mod init;
mod publish;
mod run;
mod signals;
mod sqlite_file;
mod style;
mod subscribe;

use std::{future::Future, io::Write, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use routemq_worker::config::{Environment, Settings};

use failure::Failure;

/// What a command comes to: the exit code, or why it failed.
type Ended = Result<ExitCode, Failure>;

/// Routes MQTT messages through middleware to handlers, from one YAML.
#[derive(Debug, Parser)]
#[command(
    name = "routemq",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "Example: routemq dev examples/quickstart --simulate 5/s\n\n\
        Exit codes: 0 done, 1 the input is wrong, 2 usage, 3 the outside world failed."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run on this machine: broker and database included, reloads on save
    #[cfg(feature = "dev-broker")]
    Dev(dev::Dev),
    /// Run against a real broker and database
    Run(run::Run),
    /// Write a first route and a .env; never overwrites
    Init(init::Init),
    /// Say what is wrong with documents, with file, line and column
    Check(check::Check),
    /// Say which route a topic goes to, and why
    Match(explain::Match),
    /// Publish a message
    Pub(publish::Pub),
    /// Watch messages
    Sub(subscribe::Sub),
    /// List, show and replay dead letters
    Dlq(dlq::Dlq),
    /// Print the CustomResourceDefinition
    #[command(after_help = "Example: routemq crd | kubectl apply --server-side -f -")]
    Crd,
    /// Print completions for a shell
    #[command(
        after_help = "Example: routemq completions bash > ~/.local/share/bash-completion/completions/routemq"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the version
    #[command(after_help = "Example: routemq version --output json")]
    Version {
        /// How it is printed
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}

/// How a command prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    #[default]
    Text,
    /// For programs: JSON
    Json,
}

pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    match execute(cli.command) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn execute(command: Command) -> Ended {
    match command {
        #[cfg(feature = "dev-broker")]
        Command::Dev(dev) => on_runtime(dev.execute()),
        Command::Run(run) => on_runtime(run.execute()),
        Command::Init(init) => init.execute(),
        Command::Check(check) => check.execute(),
        Command::Match(matching) => matching.execute(),
        Command::Pub(publish) => on_runtime(publish.execute()),
        Command::Sub(subscribe) => on_runtime(subscribe.execute()),
        Command::Dlq(dlq) => on_runtime(dlq.execute()),
        Command::Crd => print(&routemq_crds::crd_yaml()),
        Command::Completions { shell } => completions(shell),
        Command::Version { output } => version(output),
    }
}

/// Whether the system gives as many threads as a runtime takes, and one to wait for files and names: where there are
/// none, a runtime only panics.
fn threads() -> std::io::Result<()> {
    let wanted = std::thread::available_parallelism().map_or(1, usize::from) + 1;
    let (hold, waiting) = std::sync::mpsc::channel::<()>();
    let waiting = std::sync::Arc::new(std::sync::Mutex::new(waiting));
    let started: std::io::Result<Vec<_>> = (0..wanted)
        .map(|_| {
            let waiting = std::sync::Arc::clone(&waiting);
            // Each lives until all have been started.
            std::thread::Builder::new().spawn(move || drop(waiting.lock().map(|it| it.recv())))
        })
        .collect();
    drop(hold);
    started.map(|threads| threads.into_iter().for_each(|thread| drop(thread.join())))
}

/// Only commands that talk to something pay for a runtime.
fn on_runtime(work: impl Future<Output = Ended>) -> Ended {
    let failed = |error: std::io::Error| Failure::world("cannot start threads").because(&error);
    threads().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(failed)?;
    let ended = runtime.block_on(work);
    // A read of standard input may still be blocked: it must not keep the program.
    runtime.shutdown_background();
    ended
}

/// The environment, read and checked; every bad value is told.
fn settings() -> Result<Settings, Failure> {
    let environment = Environment::load().map_err(|error| Failure::input_from(&error))?;
    Settings::read(&environment).map_err(|bad| Failure::inputs(bad.iter().map(ToString::to_string)))
}

/// Writes to standard output; a reader that went away (`| head`) is no failure.
fn print(text: &str) -> Ended {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::world("cannot write to standard output").because(&error))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn completions(shell: clap_complete::Shell) -> Ended {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "routemq", &mut text);
    print(&String::from_utf8_lossy(&text))
}

fn version(output: Output) -> Ended {
    let version = env!("CARGO_PKG_VERSION");
    match output {
        Output::Text => print(&format!("routemq {version}\n")),
        Output::Json => {
            print(&format!("{}\n", serde_json::json!({"name": "routemq", "version": version})))
        }
    }
}
