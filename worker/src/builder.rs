//! A worker built in code: RouteMQ's engine with handlers, middleware and state of your own.

use std::{future::Future, path::PathBuf, time::Duration};

use routemq_crds::document::{DocumentProblem, Documents};

use crate::{
    Engine, Outbox, Registry, Resources, Secrets,
    config::{BadSetting, Environment, EnvironmentError, Settings},
    handler::Handler,
    journal::Journal,
    middleware::Middleware,
    run::{Loaded, RunError, RunSettings, run},
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
    paths: Vec<PathBuf>,
    secrets: Option<PathBuf>,
    slot: Option<u32>,
    drain: Duration,
    scratch: Option<PathBuf>,
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
    /// It cannot be started.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The runtime cannot listen to signals.
    #[error("cannot listen to signals")]
    Signals(#[from] std::io::Error),
}

impl Worker {
    /// A worker with the settings of the environment (over `.env`), whose documents are the
    /// program's arguments.
    ///
    /// # Errors
    /// A variable, or a line of `.env`, that cannot be used.
    pub fn from_env() -> Result<Self, WorkerError> {
        let environment = Environment::load()?;
        let settings = Settings::read(&environment).map_err(WorkerError::Settings)?;
        let worker = Self::new(settings);
        Ok(worker.documents(std::env::args_os().skip(1).map(PathBuf::from)))
    }

    /// A worker with these settings and no documents.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            registry: Registry::new(),
            paths: Vec::new(),
            secrets: None,
            slot: None,
            drain: Duration::from_secs(30),
            scratch: std::env::var_os("ROUTEMQ_SCRATCH").map(PathBuf::from),
        }
    }

    /// Runs these files and folders, instead of those named before.
    #[must_use]
    pub fn documents<P: Into<PathBuf>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.paths = paths.into_iter().map(Into::into).collect();
        self
    }

    /// Also looks for Secrets and ConfigMaps here: a folder each, a file per key.
    #[must_use]
    pub fn secrets(mut self, folder: impl Into<PathBuf>) -> Self {
        self.secrets = Some(folder.into());
        self
    }

    /// Runs only this worker of each `MqttRoute`. Default: all `workerCount` of them.
    #[must_use]
    pub fn slot(mut self, slot: u32) -> Self {
        self.slot = Some(slot);
        self
    }

    /// Keeps a journal of crashes there (see [`Journal`]). Default: the folder that `ROUTEMQ_SCRATCH` names.
    #[must_use]
    pub fn scratch(mut self, folder: impl Into<PathBuf>) -> Self {
        self.scratch = Some(folder.into());
        self
    }

    /// How long a stop lets handlers finish. Default 30 s.
    #[must_use]
    pub fn drain(mut self, patience: Duration) -> Self {
        self.drain = patience;
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
        let loaded = self.load()?;
        Ok(run(loaded, self.into_settings(), stop).await?)
    }

    fn load(&self) -> Result<Vec<Loaded>, WorkerError> {
        let documents = Documents::check(&self.paths).map_err(WorkerError::Documents)?;
        let tables = documents.compile().map_err(WorkerError::Documents)?;
        if tables.is_empty() {
            let paths: Vec<_> = self.paths.iter().map(|path| path.display().to_string()).collect();
            return Err(WorkerError::Nothing(paths.join(", ")));
        }
        let pairs = tables.into_iter().zip(&documents.routes);
        let loaded = pairs.map(|(table, route)| Loaded {
            secrets: self.secrets_of(&documents, &table.object.namespace),
            object: route.object.clone(),
            table: table.object,
        });
        Ok(loaded.collect())
    }

    fn secrets_of(&self, documents: &Documents, namespace: &str) -> Secrets {
        let secrets = Secrets::from_documents(documents, namespace);
        match &self.secrets {
            Some(folder) => secrets.with_folder(folder),
            None => secrets,
        }
    }

    fn into_settings(self) -> RunSettings {
        RunSettings {
            slot: self.slot,
            drain: self.drain,
            registry: self.registry,
            journal: self.scratch.as_deref().map(Journal::open_or_go_without).unwrap_or_default(),
            ..RunSettings::from(self.settings)
        }
    }
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
