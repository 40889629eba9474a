//! A namespace of its own for each test, with a table, a login to the database, and words to wait in.

use std::time::{Duration, Instant};

use routemq_tests::{Client, ClientConfig, Request, Rows, ensure, eventually};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::cluster::Cluster;

/// How long pods may take for anything.
pub(crate) const SOON: Duration = Duration::from_secs(90);

/// The service account of the workers of the route `devices`.
const WORKER: &str = "devices-worker";

/// Held for reading by tests that need the operator, for writing by those that stop it.
static OPERATOR: RwLock<()> = RwLock::const_new(());

/// A namespace under Pod Security `restricted`.
pub(crate) struct Bed {
    pub(crate) cluster: &'static Cluster,
    pub(crate) namespace: String,
    pub(crate) rows: Rows,
    _operator: Operator,
}

#[expect(dead_code, reason = "held, never looked at")]
enum Operator {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

impl Bed {
    /// With an operator that keeps running.
    pub(crate) async fn new() -> Self {
        Self::with(Operator::Shared(OPERATOR.read().await)).await
    }

    /// While no other test runs.
    pub(crate) async fn alone() -> Self {
        Self::with(Operator::Alone(OPERATOR.write().await)).await
    }

    async fn with(operator: Operator) -> Self {
        let cluster = Cluster::shared();
        let namespace = format!("e2e-{:08x}", fastrand::u32(..));
        let rows = Rows::mysql(&cluster.database_url());
        let bed = Self { cluster, namespace, rows, _operator: operator };
        bed.prepare().await;
        bed
    }

    async fn prepare(&self) {
        let plane = &self.cluster.plane;
        plane.kubectl(&["create", "namespace", &self.namespace]).unwrap();
        let label = "pod-security.kubernetes.io/enforce=restricted";
        plane.kubectl(&["label", "namespace", &self.namespace, label]).unwrap();
        let url = "--from-literal=url=mysql://routemq:change-me@mariadb.fleet.svc/fleet";
        self.kubectl(&["create", "secret", "generic", "telemetry-db", url]).unwrap();
        let table = format!(
            "CREATE TABLE {} (id BIGINT NOT NULL, device VARCHAR(50) NOT NULL)",
            self.table()
        );
        eventually("the database is reached from outside", SOON, async || {
            self.rows.try_execute(&table).await
        })
        .await;
    }

    /// A route named `devices`: what devices of this namespace report becomes rows of its table, a log line each.
    pub(crate) fn route(&self, workers: u32) -> String {
        let (namespace, table) = (&self.namespace, self.table());
        format!(
            "apiVersion: routemq.io/v1alpha1
kind: MqttRoute
metadata: {{name: devices}}
spec:
  workerCount: {workers}
  database: {{urlSecretRef: {{name: telemetry-db, key: url}}}}
  routes:
    - name: readings
      topic: \"{namespace}/{{device}}/reading\"
      middleware: [{{log: {{}}}}]
      handlers: [{{sql: {{table: {table}, columns: {{id: payload.id, device: params.device}}}}}}]
"
        )
    }

    /// Where its rows go.
    fn table(&self) -> String {
        self.namespace.replace('-', "_")
    }

    /// Where device `number` of this namespace reports.
    pub(crate) fn topic(&self, number: u64) -> String {
        format!("{}/d-{number}/reading", self.namespace)
    }

    /// Applies the route and waits until it is Ready; how long that took.
    pub(crate) fn apply_and_wait(&self, workers: u32) -> Duration {
        let applied = Instant::now();
        self.apply(&self.route(workers));
        self.wait_until_ready();
        applied.elapsed()
    }

    pub(crate) fn wait_until_ready(&self) {
        self.kubectl(&["wait", "--for=condition=Ready", "mqttroute/devices", "--timeout=90s"])
            .unwrap();
    }

    /// `kubectl scale` of the route.
    pub(crate) fn scale(&self, workers: u32) {
        let replicas = format!("--replicas={workers}");
        self.kubectl(&["scale", "mqttroute/devices", &replicas]).unwrap();
    }

    /// `kubectl patch` of the route.
    pub(crate) fn patch(&self, change: &str) {
        self.kubectl(&["patch", "mqttroute/devices", "--type=merge", "--patch", change]).unwrap();
    }

    /// Identity and restarts of each worker pod.
    pub(crate) fn pods(&self) -> String {
        let query = "jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";
        let selector = ["--selector", "routemq.io/route=devices"];
        self.kubectl(&[&["get", "pods", "--output", query], &selector[..]].concat()).unwrap()
    }

    /// A client of the broker, outside the cluster.
    pub(crate) async fn client(&self) -> Client {
        let id = format!("publisher-{}-{:08x}", self.namespace, fastrand::u32(..));
        Client::connect(self.cluster.broker(), ClientConfig::new(id)).await
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let namespaced = ["--namespace", &self.namespace];
        self.cluster.plane.kubectl(&[&namespaced, arguments].concat())
    }

    pub(crate) fn apply(&self, yaml: &str) {
        self.cluster.plane.apply(&self.namespace, yaml).unwrap();
    }

    /// `kubectl get … -o jsonpath`.
    pub(crate) fn field(&self, object: &str, path: &str) -> String {
        self.kubectl(&["get", object, "--output", &format!("jsonpath={{{path}}}")]).unwrap()
    }

    /// Waits until kubectl answers what `wanted` accepts.
    pub(crate) async fn until(
        &self,
        what: &str,
        arguments: &[&str],
        wanted: impl Fn(&str) -> bool,
    ) -> String {
        eventually(what, SOON, async || {
            let answer = self.kubectl(arguments)?;
            ensure(wanted(&answer), || answer.clone())?;
            Ok::<_, String>(answer)
        })
        .await
    }

    /// Names of the worker pods that are not on their way out.
    pub(crate) fn workers(&self) -> Vec<String> {
        let query = "go-template={{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}}{{\"\\n\"}}{{end}}{{end}}";
        let selector = ["--selector", "routemq.io/route=devices"];
        let pods = self.kubectl(&[&["get", "pods", "--output", query], &selector[..]].concat());
        pods.unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Waits until every number below `count` is in the table; how many rows there are beyond one each.
    pub(crate) async fn all_stored(&self, count: u64, patience: Duration) -> i64 {
        let count = i64::try_from(count).expect("a test sends less");
        eventually("every acknowledged message is a row", patience, async || {
            let distinct = self.count("COUNT(DISTINCT id)").await;
            ensure(distinct == count, || format!("{distinct} of {count}"))
        })
        .await;
        self.count("COUNT(*)").await - count
    }

    async fn count(&self, what: &str) -> i64 {
        self.rows.count(&format!("SELECT {what} FROM {}", self.table())).await
    }

    /// What the API server has a record of; `None` where it is not ours to read, which is said.
    pub(crate) fn requests_of_workers(&self) -> Option<Vec<Request>> {
        let requests = self.cluster.plane.requests_of(&self.namespace, WORKER);
        if requests.is_none() {
            eprintln!(
                "skipped: what was asked for, because the audit log of this cluster is not ours to read"
            );
        }
        requests
    }

    /// Whoever has the rights that he uses is refused nothing: neither the workers of this namespace nor the operator.
    fn refused(&self) -> Vec<Request> {
        let plane = &self.cluster.plane;
        let mut requests = plane.requests_of("routemq", "routemq-operator").unwrap_or_default();
        // Once a route is gone, so are its rights, while its pods still come to their end.
        if self.kubectl(&["get", "mqttroute/devices"]).is_ok() {
            requests.extend(plane.requests_of(&self.namespace, WORKER).unwrap_or_default());
        }
        let there = self.kubectl(&["get", "leases", "--output", "name"]).unwrap_or_default();
        // The mounted table names a slot for some seconds after it is gone, and with it the right to read it.
        let is_gone = |request: &Request| {
            request.resource == "leases"
                && request.verb == "get"
                && request.namespace == self.namespace
                && !there.lines().any(|lease| lease.ends_with(&format!("/{}", request.name)))
        };
        requests.into_iter().filter(|request| request.refused && !is_gone(request)).collect()
    }

    fn tell(&self) {
        let show = |arguments: &[&str]| {
            let answer = self.kubectl(arguments).unwrap_or_else(|error| error);
            eprintln!("--- kubectl {} in {}\n{answer}", arguments.join(" "), self.namespace);
        };
        show(&["get", "mqttroutes,deployments,pods,leases", "--output", "wide"]);
        show(&["describe", "mqttroutes"]);
        show(&["get", "leases", "--output", "yaml"]);
        show(&["get", "events", "--sort-by=.lastTimestamp"]);
        for pod in self.workers() {
            show(&["logs", &pod, "--tail=40"]);
            show(&["logs", &pod, "--tail=20", "--previous"]);
        }
        let operator = self.cluster.plane.kubectl(&[
            "--namespace",
            "routemq",
            "logs",
            "deployment/routemq-operator",
            "--tail=60",
        ]);
        eprintln!("--- the operator's log\n{}", operator.unwrap_or_else(|error| error));
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let refused = self.refused();
        if std::thread::panicking() {
            self.tell();
        }
        drop(self.cluster.plane.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]));
        assert!(std::thread::panicking() || refused.is_empty(), "refused: {refused:#?}");
    }
}
