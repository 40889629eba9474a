use std::{path::Path, time::Duration};

use routemq_tests::{Directory, Launch, Signal, ensure, eventually, program};

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_process_tells_its_output_and_how_it_ended() {
    let directory = Directory::new("process");
    let mut process = Launch::new(program("sh", "dash"))
        .args(["-c", "echo out; echo err >&2; exit 7"])
        .start(&directory.path().join("output"));
    assert_eq!(process.exit(PATIENCE).await.code(), Some(7));
    assert_eq!(process.output(), "out\nerr\n");
}

#[tokio::test]
async fn a_dropped_process_is_gone_with_its_children() {
    let directory = Directory::new("process");
    let mut process = Launch::new(program("sh", "dash"))
        .args(["-c", "sleep 600 & echo $!; wait"])
        .start(&directory.path().join("output"));
    let child = eventually("the child's pid is there", PATIENCE, async || {
        process.output().trim().parse::<u32>()
    })
    .await;
    process.signal(Signal::STOP);
    let pid = process.pid();
    drop(process);
    eventually("both are gone", PATIENCE, async || {
        ensure(!runs(pid) && !runs(child), || format!("{pid} or {child} is there"))
    })
    .await;
}

#[tokio::test]
async fn a_process_tells_its_memory() {
    let directory = Directory::new("process");
    let process = Launch::new(program("sleep", "coreutils"))
        .arg("600")
        .start(&directory.path().join("output"));
    let bytes = eventually("it has started", PATIENCE, async || {
        let bytes = process.resident_bytes();
        ensure((100_000..100_000_000).contains(&bytes), || format!("{bytes} bytes")).map(|()| bytes)
    })
    .await;
    assert!(process.peak_resident_bytes() >= bytes);
}

/// A zombie does not run: its parent is whoever adopted it.
fn runs(pid: u32) -> bool {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(Path::new(&path)).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
