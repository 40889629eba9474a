//! A namespace of its own for each test, an operator for all, and words to wait in.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use routemq_crds::v1alpha1::MqttRoute;
use routemq_tests::{
    Audit, ControlPlane, Directory, Launch, Process, ensure, eventually, folder, free_port,
    operator_binary,
};
use serde_json::json;

/// How long the operator may take for anything.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// The service account that the chart makes for the operator.
pub(crate) const ACCOUNT: &str = "routemq-operator";

/// A namespace with an operator at work.
pub(crate) struct Bed {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) namespace: String,
    pub(crate) client: Client,
    /// The kubeconfig of an operator of this namespace's own.
    rights: OnceLock<PathBuf>,
}

impl Bed {
    /// With the operator that all tests of this process share.
    pub(crate) async fn new() -> Self {
        let bed = Self::without_operator().await;
        assert!(shared_operator().port > 0);
        bed
    }

    /// For tests that start operators of their own.
    pub(crate) async fn without_operator() -> Self {
        let plane = ControlPlane::shared();
        let namespace = format!("t-{:08x}", fastrand::u32(..));
        plane.kubectl(&["create", "namespace", &namespace]).unwrap();
        Self { plane, namespace, client: client(plane).await, rights: OnceLock::new() }
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let namespaced = ["--namespace", &self.namespace];
        self.plane.kubectl(&[&namespaced, arguments].concat())
    }

    #[allow(dead_code, reason = "only the admission suite sends documents as they stand")]
    pub(crate) fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let namespaced = ["--namespace", &self.namespace];
        self.plane.kubectl_with(&[&namespaced, arguments].concat(), input)
    }

    pub(crate) fn apply(&self, yaml: &str) {
        self.plane.apply(&self.namespace, yaml).unwrap();
    }

    /// What the API server was asked, by its own record.
    #[allow(dead_code, reason = "not every suite reads it")]
    pub(crate) fn audit(&self) -> Audit {
        self.plane.audit().expect("the control plane is ours")
    }

    pub(crate) fn routes(&self) -> Api<MqttRoute> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Waits until a condition of the object's *current* generation is as wanted; returns it.
    pub(crate) async fn condition(
        &self,
        name: &str,
        kind: &str,
        wanted: (&str, &str),
    ) -> Condition {
        self.condition_within(SOON, name, kind, wanted).await
    }

    /// The same, with another patience.
    pub(crate) async fn condition_within(
        &self,
        patience: Duration,
        name: &str,
        kind: &str,
        wanted: (&str, &str),
    ) -> Condition {
        eventually(&format!("{kind} of {name} is {wanted:?}"), patience, async || {
            let object = self.routes().get(name).await.map_err(|e| e.to_string())?;
            let status = object.status.unwrap_or_default();
            let found = status.conditions.into_iter().find(|condition| condition.type_ == kind);
            let found = found.ok_or("no such condition yet")?;
            let current = found.observed_generation == object.metadata.generation;
            ensure(current && (found.status.as_str(), found.reason.as_str()) == wanted, || {
                format!("{found:?}")
            })?;
            Ok::<_, String>(found)
        })
        .await
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

    /// As a worker would: holds the slot and reports.
    pub(crate) fn report(&self, slot: &str, pod: &str, told: &serde_json::Value) {
        report(self, slot, pod, told);
    }

    /// The names of the pods of the route `devices`, once there are that many (pending: no node runs here).
    pub(crate) async fn pods(&self, count: usize) -> Vec<String> {
        let query = [
            "get",
            "pods",
            "--selector",
            "routemq.io/route=devices",
            "--field-selector",
            "status.phase!=Failed",
            "--output",
            "jsonpath={range .items[*]}{.metadata.name}{\"\\n\"}{end}",
        ];
        let all = |names: &str| names.lines().count() == count;
        let names = self.until(&format!("{count} worker pods are there"), &query, all).await;
        names.lines().map(str::to_owned).collect()
    }

    /// As a kubelet would: the pod runs, and its probe succeeds.
    pub(crate) fn run_pod(&self, pod: &str) {
        let patch =
            r#"{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}"#;
        let pod = format!("pod/{pod}");
        self.kubectl(&["patch", &pod, "--subresource=status", "--type=merge", "--patch", patch])
            .unwrap();
    }

    /// As a kubelet and a worker would, for the only worker of the route `devices` of [`route`]: it is ready, with this table.
    pub(crate) fn serve(&self, pod: &str, slot: &str, generation: i64) {
        let revision = self.field("configmap/devices-worker", ".data.route\\.json");
        let table: serde_json::Value = serde_json::from_str(&revision).unwrap();
        let revision = &table["metadata"]["annotations"]["routemq.io/revision"];
        let filters = serde_json::json!({"devices/+/status": {"code": 1}});
        let report = serde_json::json!({"generation": generation, "revision": revision, "connected": true, "filters": filters});
        self.run_pod(pod);
        self.report(slot, pod, &report);
    }

    /// Events of the namespace with this reason.
    pub(crate) fn events(&self, reason: &str) -> String {
        let reason = format!("reason={reason}");
        let query = "jsonpath={range .items[*]}{.regarding.name}{.involvedObject.name}: {.note}{.message}{\"\\n\"}{end}";
        self.kubectl(&["get", "events", "--field-selector", &reason, "--output", query]).unwrap()
    }

    /// `kubectl get … -o jsonpath`.
    pub(crate) fn field(&self, object: &str, path: &str) -> String {
        self.kubectl(&["get", object, "--output", &format!("jsonpath={{{path}}}")]).unwrap()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for what in ["mr,deployments,leases,pdb,roles", "events"] {
                let all = self.kubectl(&["get", what, "--output", "wide"]);
                eprintln!(
                    "--- {what} of {}\n{}",
                    self.namespace,
                    all.unwrap_or_else(|error| error)
                );
            }
            eprintln!("{}", self.kubectl(&["get", "mr", "--output", "yaml"]).unwrap_or_default());
        }
        drop(self.plane.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]));
    }
}

async fn client(plane: &ControlPlane) -> Client {
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig()).unwrap();
    let config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

/// An operator process, with the rights that the chart gives it and no more.
pub(crate) struct Operator {
    #[allow(dead_code, reason = "not every suite sends signals")]
    pub(crate) process: Process,
    /// Where its log is; goes with it.
    _directory: Directory,
    /// Its endpoints.
    pub(crate) port: u16,
}

/// Whom the API server knows the operator of the chart as.
#[allow(dead_code, reason = "not every suite reads the audit log")]
pub(crate) const OPERATOR: &str = "system:serviceaccount:routemq:routemq-operator";

impl Operator {
    /// For every namespace.
    pub(crate) fn start(identity: &str) -> Self {
        let plane = ControlPlane::shared();
        Self::launch(identity, "routemq", &plane.kubeconfig_of("routemq", ACCOUNT), "")
    }

    /// With an election of its own, for the bed's namespace only.
    #[allow(dead_code, reason = "only the leadership suite elects")]
    pub(crate) fn start_in(bed: &Bed, identity: &str) -> Self {
        Self::of_namespaces(bed, identity, &[&bed.namespace])
    }

    /// With an election of its own in the bed's namespace, for some namespaces.
    #[allow(dead_code, reason = "the operator suite serves all namespaces")]
    pub(crate) fn of_namespaces(bed: &Bed, identity: &str, watched: &[&str]) -> Self {
        let watched = watched.join(",");
        let kubeconfig = bed.rights.get_or_init(|| bed.install_chart(&watched));
        Self::launch(identity, &bed.namespace, kubeconfig, &watched)
    }

    /// With an election of its own, for the bed's namespace only, as an account of that namespace that may do everything.
    #[allow(dead_code, reason = "only where it matters who wrote what")]
    pub(crate) fn start_as(bed: &Bed, account: &str) -> Self {
        bed.kubectl(&["create", "serviceaccount", account]).unwrap();
        let binding = format!("--serviceaccount={}:{account}", bed.namespace);
        let name = format!("{}-{account}", bed.namespace);
        let role = "--clusterrole=cluster-admin";
        bed.plane.kubectl(&["create", "clusterrolebinding", &name, role, &binding]).unwrap();
        let kubeconfig = bed.plane.kubeconfig_of(&bed.namespace, account);
        Self::launch(account, &bed.namespace, &kubeconfig, &bed.namespace)
    }

    /// One number of its metrics; 0 where it is not there yet.
    #[allow(dead_code, reason = "not every suite looks at metrics")]
    pub(crate) async fn metric(&self, series: &str) -> Result<f64, String> {
        let answer = self.get("/metrics").await?;
        let line = answer.body.lines().find_map(|line| line.strip_prefix(series));
        line.map_or(Ok(0.0), |value| value.trim().parse().map_err(|_| format!("{series}{value}")))
    }

    /// What it serves.
    #[allow(dead_code, reason = "not every suite looks at probes")]
    pub(crate) async fn get(&self, path: &str) -> Result<routemq_tests::Answer, String> {
        routemq_tests::get(([127, 0, 0, 1], self.port).into(), path).await
    }

    fn launch(identity: &str, namespace: &str, kubeconfig: &Path, watched: &str) -> Self {
        let directory = Directory::new("operator");
        let port = free_port();
        let launch = Launch::new(operator_binary())
            .env("KUBECONFIG", kubeconfig)
            .env("ROUTEMQ_NAMESPACE", namespace)
            .env("ROUTEMQ_WATCH_NAMESPACES", watched)
            .env("ROUTEMQ_POD_NAME", identity)
            .env("ROUTEMQ_BROKER_URL", "mqtt://mosquitto.mqtt.svc:1883")
            .env("ROUTEMQ_WORKER_IMAGE", "routemq:test")
            .args(["--listen", &format!("127.0.0.1:{port}")]);
        let process = launch.start(&directory.path().join("operator.log"));
        Self { process, _directory: directory, port }
    }
}

impl Bed {
    /// The chart in this namespace, without pods; a kubeconfig of the operator's account.
    fn install_chart(&self, watched: &str) -> PathBuf {
        let chart = folder("charts/routemq");
        let values =
            format!("crds.enabled=false,operator.replicas=0,watchNamespaces={{{watched}}}");
        let options = ["--namespace", &self.namespace, "--set", &values];
        self.plane
            .helm(&[&["install", "routemq", &*chart.to_string_lossy()], &options[..]].concat())
            .unwrap();
        self.plane.kubeconfig_of(&self.namespace, ACCOUNT)
    }
}

/// The operator of all tests of this process.
pub(crate) fn shared_operator() -> &'static Operator {
    static SHARED: OnceLock<Operator> = OnceLock::new();
    SHARED.get_or_init(|| Operator::start("shared"))
}

/// A route that refers to nothing but the default broker.
pub(crate) fn route(name: &str, workers: u32) -> String {
    format!(
        "apiVersion: routemq.io/v1alpha1
kind: MqttRoute
metadata: {{name: {name}}}
spec:
  workerCount: {workers}
  routes:
    - name: status
      topic: devices/{{id}}/status
      handlers: [{{log: {{}}}}]
"
    )
}

/// As a worker would: holds the slot (or has given it up) and reports.
pub(crate) fn report(bed: &Bed, slot: &str, pod: &str, report: &serde_json::Value) {
    let patch = json!({
        "spec": {"holderIdentity": pod},
        "metadata": {"annotations": {"routemq.io/report": report.to_string()}},
    });
    bed.kubectl(&["patch", slot, "--type=merge", "--patch", &patch.to_string()]).unwrap();
}
