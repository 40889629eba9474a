//! The `routemq-operator` command.

use std::{
    hash::{BuildHasher as _, RandomState},
    io::IsTerminal as _,
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

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
    controller,
    fence::{Fence, Writes},
    http,
    leader::{Elector, Leadership, Pulse},
    metrics::Metrics,
    reconcile::Context,
    render::{self, RenderError},
    settings::Settings,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// It gives back what an informer's lists took; glibc keeps it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The Lease of the election.
const LEASE: &str = "routemq-operator";
/// How long a stop waits for the reconciles that run; below the 30 s that Kubernetes grants.
const GRACE: Duration = Duration::from_secs(15);
/// How long giving the Lease up may take.
const RELEASE: Duration = Duration::from_secs(3);
/// How long a connection may be silent while an answer is awaited; the server ends quiet watches before that.
const SILENCE: Duration = Duration::from_mins(1);

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
    /// The name of this operator's pod: in Events, and, with a random part, in the election's Lease.
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
    /// Secrets for pulling the worker image, separated by commas, in each MqttRoute's namespace.
    #[arg(long, env = "ROUTEMQ_WORKER_PULL_SECRETS", value_delimiter = ',', global = true)]
    worker_pull_secrets: Vec<String>,
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
            worker_pull_secrets: named(&self.worker_pull_secrets),
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
    let namespaces = named(&arguments.watch_namespaces);
    let config = bounded(Config::infer().await?);
    let (leadership, writes, pulse) = (Leadership::default(), Writes::default(), Pulse::default());
    let plain = Client::try_from(config.clone())?;
    let fence = Fence::new(leadership.clone(), writes.clone());
    let fenced = ClientBuilder::try_from(config)?.with_layer(&fence).build();
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let context = context(fenced, settings, &metrics, &arguments.identity);
    let identity = unique(&arguments.identity);
    let elector = Elector::new(
        plain.clone(),
        &arguments.namespace,
        LEASE,
        identity.clone(),
        leadership.clone(),
    );
    let (leads, leading) = watch::channel(false);
    let follow = leadership.follow(|now| {
        metrics.leads(now);
        tracing::info!(leader = now, identity, "leadership changed");
        leads.send_replace(now);
    });
    tokio::select! {
        served = http::serve(arguments.listen, Arc::new(registry), pulse.clone()) => served?,
        () = elector.run(pulse) => {}
        () = follow => {}
        () = lead(context, &namespaces, leading) => {}
    }
    release(plain, &arguments.namespace, &identity, &writes).await;
    Ok(())
}

fn context(client: Client, settings: Settings, metrics: &Metrics, name: &str) -> Context {
    let reporter =
        Reporter { controller: "routemq-operator".to_owned(), instance: Some(name.to_owned()) };
    Context::new(client.clone(), settings, Recorder::new(client, reporter), metrics.clone())
}

/// The chart passes an empty string for none.
fn named(list: &[String]) -> Vec<String> {
    list.iter().filter(|name| !name.is_empty()).cloned().collect()
}

/// A connection that hangs is noticed; what a whole request may take, [`Fence`] and the election bound.
fn bounded(mut config: Config) -> Config {
    config.connect_timeout = Some(Duration::from_secs(5));
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
    config.write_timeout = Some(Duration::from_secs(10));
    config
}

/// A restarted container keeps its pod's name, and must not take its predecessor's Lease for its own.
fn unique(name: &str) -> String {
    format!("{name}_{:016x}", RandomState::new().hash_one(name))
}

/// Runs the controller while this process leads, each time afresh, until the signal to stop; then ends what runs.
async fn lead(context: Context, namespaces: &[String], mut leading: watch::Receiver<bool>) {
    let stop = stop_signal().boxed().shared();
    loop {
        tokio::select! {
            biased;
            () = stop.clone() => return,
            led = leading.wait_for(|leads| *leads) => if led.is_err() { return },
        }
        let mut lost = leading.clone();
        let lost = async move { drop(lost.wait_for(|leads| !*leads).await) };
        let over = futures::future::select(lost.boxed(), stop.clone()).map(drop);
        let overtime = async {
            stop.clone().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            () = controller::run(context.afresh(), namespaces, over.boxed().shared()) => {}
            () = overtime => tracing::warn!("a reconcile did not end in time: stopping without it"),
        }
    }
}

/// Gives the Lease up, but where a write may still be on its way: then the next waits until it runs out.
async fn release(client: Client, namespace: &str, identity: &str, writes: &Writes) {
    if !writes.are_over() {
        tracing::info!("a write was not answered: the lease is left to run out");
        return;
    }
    let leases: Api<Lease> = Api::namespaced(client, namespace);
    match tokio::time::timeout(RELEASE, Elector::release(&leases, LEASE, identity)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::info!(%error, "lease not released"),
        Err(_) => tracing::info!("lease not released: no answer in time"),
    }
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
