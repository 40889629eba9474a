//! Processes as pods.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf, time::Duration};

use routemq_tests::{
    Directory, Launch, Mosquitto, Process, Signal, ensure, eventually, routemq_binary,
};

use crate::bed::Bed;

/// What starting, claiming, draining may take on a busy machine of two cores.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// One MqttRoute, `devices`, and a process for each pod of it.
pub(crate) struct Pods {
    pub(crate) bed: Bed,
    kubeconfig: PathBuf,
    running: BTreeMap<String, Process>,
    directory: Directory,
}

impl Pods {
    /// Applies the route, and starts a process for each pod as soon as its object is there.
    pub(crate) async fn start(broker: &Mosquitto, workers: usize) -> Self {
        let bed = Bed::new().await;
        bed.apply(&route(broker, workers));
        bed.condition("devices", "Accepted", ("True", "Accepted")).await;
        let kubeconfig = bed.plane.kubeconfig_of(&bed.namespace, "devices-worker");
        let directory = Directory::new("pods");
        let mut pods = Self { bed, kubeconfig, running: BTreeMap::new(), directory };
        pods.mount();
        pods.follow(workers).await;
        pods
    }

    /// As a kubelet does, some time after a change.
    pub(crate) fn mount(&self) {
        for file in ["route.json", "slots.json"] {
            let path = format!(".data.{}", file.replace('.', "\\."));
            self.directory.write(file, self.bed.field("configmap/devices-worker", &path));
        }
    }

    /// Waits until there are so many pods, and lets a process run for each new one. Gives the names of those that are gone, whose
    /// processes run on.
    pub(crate) async fn follow(&mut self, wanted: usize) -> Vec<String> {
        let names = eventually(&format!("{wanted} pods are there"), PATIENCE, async || {
            let names = self.names()?;
            ensure(names.len() == wanted, || format!("{names:?}"))?;
            Ok::<_, String>(names)
        })
        .await;
        for name in &names {
            if !self.running.contains_key(name) {
                self.run(name);
            }
        }
        self.running.keys().filter(|name| !names.contains(name)).cloned().collect()
    }

    /// Waits until the Lease of slot 0 says that its session holds this filter alone.
    pub(crate) async fn holds_only(&self, filter: &str) {
        let query = [
            "get",
            "lease/devices-slot-0",
            "--output",
            r"jsonpath={.metadata.annotations.routemq\.io/filters}",
        ];
        let wanted = format!("[\"{filter}\"]");
        eventually(&format!("{filter} is all that is held"), PATIENCE, async || {
            let held = self.bed.kubectl(&query)?;
            ensure(held == wanted, || format!("{held}\n{}", self.logs()))
        })
        .await;
    }

    pub(crate) fn names(&self) -> Result<Vec<String>, String> {
        let query = ["get", "pods", "--selector", "routemq.io/route=devices", "--output", "name"];
        let names = self.bed.kubectl(&query)?;
        Ok(names.lines().map(|name| name.trim_start_matches("pod/").to_owned()).collect())
    }

    /// As a kubelet starts a pod's container, and again after its end.
    pub(crate) fn run(&mut self, pod: &str) {
        self.running.insert(pod.to_owned(), self.launch(pod));
    }

    fn launch(&self, pod: &str) -> Process {
        let folder = self.directory.path();
        let scratch = folder.join(pod);
        std::fs::create_dir_all(&scratch).unwrap();
        Launch::new(routemq_binary())
            .clear_environment()
            .env("LOG_LEVEL", "INFO")
            .env("KUBECONFIG", &self.kubeconfig)
            .env("ROUTEMQ_POD_NAME", pod)
            .env("ROUTEMQ_NAMESPACE", &self.bed.namespace)
            .env("ROUTEMQ_SCRATCH", &scratch)
            .args(["run", "--drain", "10", "--slots"])
            .arg(folder.join("slots.json"))
            .arg(folder.join("route.json"))
            .start(&folder.join(format!("{pod}.log")))
    }

    /// kill -9.
    pub(crate) fn kill(&mut self, pod: &str) {
        self.running.remove(pod).expect("it runs").kill();
    }

    /// As a kubelet stops a pod.
    pub(crate) async fn terminate(&mut self, pod: &str) {
        let mut process = self.running.remove(pod).expect("it runs");
        process.signal(Signal::TERM);
        let status = process.exit(PATIENCE).await;
        assert!(status.success(), "{pod} ended with {status}:\n{}", process.output());
    }

    /// Stops all that is left.
    pub(crate) async fn terminate_all(&mut self) {
        for pod in self.running.keys().cloned().collect::<Vec<_>>() {
            self.terminate(&pod).await;
        }
    }

    pub(crate) fn scale(&self, workers: usize) {
        self.bed
            .kubectl(&["scale", "mqttroute/devices", &format!("--replicas={workers}")])
            .unwrap();
    }

    /// Waits until every worker has every filter granted.
    pub(crate) async fn subscribed(&self) {
        let query = [
            "get",
            "mqttroute/devices",
            "--output",
            r#"jsonpath={.status.conditions[?(@.type=="Subscribed")].reason}"#,
        ];
        eventually("every worker is subscribed", PATIENCE, async || {
            let reason = self.bed.kubectl(&query)?;
            ensure(reason == "Granted", || format!("{reason}\n{}", self.logs()))
        })
        .await;
    }

    /// The slots' Leases that there are.
    pub(crate) async fn slots(&self, what: &str, patience: Duration, wanted: usize) {
        eventually(what, patience, async || {
            let leases = self.bed.kubectl(&["get", "leases", "--output", "name"])?;
            ensure(leases.lines().count() == wanted, || format!("{leases}\n{}", self.logs()))
        })
        .await;
    }

    pub(crate) fn logs(&self) -> String {
        let mut all = String::new();
        for entry in std::fs::read_dir(self.directory.path()).unwrap().flatten() {
            if entry.path().extension().is_some_and(|it| it == "log") {
                let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
                let _ = writeln!(all, "--- {}\n{text}", entry.path().display());
            }
        }
        all
    }
}

fn route(broker: &Mosquitto, workers: usize) -> String {
    format!(
        "apiVersion: routemq.io/v1alpha1
kind: MqttRoute
metadata: {{name: devices}}
spec:
  broker: {{url: {}}}
  workerCount: {workers}
  routes:
    - name: status
      topic: \"devices/{{id}}/status\"
      handlers: [{{publish: {{topic: \"done/{{id}}\", payload: payload}}}}]
",
        broker.url(),
    )
}
