//! Lease mode: the workers' slots are Leases of a real control plane, kept by the operator; each process stands for a pod of it.
//!
//! No node runs, so a pod is an object that the control plane makes and deletes, and its process is started and ended here, as a
//! kubelet would. The operator and the API server are processes that faults meet.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use routemq_tests::{
    ControlPlane, Directory, Launch, Process, ensure, eventually, free_port, operator_binary,
};

/// What the control plane and the operator may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// What is promised for the slots that a scale-down leaves.
const ADOPTED: Duration = Duration::from_mins(2);
/// The namespace in the workers' documents too.
pub(crate) const NAMESPACE: &str = "bed";
const ROUTE: &str = "mqttroute/soak";
/// What a pod mounts.
const SLOTS: &str = "slots.json";
/// How late a change of it reaches a pod that runs.
const MOUNTED: Duration = Duration::from_secs(90);
const SELECTOR: &str = "routemq.io/route=soak";

/// Everything of Kubernetes.
#[derive(Debug)]
pub(crate) struct Cluster {
    plane: &'static ControlPlane,
    /// With the rights of worker pods.
    rights: PathBuf,
    directory: Directory,
    operator: Option<Process>,
    /// The API server, once it was started anew.
    server: Option<Process>,
    /// By seat: the pod whose process sits there.
    pods: BTreeMap<u32, String>,
}

impl Cluster {
    /// With the route (its broker and database are the workers' business) and an operator.
    pub(crate) async fn start(workers: u32) -> Self {
        let plane = tokio::task::spawn_blocking(ControlPlane::shared);
        let plane = plane.await.expect("the control plane starts");
        plane.kubectl(&["create", "namespace", NAMESPACE]).expect("it is new");
        plane.apply(NAMESPACE, &route(workers)).expect("the route is admitted");
        let directory = Directory::new("cluster");
        let mut cluster = Self {
            plane,
            rights: PathBuf::new(),
            directory,
            operator: None,
            server: None,
            pods: BTreeMap::new(),
        };
        cluster.start_operator();
        cluster.until_pods(workers as usize).await;
        cluster.until_slots("the slots are there", PATIENCE, workers as usize).await;
        cluster.rights = plane.kubeconfig_of(NAMESPACE, "soak-worker");
        tokio::spawn(refresh_mounts(plane, cluster.directory.path().to_owned()));
        cluster
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        self.plane.kubectl(&[&["--namespace", NAMESPACE], arguments].concat())
    }

    // === Seats ===

    /// What a process of this seat is started with: arguments and variables. A seat without a pod gets one that is free.
    pub(crate) async fn sit_down(&mut self, seat: u32) -> (Vec<String>, Vec<(String, String)>) {
        if !self.pods.contains_key(&seat) {
            let pod = self.free_pod().await;
            fs::create_dir_all(self.directory.path().join(&pod)).expect("the directory is ours");
            self.mount(&pod).await;
            self.pods.insert(seat, pod);
        }
        let pod = self.pods[&seat].clone();
        let scratch = self.directory.path().join(&pod);
        let slots = scratch.join(SLOTS);
        let arguments = vec!["--slots".to_owned(), slots.display().to_string()];
        let variables = [
            ("KUBECONFIG", self.rights.display().to_string()),
            ("ROUTEMQ_POD_NAME", pod),
            ("ROUTEMQ_NAMESPACE", NAMESPACE.to_owned()),
            ("ROUTEMQ_SCRATCH", scratch.display().to_string()),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value));
        (arguments, variables.into())
    }

    /// What a pod finds there when it starts.
    async fn mount(&self, pod: &str) {
        let slots = eventually("the operator makes it", PATIENCE, async || slots_of(self.plane));
        let slots = slots.await;
        write_whole(&self.directory.path().join(pod).join(SLOTS), &slots);
    }

    async fn free_pod(&self) -> String {
        eventually("a pod without a process is there", PATIENCE, async || {
            let pods = self.pods()?;
            let free = pods.iter().find(|pod| !self.pods.values().any(|taken| taken == *pod));
            free.cloned().ok_or_else(|| format!("{pods:?}"))
        })
        .await
    }

    fn pods(&self) -> Result<Vec<String>, String> {
        let pods = self.kubectl(&["get", "pods", "--selector", SELECTOR, "--output", "name"])?;
        Ok(pods.lines().map(|name| name.trim_start_matches("pod/").to_owned()).collect())
    }

    async fn until_pods(&self, wanted: usize) {
        eventually(&format!("{wanted} pods are there"), PATIENCE, async || {
            let pods = self.pods()?;
            ensure(pods.len() == wanted, || format!("{pods:?}"))
        })
        .await;
    }

    /// The pod of this seat is gone with its node: its object too. Another will be made in its place.
    pub(crate) fn lose_node(&mut self, seat: u32) {
        if let Some(pod) = self.pods.remove(&seat) {
            // The API server may be away: then the object stays a while, and another seat's pod takes its place.
            let _ = self.kubectl(&["delete", "pod", &pod, "--force", "--grace-period=0"]);
        }
    }

    // === The number of workers ===

    /// As many workers; where that is fewer, the pod of `leaves` is the one that goes.
    pub(crate) async fn scale(&mut self, workers: usize, leaves: Option<u32>) {
        if let Some(pod) = leaves.and_then(|seat| self.pods.remove(&seat)) {
            let cost = "controller.kubernetes.io/pod-deletion-cost=-100";
            self.insist("a pod is chosen", &["annotate", "pod", &pod, cost, "--overwrite"]).await;
        }
        let replicas = format!("--replicas={workers}");
        self.insist("the route is scaled", &["scale", ROUTE, &replicas]).await;
        self.until_pods(workers).await;
    }

    async fn insist(&self, what: &str, arguments: &[&str]) {
        eventually(what, PATIENCE, async || self.kubectl(arguments)).await;
    }

    /// The numbers of the slots that there are.
    pub(crate) fn slots(&self) -> Result<Vec<u32>, String> {
        let leases =
            self.kubectl(&["get", "leases", "--selector", SELECTOR, "--output", "name"])?;
        let number = |name: &str| name.rsplit_once("-slot-")?.1.parse().ok();
        Ok(leases.lines().filter_map(number).collect())
    }

    /// Waits until what is retired is gone.
    pub(crate) async fn settled(&self, workers: usize) {
        self.until_slots("retired slots are drained and gone", ADOPTED, workers).await;
    }

    async fn until_slots(&self, what: &str, patience: Duration, wanted: usize) {
        eventually(what, patience, async || {
            let slots = self.slots()?;
            ensure(slots.len() == wanted, || format!("{slots:?}"))
        })
        .await;
    }

    // === Faults ===

    pub(crate) fn kill_operator(&mut self) {
        self.operator = None;
    }

    pub(crate) fn start_operator(&mut self) {
        let port = free_port();
        let launch = Launch::new(operator_binary())
            .env("KUBECONFIG", self.plane.kubeconfig())
            .env("ROUTEMQ_NAMESPACE", NAMESPACE)
            .env("ROUTEMQ_WATCH_NAMESPACES", NAMESPACE)
            .env("ROUTEMQ_POD_NAME", format!("operator-{:08x}", fastrand::u32(..)))
            .env("ROUTEMQ_BROKER_URL", "mqtt://of-the-workers:1883")
            .env("ROUTEMQ_WORKER_IMAGE", "routemq:soak")
            .args(["--listen", &format!("127.0.0.1:{port}")]);
        self.operator = Some(launch.start(&self.directory.path().join("operator.log")));
    }

    /// kill -9 to the API server; what it takes to start it again.
    pub(crate) fn kill_api_server(&mut self) -> Launch {
        let file = self.pid_file();
        let pid = fs::read_to_string(&file).expect("the control plane notes it");
        let command = fs::read(format!("/proc/{}/cmdline", pid.trim())).expect("it runs");
        let words = String::from_utf8(command).expect("arguments are UTF-8");
        let mut words = words.split('\0').filter(|word| !word.is_empty());
        let launch = Launch::new(words.next().expect("a program")).args(words);
        match self.server.take() {
            Some(server) => drop(server),
            None => Launch::new("kill").args(["-9", pid.trim()]).run(),
        }
        launch
    }

    pub(crate) async fn start_api_server(&mut self, launch: &Launch) {
        let server = launch.start(&self.directory.path().join("kube-apiserver.log"));
        fs::write(self.pid_file(), server.pid().to_string()).expect("the file is there");
        self.server = Some(server);
        eventually("the API server answers", PATIENCE, async || self.slots()).await;
    }

    fn pid_file(&self) -> PathBuf {
        let folder = self.plane.kubeconfig().parent().expect("it is in the cluster's folder");
        folder.join("pid/kube-apiserver")
    }

    pub(crate) fn log(&self) -> String {
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        read(&self.directory.path().join("operator.log"))
    }
}

/// What the operator sees: only the numbers matter to it.
fn route(workers: u32) -> String {
    format!(
        "apiVersion: routemq.io/v1alpha1\nkind: MqttRoute\nmetadata: {{name: soak}}\nspec:\n  workerCount: {workers}\n  \
         routes:\n    - {{name: reading, topic: \"soak/{{key}}/{{id:int}}\", handlers: [{{log: {{}}}}]}}\n"
    )
}

// === What a kubelet does ===

/// The names of the Leases, as the operator tells pods.
fn slots_of(plane: &ControlPlane) -> Result<String, String> {
    let path = r"jsonpath={.data.slots\.json}";
    plane.kubectl(&["--namespace", NAMESPACE, "get", "configmap/soak-worker", "--output", path])
}

/// A changed file reaches pods that run a minute and a half later, or sooner: nothing may depend on when.
async fn refresh_mounts(plane: &'static ControlPlane, pods: PathBuf) {
    while pods.exists() {
        tokio::time::sleep(MOUNTED).await;
        let asked = tokio::task::spawn_blocking(move || slots_of(plane)).await;
        let Ok(Ok(slots)) = asked else { continue };
        let folders = fs::read_dir(&pods).into_iter().flatten().flatten();
        for file in folders.map(|pod| pod.path().join(SLOTS)).filter(|file| file.exists()) {
            write_whole(&file, &slots);
        }
    }
}

/// Whoever reads it meanwhile sees the old one or the new one.
fn write_whole(file: &Path, text: &str) {
    let draft = file.with_extension("draft");
    // The folder goes with the run.
    let _ = fs::write(&draft, text).and_then(|()| fs::rename(&draft, file));
}
