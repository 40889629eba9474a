use std::{
    env, fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use routemq_tests::{
    Directory, Launch, Process, Signal, ensure, eventually, folder, processes_naming,
};

/// Two starts and two ends on a machine of two cores that other tests keep busy.
const PATIENCE: Duration = Duration::from_mins(5);

/// Starts a control plane in a folder of its own that goes with `owner`.
fn up(clusters: &Path, owner: &Process, log: &Path) -> Process {
    Launch::new(folder("tests/cluster/up"))
        .args(["--owner", &owner.pid().to_string()])
        .env("ROUTEMQ_CLUSTER_RUN", clusters)
        .start(log)
}

#[tokio::test]
async fn two_control_planes_run_side_by_side_and_go_with_their_owner() {
    let directory = Directory::new("clusters");
    let clusters = directory.path().join("run");
    let mut owner = Launch::new("sleep").arg("600").start(&directory.path().join("owner"));
    let logs = ["first", "second"].map(|name| directory.path().join(name));
    for mut start in logs.map(|log| up(&clusters, &owner, &log)) {
        assert!(start.exit(PATIENCE).await.success(), "{}", start.output());
    }
    assert_eq!(clusters.read_dir().unwrap().count(), 2);
    assert!(processes_naming(&clusters, "cmdline").len() >= 6, "two of each program run");
    owner.kill();
    nothing_is_left(&clusters).await;
}

/// A folder of the tools that are built, but for an API server that ends at once.
fn tools_without_an_api_server(directory: &Path) -> PathBuf {
    let built = Command::new(folder("tests/cluster/build")).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let home = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = home.unwrap_or_else(|| Path::new(&env::var_os("HOME").unwrap()).join(".cache"));
    let cache = directory.join("cache/routemq/cluster");
    fs::create_dir_all(&cache).unwrap();
    for module in fs::read_dir(home.join("routemq/cluster")).unwrap().flatten() {
        let Ok(tools) = fs::read_dir(module.path()) else { continue };
        fs::create_dir(cache.join(module.file_name())).unwrap();
        for tool in tools.flatten() {
            let link = cache.join(module.file_name()).join(tool.file_name());
            if tool.file_name() == "kube-apiserver" {
                fs::write(&link, "#!/bin/sh\necho no API server here\nexit 1\n").unwrap();
                fs::set_permissions(&link, fs::Permissions::from_mode(0o755)).unwrap();
            } else {
                symlink(tool.path(), &link).unwrap();
            }
        }
    }
    directory.join("cache")
}

async fn nothing_is_left(clusters: &Path) {
    eventually("processes and folders are gone", PATIENCE, async || {
        let left = processes_naming(clusters, "cmdline");
        ensure(left.is_empty() && !clusters.exists(), || format!("{left:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_control_plane_that_fails_to_start_says_why_and_leaves_nothing() {
    let directory = Directory::new("clusters");
    let clusters = directory.path().join("run");
    let mut up = Launch::new(folder("tests/cluster/up"))
        .env("ROUTEMQ_CLUSTER_RUN", &clusters)
        .env("XDG_CACHE_HOME", tools_without_an_api_server(directory.path()))
        .start(&directory.path().join("up.log"));
    assert!(!up.exit(PATIENCE).await.success());
    let said = up.output();
    assert!(said.contains("no API server here") && said.contains("kube-apiserver ended"), "{said}");
    assert!(!clusters.exists(), "its folder is gone when it ends");
    nothing_is_left(&clusters).await;
}

#[tokio::test]
async fn a_control_plane_whose_start_is_broken_off_leaves_nothing() {
    let directory = Directory::new("clusters");
    let clusters = directory.path().join("run");
    let mut up = Launch::new(folder("tests/cluster/up"))
        .env("ROUTEMQ_CLUSTER_RUN", &clusters)
        .start(&directory.path().join("up.log"));
    eventually("the API server is starting", PATIENCE, async || {
        let running = processes_naming(&clusters, "cmdline");
        ensure(running.len() >= 2, || format!("{running:?}"))
    })
    .await;
    up.signal(Signal::TERM);
    assert!(!up.exit(PATIENCE).await.success());
    nothing_is_left(&clusters).await;
}
