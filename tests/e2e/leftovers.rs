//! A cluster leaves nothing on the machine, however it ends.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use routemq_tests::{Directory, Launch, Process, Signal, eventually, folder, processes_naming};

const PATIENCE: Duration = Duration::from_secs(90);

/// A node whose folder is in one that no other cluster uses, so that its traces are told from those of others.
struct Node {
    run: Directory,
    /// What the machine had before.
    before: Vec<String>,
    up: Process,
}

impl Node {
    /// Starts `up --node`; `None` where the suite runs on somebody else's cluster.
    fn start(options: &[String]) -> Option<Self> {
        if env::var_os("ROUTEMQ_TEST_KUBECONFIG").is_some() {
            eprintln!("skipped: the suite runs on a cluster that is not ours");
            return None;
        }
        let run = Directory::new("clusters");
        let launch = Launch::new(folder("tests/cluster/up")).arg("--node").args(options);
        let launch = launch.env("ROUTEMQ_CLUSTER_RUN", clusters(&run));
        let up = launch.start(&run.path().join("up.log"));
        Some(Self { run, before: fixed_names(), up })
    }

    /// The cluster, once it has a file.
    async fn cluster(&self, file: &str) -> Marks {
        let what = format!("the cluster has {file}");
        let folder = eventually(&what, PATIENCE, async || {
            let folder =
                entries(&clusters(&self.run)).pop().filter(|folder| folder.join(file).exists());
            folder.ok_or_else(|| self.up.output())
        });
        Marks::new(folder.await)
    }

    /// The cluster, when `up` has come to its end.
    async fn is_up(&mut self) -> Marks {
        let status = self.up.exit(PATIENCE).await;
        assert!(status.success(), "{}", self.up.output());
        self.cluster("admin.kubeconfig").await
    }

    /// What is there of the cluster.
    fn left(&self, cluster: &Marks) -> Vec<String> {
        let mut found = cluster.traces();
        found.extend(entries(&clusters(&self.run)).iter().map(|path| path.display().to_string()));
        found.extend(fixed_names().into_iter().filter(|name| !self.before.contains(name)));
        found
    }

    async fn leaves_nothing(&self, cluster: &Marks) {
        eventually("nothing is left", PATIENCE, async || {
            let left = self.left(cluster);
            if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
        })
        .await;
    }
}

fn clusters(run: &Directory) -> PathBuf {
    run.path().join("run")
}

/// What goes by a name that is the cluster's own.
struct Marks {
    folder: PathBuf,
    /// Its link's alias: the next cluster may have the link's name as soon as it is free.
    link: String,
    control_group: String,
}

impl Marks {
    fn new(folder: PathBuf) -> Self {
        let name = folder.file_name().expect("it is in a folder").to_string_lossy().into_owned();
        let link = format!("alias {}", folder.display());
        Self { folder, link, control_group: format!("routemq-{name}") }
    }

    /// Processes and mounts that name its folder, its link, its control groups.
    fn traces(&self) -> Vec<String> {
        let named = ["cmdline", "mountinfo"].map(|file| processes_naming(&self.folder, file));
        let mut found: Vec<_> =
            named.concat().iter().map(|path| path.display().to_string()).collect();
        let links = printed("ip", &["-oneline", "link", "show"]);
        found.extend(links.into_iter().filter(|link| link.contains(&self.link)));
        found.extend(printed(
            "find",
            &["/sys/fs/cgroup", "-type", "d", "-name", &self.control_group],
        ));
        found
    }
}

/// What Kubernetes and its parts leave under fixed names.
fn fixed_names() -> Vec<String> {
    let mut found = printed("nft", &["list", "tables"]);
    let folders = [
        "/run/netns",
        "/run/containerd",
        "/var/lib/cni",
        "/var/lib/kubelet",
        "/var/log/pods",
        "/var/log/containers",
    ];
    found.extend(printed("find", &folders));
    found
}

fn printed(program: &str, arguments: &[&str]) -> Vec<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).collect()
}

#[tokio::test]
#[ignore = "needs a node: ./tests/run --stage e2e"]
async fn a_node_that_ran_a_pod_is_taken_down_without_a_trace() {
    let Some(mut node) = Node::start(&[]) else { return };
    let cluster = node.is_up().await;
    let kubeconfig = cluster.folder.join("admin.kubeconfig");
    let built = printed(&folder("tests/cluster/build").to_string_lossy(), &["--node"]);
    let program = Path::new(&built[0]).join("kubectl");
    let kubectl = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        let done = command.arg("--kubeconfig").arg(&kubeconfig).args(arguments).status();
        assert!(done.is_ok_and(|status| status.success()), "kubectl {arguments:?}");
    };
    kubectl(&["run", "pod", "--image=pause:bed", "--image-pull-policy=Never"]);
    kubectl(&["wait", "--for=condition=Ready", "pod/pod", "--timeout=60s"]);
    let traces = cluster.traces();
    for trace in ["/cmdline", "/mountinfo", &cluster.link, &cluster.control_group] {
        assert!(
            traces.iter().any(|found| found.contains(trace)),
            "{trace} is not seen while the node is up: {traces:?}"
        );
    }
    let down = Command::new(folder("tests/cluster/down")).arg(&cluster.folder).status();
    assert!(down.is_ok_and(|status| status.success()));
    assert_eq!(node.left(&cluster), Vec::<String>::new(), "when `down` has returned");
}

#[tokio::test]
#[ignore = "needs a node: ./tests/run --stage e2e"]
async fn a_node_goes_with_its_owner() {
    let mut owner = Launch::new("sleep").arg("600").start(Path::new("/dev/null"));
    let Some(mut node) = Node::start(&["--owner".to_owned(), owner.pid().to_string()]) else {
        return;
    };
    let cluster = node.is_up().await;
    owner.kill();
    node.leaves_nothing(&cluster).await;
}

#[tokio::test]
#[ignore = "needs a node: ./tests/run --stage e2e"]
async fn a_start_that_is_broken_off_leaves_nothing() {
    let Some(mut node) = Node::start(&[]) else { return };
    let cluster = node.cluster("pid/kubelet").await;
    node.up.signal(Signal::TERM);
    assert!(!node.up.exit(PATIENCE).await.success());
    node.leaves_nothing(&cluster).await;
}
