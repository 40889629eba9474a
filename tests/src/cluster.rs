//! A real Kubernetes control plane (etcd, kube-apiserver, kube-controller-manager), built from pinned Go modules.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// A control plane for all tests of one process; it goes when the process does (`tests/cluster/up --owner`).
#[derive(Debug)]
pub struct ControlPlane {
    kubeconfig: PathBuf,
    tools: PathBuf,
}

impl ControlPlane {
    /// The one of this process: started by whoever asks first, with the chart's objects in it (but for the operator's pods, which no node could run).
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<ControlPlane> = OnceLock::new();
        SHARED.get_or_init(|| {
            let plane = Self::start();
            plane.install_chart();
            plane
        })
    }

    fn start() -> Self {
        let output = Command::new(folder("tests/cluster/up"))
            .args(["--owner", &std::process::id().to_string()])
            .stderr(Stdio::inherit())
            .output()
            .expect("tests/cluster/up can be started");
        assert!(output.status.success(), "tests/cluster/up ended with {}", output.status);
        let path = String::from_utf8(output.stdout).expect("a path is UTF-8");
        let built = Command::new(folder("tests/cluster/build")).output().expect("built before");
        let tools = String::from_utf8(built.stdout).expect("a path is UTF-8");
        Self { kubeconfig: path.trim().into(), tools: tools.trim().into() }
    }

    /// Of an administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The folder of its logs, the audit log among them.
    pub fn logs(&self) -> PathBuf {
        self.kubeconfig.parent().expect("it is in the cluster's folder").join("log")
    }

    /// Runs kubectl as administrator; its output, or what it complained of.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        self.kubectl_with(arguments, "")
    }

    /// The same with something on its standard input.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut child = Command::new(self.tools.join("kubectl"))
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("kubectl: {e}"))?;
        child
            .stdin
            .take()
            .expect("piped")
            .write_all(input.as_bytes())
            .map_err(|e| e.to_string())?;
        let output = child.wait_with_output().map_err(|e| e.to_string())?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
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
            let status = Command::new(self.tools.join("kubectl"))
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
        let helm = self.tools.join("helm");
        let output = Command::new(helm)
            .args(["install", "routemq"])
            .arg(folder("charts/routemq"))
            .args(["--namespace", "routemq", "--create-namespace", "--set", "operator.replicas=0"])
            .args(["--set", "broker.url=mqtt://mosquitto.mqtt.svc:1883"])
            .env("KUBECONFIG", &self.kubeconfig)
            .output()
            .expect("helm is built");
        assert!(
            output.status.success(),
            "helm install:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        self.kubectl(&["wait", "--for=condition=Established", "crd/mqttroutes.routemq.io"])
            .expect("the definition is taken");
    }
}

/// A path of the checkout.
pub fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the checkout").join(path)
}
