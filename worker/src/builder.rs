//! A worker built in code: RouteMQ's engine with handlers, middleware and state of your own.

use std::{future::Future, net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use routemq_crds::document::{DocumentProblem, Documents};

use crate::{
    Engine, Outbox, Registry, Resources, Secrets,
    config::{BadSetting, Environment, EnvironmentError, Settings},
    handler::Handler,
    middleware::Middleware,
    run::{RunError, RunSettings},
    service::{LoadError, RunArguments, Service, ServiceError},
    worker::Summary,
};

/// A worker with custom code. What it runs are the `MqttRoute` documents that it is given; where a
/// spec leaves something out, the environment says it.
///
/// ```no_run
/// use routemq_worker::{Message, Next, Outcome, Worker, extract::{Params, State}, middleware::from_fn};
///
/// struct App { greeting: String }
///
/// async fn status(State(app): State<App>, Params(device): Params<String>) {
///     println!("{} {device}", app.greeting);
/// }
///
/// async fn require_token(message: Message, next: Next) -> Outcome {
///     next.run(message).await
/// }
///
/// #[tokio::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     Worker::from_env()?
///         .state(App { greeting: "hello".into() })
///         .middleware("require-token", from_fn(require_token))
///         .handler("device-status", status)
///         .run()
///         .await?;
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Worker {
    settings: Settings,
    registry: Registry,
    arguments: RunArguments,
    /// Whether the program's own arguments say what to run.
    of_program: bool,
}

/// The command line of a program that is a worker: that of `routemq run`, so that a pod starts both in the same way.
#[derive(Debug, Parser)]
#[command(about = "Runs MqttRoutes with the code of this program")]
struct Program {
    #[command(flatten)]
    arguments: RunArguments,
}

/// Why a worker does not run.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// `.env` cannot be used.
    #[error("the environment cannot be read")]
    Environment(#[from] EnvironmentError),
    /// Variables have values that cannot be used.
    #[error("{}", lines(.0))]
    Settings(Vec<BadSetting>),
    /// Documents are wrong.
    #[error("{}", lines(.0))]
    Documents(Vec<DocumentProblem>),
    /// No document was named, or none of them is an `MqttRoute`.
    #[error("no MqttRoute in {0}: name files or folders as arguments, or with Worker::documents")]
    Nothing(String),
    /// What the documents ask for is not there.
    #[error(transparent)]
    Run(#[from] RunError),
    /// It cannot be started.
    #[error(transparent)]
    Service(ServiceError),
    /// The runtime cannot listen to signals.
    #[error("cannot listen to signals")]
    Signals(#[from] std::io::Error),
}

impl From<ServiceError> for WorkerError {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Load(LoadError::Problems(problems)) => Self::Documents(problems),
            ServiceError::Load(LoadError::Nothing(paths)) => {
                let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
                Self::Nothing(paths.join(", "))
            }
            ServiceError::Run(error) => Self::Run(error),
            other => Self::Service(other),
        }
    }
}

impl Worker {
    /// A worker with the settings of the environment (over `.env`) and the program's arguments, which are those of `routemq run`
    /// (the word `run` itself may be left out). An argument that is wrong ends the program with the usage, when the worker is run.
    ///
    /// # Errors
    /// A variable, or a line of `.env`, that cannot be used.
    pub fn from_env() -> Result<Self, WorkerError> {
        let environment = Environment::load()?;
        let settings = Settings::read(&environment).map_err(WorkerError::Settings)?;
        Ok(Self { of_program: true, ..Self::new(settings) })
    }

    /// A worker with these settings and no documents.
    pub fn new(settings: Settings) -> Self {
        let scratch = std::env::var_os("ROUTEMQ_SCRATCH").map(PathBuf::from);
        let arguments = RunArguments { scratch, ..RunArguments::default() };
        Self { settings, registry: Registry::new(), arguments, of_program: false }
    }

    /// Runs these files and folders, instead of those named before or by the program's arguments.
    #[must_use]
    pub fn documents<P: Into<PathBuf>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.arguments.paths = paths.into_iter().map(Into::into).collect();
        self.of_program = false;
        self
    }

    /// Also looks for Secrets and ConfigMaps here: a folder each, a file per key.
    #[must_use]
    pub fn secrets(mut self, folder: impl Into<PathBuf>) -> Self {
        self.arguments.secrets = Some(folder.into());
        self
    }

    /// Serves metrics and probes here. Default: nowhere.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.arguments.listen = Some(address);
        self
    }

    /// Runs only this worker of each `MqttRoute`. Default: all `workerCount` of them.
    #[must_use]
    pub fn slot(mut self, slot: u32) -> Self {
        self.arguments.slot = Some(slot);
        self
    }

    /// Keeps a journal of crashes there (see [`Journal`](crate::journal::Journal)). Default: the folder that `ROUTEMQ_SCRATCH`
    /// names.
    #[must_use]
    pub fn scratch(mut self, folder: impl Into<PathBuf>) -> Self {
        self.arguments.scratch = Some(folder.into());
        self
    }

    /// How long a stop lets handlers finish. Default 30 s.
    #[must_use]
    pub fn drain(mut self, patience: Duration) -> Self {
        self.arguments.drain = Some(patience.as_secs());
        self
    }

    /// Shares `value` with every handler that asks for `State<T>`.
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.registry = self.registry.state(value);
        self
    }

    /// Registers a middleware for `custom: {name}`.
    #[must_use]
    pub fn middleware(mut self, name: impl Into<String>, middleware: impl Middleware) -> Self {
        self.registry = self.registry.middleware(name, middleware);
        self
    }

    /// Registers a handler for `custom: {name}`.
    #[must_use]
    pub fn handler<A: 'static>(
        mut self,
        name: impl Into<String>,
        handler: impl Handler<A>,
    ) -> Self {
        self.registry = self.registry.handler(name, handler);
        self
    }

    /// Takes everything that `registry` has, instead of what was registered before.
    #[must_use]
    pub fn with_registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// What is registered.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Runs until SIGTERM or Ctrl-C, then lets handlers finish, and tells what was done.
    ///
    /// # Errors
    /// What is wrong with the documents, or with what they need. A broker or database that is away is
    /// waited for instead.
    pub async fn run(self) -> Result<Vec<Summary>, WorkerError> {
        let signal = signal()?;
        self.run_until(signal).await
    }

    /// Runs until `stop` resolves.
    ///
    /// # Errors
    /// See [`Self::run`].
    pub async fn run_until(
        self,
        stop: impl Future<Output = ()>,
    ) -> Result<Vec<Summary>, WorkerError> {
        crate::logging::start(&self.settings.log);
        let Self { settings, registry, arguments, of_program } = self;
        let arguments = if of_program { arguments.below(program_arguments()) } else { arguments };
        let settings = RunSettings { registry, ..RunSettings::from(settings) };
        let options = arguments.service(settings).await?;
        let mut service = Service::start(options).await?;
        Box::pin(service.reload_until(stop)).await;
        tracing::info!("stopping: finishing what runs");
        Ok(service.stop().await)
    }
}

/// Ends the program where they are wrong, or ask for help.
fn program_arguments() -> RunArguments {
    let mut words: Vec<_> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == "run") {
        words.remove(1);
    }
    Program::parse_from(words).arguments
}

impl Engine {
    /// The engines of the `MqttRoute`s in `yaml`, with their outbox in memory: how a worker's own tests
    /// see its routes and its code together. `sql` handlers are refused, since there is no database.
    ///
    /// ```
    /// use routemq_worker::{Engine, Registry};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let yaml = r#"
    /// apiVersion: routemq.io/v1alpha1
    /// kind: MqttRoute
    /// metadata: {name: hello}
    /// spec:
    ///   routes:
    ///     - name: hello
    ///       topic: "hello/{name}"
    ///       handlers: [{publish: {topic: "greetings/{name}", payload: "'hello ' + params.name"}}]
    /// "#;
    /// let engine = &Engine::from_yaml(yaml, &Registry::new()).await?[0];
    /// let report = engine.dispatch(("hello/world", "")).await;
    /// assert_eq!(report.published[0].payload, "hello world");
    /// # Ok::<(), routemq_worker::WorkerError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Every problem of the documents, or of what they ask of the registry.
    pub async fn from_yaml(yaml: &str, registry: &Registry) -> Result<Vec<Self>, WorkerError> {
        let documents = Documents::parse("routes.yaml", yaml).map_err(WorkerError::Documents)?;
        let tables = documents.compile().map_err(WorkerError::Documents)?;
        let mut engines = Vec::new();
        for table in tables.into_iter().map(|table| table.object) {
            let name = format!("{}.{}", table.namespace, table.name);
            let secrets = Secrets::from_documents(&documents, &table.namespace);
            let resources = Resources::new(Outbox::memory()).with_secrets(secrets);
            let engine = Self::build(table, registry, resources).await;
            engines.push(engine.map_err(|problems| RunError::Problems { name, problems })?);
        }
        Ok(engines)
    }
}

/// SIGTERM and Ctrl-C; listened to from now on, so that none is missed.
#[cfg(unix)]
fn signal() -> Result<impl Future<Output = ()>, std::io::Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn signal() -> Result<impl Future<Output = ()>, std::io::Error> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

fn lines<T: ToString>(problems: &[T]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_takes_what_a_pod_gives_and_its_arguments_come_before_what_code_says() {
        let words = "worker /etc/routemq/table/route.json --secrets /etc/routemq/secrets --config-maps \
            /etc/routemq/config-maps --listen 0.0.0.0:9090 --drain 35";
        let program = Program::try_parse_from(words.split_whitespace()).unwrap().arguments;
        let code = RunArguments {
            paths: vec!["routes".into()],
            secrets: Some("elsewhere".into()),
            scratch: Some("/scratch".into()),
            ..RunArguments::default()
        };
        let both = code.below(program);
        assert_eq!(both.paths, [PathBuf::from("/etc/routemq/table/route.json")]);
        assert_eq!(both.secrets, Some("/etc/routemq/secrets".into()));
        assert_eq!((both.scratch, both.drain), (Some("/scratch".into()), Some(35)));
        assert_eq!(both.listen.map(|it| it.port()), Some(9090));
    }
}
