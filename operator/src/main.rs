//! The `routemq-operator` command.

use std::{io::IsTerminal as _, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Parser, Subcommand};
use futures::FutureExt;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::ResourceRequirements};
use kube::{
    Api, Client, Config,
    client::ClientBuilder,
    runtime::events::{Recorder, Reporter},
};
use prometheus_client::registry::Registry;
use routemq_crds::v1alpha1::{Broker, NameRef, Tls};
use routemq_operator::{
    backoff::Backoff,
    controller::{self, Context},
    fence::Fence,
    http,
    leader::{Elector, Leadership},
    metrics::Metrics,
    render::{self, RenderError},
    settings::Settings,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// The Lease of the election.
const LEASE: &str = "routemq-operator";

/// Turns each MqttRoute into one worker Deployment and what it needs.
#[derive(Debug, Parser)]
#[command(version, after_help = "Example: routemq-operator render -f route.yaml")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    defaults: Defaults,
    /// Namespaces to watch, separated by commas; empty means all.
    #[arg(long, env = "ROUTEMQ_WATCH_NAMESPACES", value_delimiter = ',', global = true)]
    watch_namespaces: Vec<String>,
    /// The namespace of the leader election's Lease.
    #[arg(long, env = "ROUTEMQ_NAMESPACE", default_value = "default")]
    namespace: String,
    /// Unique to this process.
    #[arg(long, env = "ROUTEMQ_POD_NAME", default_value = "routemq-operator")]
    identity: String,
    /// Where metrics and probes are served.
    #[arg(long, env = "ROUTEMQ_LISTEN", default_value = "0.0.0.0:9090")]
    listen: SocketAddr,
}

/// What MqttRoutes that say nothing get.
#[derive(Debug, clap::Args)]
struct Defaults {
    /// The worker image.
    #[arg(long, env = "ROUTEMQ_WORKER_IMAGE", default_value = concat!("ghcr.io/ardzz/routemq:", env!("CARGO_PKG_VERSION")), global = true)]
    worker_image: String,
    /// The worker container's resources, as JSON.
    #[arg(long, env = "ROUTEMQ_WORKER_RESOURCES", default_value = "{}", value_parser = resources, global = true)]
    worker_resources: ResourceRequirements,
    /// The broker's URL.
    #[arg(long, env = "ROUTEMQ_BROKER_URL", global = true)]
    broker_url: Option<String>,
    /// The Secret with `username` and `password`, in each MqttRoute's namespace.
    #[arg(long, env = "ROUTEMQ_BROKER_CREDENTIALS_SECRET", global = true)]
    broker_credentials_secret: Option<String>,
    /// The Secret with `ca.crt`, in each MqttRoute's namespace.
    #[arg(long, env = "ROUTEMQ_BROKER_CA_SECRET", global = true)]
    broker_ca_secret: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints the objects that the operator would make, without a cluster.
    #[command(
        after_help = "Example: routemq-operator render -f examples/quickstart | kubectl apply --dry-run=server -f -"
    )]
    Render {
        /// A file or folder of MqttRoutes.
        #[arg(short, long, required = true)]
        file: Vec<PathBuf>,
    },
}

fn resources(text: &str) -> Result<ResourceRequirements, serde_json::Error> {
    serde_json::from_str(text)
}

impl Defaults {
    fn settings(&self) -> Settings {
        let name = |name: &Option<String>| {
            name.clone().filter(|name| !name.is_empty()).map(|name| NameRef { name })
        };
        let ca = name(&self.broker_ca_secret);
        Settings {
            worker_image: self.worker_image.clone(),
            worker_resources: self.worker_resources.clone(),
            broker: Broker {
                url: self.broker_url.clone().filter(|url| !url.is_empty()),
                credentials_secret_ref: name(&self.broker_credentials_secret),
                tls: ca.map(|ca| Tls { ca_secret_ref: Some(ca), client_cert_secret_ref: None }),
            },
        }
    }
}

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
enum MainError {
    #[error("no way to the API server: neither a service account nor a kubeconfig works")]
    Config(#[from] kube::config::InferConfigError),
    #[error("cannot make a client of the API server")]
    Client(#[from] kube::Error),
    #[error("cannot serve metrics and probes")]
    Listen(#[from] std::io::Error),
    #[error(transparent)]
    Render(#[from] RenderError),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("LOG_LEVEL")
                .unwrap_or_else(|_| "info".into()),
        )
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(MainError::Render(error)) => {
            eprintln!("{error}");
            ExitCode::from(1)
        }
        Err(error) => {
            let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| {
                error.source()
            });
            eprintln!(
                "routemq-operator: {}",
                causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
            );
            ExitCode::from(3)
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), MainError> {
    let settings = arguments.defaults.settings();
    match arguments.command {
        Some(Command::Render { file }) => {
            print!("{}", render::render(&file, &settings)?);
            Ok(())
        }
        None => operate(arguments, settings).await,
    }
}

async fn operate(arguments: Arguments, settings: Settings) -> Result<(), MainError> {
    // The chart passes an empty string for "all".
    let namespaces: Vec<_> =
        arguments.watch_namespaces.iter().filter(|name| !name.is_empty()).cloned().collect();
    let config = Config::infer().await?;
    let leadership = Leadership::default();
    let plain = Client::try_from(config.clone())?;
    let fenced = ClientBuilder::try_from(config)?.with_layer(&Fence(leadership.clone())).build();
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let reporter = Reporter {
        controller: "routemq-operator".to_owned(),
        instance: Some(arguments.identity.clone()),
    };
    let context = Context {
        recorder: Recorder::new(fenced.clone(), reporter),
        client: fenced,
        settings: Arc::new(settings),
        metrics: metrics.clone(),
        backoff: Backoff::default(),
    };
    let elector = Elector::new(
        plain.clone(),
        &arguments.namespace,
        LEASE,
        arguments.identity.clone(),
        leadership,
    );
    let (leads, leading) = watch::channel(false);
    tokio::select! {
        served = http::serve(arguments.listen, Arc::new(registry)) => served?,
        () = elector.run(leads) => {}
        () = lead(context, &namespaces, leading, &metrics) => {}
        () = stop_signal() => {}
    }
    let leases: Api<Lease> = Api::namespaced(plain, &arguments.namespace);
    if let Err(error) = Elector::release(&leases, LEASE, &arguments.identity).await {
        tracing::debug!(%error, "lease not released");
    }
    Ok(())
}

/// Runs the controller while this process leads; ends when it has led and no longer does, so that it starts afresh.
async fn lead(
    context: Context,
    namespaces: &[String],
    mut leading: watch::Receiver<bool>,
    metrics: &Metrics,
) {
    if leading.wait_for(|leads| *leads).await.is_err() {
        return;
    }
    metrics.leads(true);
    let mut lost = leading.clone();
    let lost = async move { drop(lost.wait_for(|leads| !*leads).await) }.boxed().shared();
    controller::run(context, namespaces, lost).await;
    metrics.leads(false);
    tracing::warn!("leadership lost: stopping, to start afresh");
}

async fn stop_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
