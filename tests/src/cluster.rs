//! A real Kubernetes, built from pinned Go modules: its control plane (etcd, kube-apiserver, kube-controller-manager), or a node with it.

use std::{
    ffi::OsStr,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use crate::program;

/// A control plane for all tests of one process; it goes when the process does (`tests/cluster/up --owner`).
#[derive(Debug)]
pub struct ControlPlane {
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    helm: PathBuf,
    /// Started here, so that its logs are at hand.
    own: bool,
}

impl ControlPlane {
    /// The one of this process: started by whoever asks first, with the chart's objects in it (but for the operator's pods, which no node could run).
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<ControlPlane> = OnceLock::new();
        SHARED.get_or_init(|| {
            let plane = Self::start(&[]);
            plane.install_chart();
            plane
        })
    }

    /// One of the caller's own, with nothing in it.
    pub fn bare() -> Self {
        Self::start(&[])
    }

    /// One that runs pods: Linux and root only. Images come in by [`Self::load_images_of`].
    pub fn with_node() -> Self {
        Self::start(&["--node"])
    }

    /// Somebody else's, such as kind's; kubectl and helm are those of the machine.
    pub fn existing(kubeconfig: PathBuf) -> Self {
        Self {
            kubeconfig,
            kubectl: program("kubectl", "kubectl"),
            helm: program("helm", "helm"),
            own: false,
        }
    }

    fn start(options: &[&str]) -> Self {
        let owner = std::process::id().to_string();
        let kubeconfig = script("up", &[options, &["--owner", &owner]].concat());
        let tools = PathBuf::from(script("build", options));
        Self {
            kubeconfig: kubeconfig.into(),
            kubectl: tools.join("kubectl"),
            helm: tools.join("helm"),
            own: true,
        }
    }

    fn load(&self, archives: &[&str]) {
        let kubeconfig = self.kubeconfig.to_string_lossy();
        script("load", &[&[&*kubeconfig], archives].concat());
    }

    /// Assembles images of the programs in a folder, and of a broker and a database, and loads them into the node.
    pub fn load_images_of(&self, programs: &Path) {
        let archives = script("images", &[programs, &programs.join("images")]);
        let archives: Vec<&str> = archives.lines().collect();
        self.load(&archives);
    }

    /// Of an administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The API server's record of every request; `None` on a cluster that is somebody else's.
    pub(crate) fn audit_log(&self) -> Option<PathBuf> {
        let folder = self.kubeconfig.parent().expect("it is in the cluster's folder");
        self.own.then(|| folder.join("log/audit.jsonl"))
    }

    /// Breaks a component (`etcd`, `kube-apiserver`, …), or mends it; the verb is one of `tests/cluster/component`.
    pub fn component(&self, verb: &str, name: &str) {
        let kubeconfig = self.kubeconfig.to_string_lossy();
        script("component", &[verb, &*kubeconfig, name]);
    }

    /// Runs kubectl as administrator; its output, or what it complained of.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        self.kubectl_with(arguments, "")
    }

    /// The same with something on its standard input.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments);
        answer(command, input)
    }

    /// Runs helm as administrator; its output, or what it complained of.
    pub fn helm(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(&self.helm);
        command.env("KUBECONFIG", &self.kubeconfig).args(arguments);
        answer(command, "")
    }

    /// The folders of kubectl and helm, for a script's PATH.
    pub fn tools(&self) -> [&Path; 2] {
        [&self.kubectl, &self.helm].map(|tool| tool.parent().expect("a program is in a folder"))
    }

    /// `kubectl apply`, in a namespace.
    pub fn apply(&self, namespace: &str, yaml: &str) -> Result<String, String> {
        self.kubectl_with(&["--namespace", namespace, "apply", "--filename", "-"], yaml)
    }

    /// A kubeconfig of a service account, written beside the administrator's.
    pub fn kubeconfig_of(&self, namespace: &str, account: &str) -> PathBuf {
        let token = self
            .kubectl(&["--namespace", namespace, "create", "token", account, "--duration", "2h"])
            .expect("the account exists");
        let path = self.kubeconfig.with_file_name(format!("{namespace}.{account}.kubeconfig"));
        std::fs::copy(&self.kubeconfig, &path).expect("the cluster's folder can be written");
        let kubectl = |arguments: &[&str]| {
            let status = Command::new(&self.kubectl)
                .arg("--kubeconfig")
                .arg(&path)
                .args(arguments)
                .stdout(Stdio::null())
                .status();
            assert!(status.is_ok_and(|status| status.success()), "kubectl {arguments:?}");
        };
        kubectl(&["config", "unset", "users.u"]);
        kubectl(&["config", "set-credentials", "u", "--token", token.trim()]);
        path
    }

    fn install_chart(&self) {
        let chart = folder("charts/routemq");
        let chart = chart.to_string_lossy();
        let namespace = ["--namespace", "routemq", "--create-namespace"];
        let values = "operator.replicas=0,broker.url=mqtt://mosquitto.mqtt.svc:1883";
        self.helm(&[&["install", "routemq", &*chart, "--set", values], &namespace[..]].concat())
            .unwrap_or_else(|error| panic!("helm install:\n{error}"));
        self.kubectl(&["wait", "--for=condition=Established", "crd/mqttroutes.routemq.io"])
            .expect("the definition is taken");
    }
}

/// What a script of tests/cluster prints; its progress goes to standard error.
fn script(name: &str, arguments: &[impl AsRef<OsStr>]) -> String {
    let output = Command::new(folder("tests/cluster").join(name))
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|error| panic!("tests/cluster/{name} cannot be started: {error}"));
    assert!(output.status.success(), "tests/cluster/{name} ended with {}", output.status);
    String::from_utf8(output.stdout).expect("paths are UTF-8").trim().to_owned()
}

/// Standard output of a command, or its standard error where it fails.
fn answer(mut command: Command, input: &str) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().map_err(|error| format!("{name}: {error}"))?;
    let mut stdin = child.stdin.take().expect("piped");
    // It may end without reading: then its own complaint says more than the broken pipe.
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    let output = child.wait_with_output().map_err(|error| format!("{name}: {error}"))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// A path of the checkout.
pub fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the checkout").join(path)
}
