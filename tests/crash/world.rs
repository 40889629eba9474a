//! A namespace with a route in it, a controller on it, and what came out.

use std::time::Duration;

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::events::{Recorder, Reporter},
};
use prometheus_client::registry::Registry;
use routemq_crds::v1alpha1::Broker;
use routemq_operator::{controller, metrics::Metrics, reconcile::Context, settings::Settings};
use routemq_tests::{ControlPlane, ensure, eventually};
use serde_json::Value;

/// How long a controller may take to bring a route about.
const SOON: Duration = Duration::from_mins(2);

/// A namespace of its own.
pub(crate) struct World {
    plane: &'static ControlPlane,
    pub(crate) namespace: String,
}

impl World {
    pub(crate) fn new() -> Self {
        let plane = ControlPlane::shared();
        let namespace = format!("c-{:08x}", fastrand::u32(..));
        plane.kubectl(&["create", "namespace", &namespace]).unwrap();
        Self { plane, namespace }
    }

    pub(crate) fn apply(&self, workers: u32, topic: &str) {
        let yaml = format!(
            "apiVersion: routemq.io/v1alpha1
kind: MqttRoute
metadata: {{name: devices}}
spec:
  workerCount: {workers}
  routes: [{{name: status, topic: '{topic}', handlers: [{{log: {{}}}}]}}]
"
        );
        self.plane.apply(&self.namespace, &yaml).unwrap();
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        self.plane.kubectl(&[&["--namespace", &self.namespace], arguments].concat())
    }

    /// Runs a controller until `end`, then drops it where it stands, as a kill would.
    pub(crate) async fn control(&self, client: Client, end: impl Future<Output = ()>) {
        let namespaces = [self.namespace.clone()];
        tokio::select! {
            () = controller::run(context(client), &namespaces, futures::future::pending::<()>()) => unreachable!("for ever"),
            () = end => {}
        }
    }

    /// For a client, with whatever layer around it.
    pub(crate) async fn config(&self) -> Config {
        let kubeconfig = Kubeconfig::read_from(self.plane.kubeconfig()).unwrap();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .unwrap();
        // What is answered is what is counted.
        config.default_retry = false;
        config
    }

    /// Waits until the route is rolled out as it is wanted now.
    pub(crate) async fn settled(&self, patience: Duration) {
        eventually("the route is rolled out", patience, async || {
            let object = self.kubectl(&["get", "mr/devices", "--output", "json"])?;
            let object: Value = serde_json::from_str(&object).map_err(|e| e.to_string())?;
            let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let done = conditions.iter().any(|condition| {
                condition["type"] == "Progressing"
                    && condition["reason"] == "Complete"
                    && condition["observedGeneration"] == object["metadata"]["generation"]
            });
            ensure(done, || format!("{conditions:?}"))
        })
        .await;
    }

    /// Runs a controller that nobody cuts off until all is well; then everything that there is, but for what no two runs have in common.
    pub(crate) async fn outcome(&self) -> Value {
        let client = Client::try_from(self.config().await).unwrap();
        self.control(client, self.settled(SOON)).await;
        let kinds = "mr,deployments,configmaps,serviceaccounts,roles,rolebindings,pdb,leases";
        let all = self
            .kubectl(&["get", kinds, "--selector", "routemq.io/route=devices", "--output", "json"])
            .unwrap();
        let route = self.kubectl(&["get", "mr/devices", "--output", "json"]).unwrap();
        let text = format!("[{all},{route}]").replace(&self.namespace, "NAMESPACE");
        let mut all: Value = serde_json::from_str(&text).unwrap();
        forget_the_incidental(&mut all);
        all
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.plane.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]));
    }
}

fn context(client: Client) -> Context {
    let reporter = Reporter { controller: "routemq-operator".to_owned(), instance: None };
    let settings = Settings {
        worker_image: "routemq:test".to_owned(),
        broker: Broker {
            url: Some("mqtt://mosquitto.mqtt.svc:1883".to_owned()),
            ..Broker::default()
        },
        ..Settings::default()
    };
    let metrics = Metrics::new(&mut Registry::default());
    Context::new(client.clone(), settings, Recorder::new(client, reporter), metrics)
}

/// Identities, times, versions, and what other controllers say of how far they are.
fn forget_the_incidental(value: &mut Value) {
    const FIELDS: [&str; 10] = [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "managedFields",
        "lastTransitionTime",
        "routemq.io/applied",
        "deployment.kubernetes.io/revision",
        "kubectl.kubernetes.io/last-applied-configuration",
        "generation",
        "selfLink",
    ];
    match value {
        Value::Object(fields) => {
            if fields
                .get("kind")
                .is_some_and(|kind| kind == "Deployment" || kind == "PodDisruptionBudget")
            {
                fields.remove("status");
            }
            fields.retain(|name, _| !FIELDS.contains(&name.as_str()));
            fields.values_mut().for_each(forget_the_incidental);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_the_incidental),
        _ => {}
    }
}
