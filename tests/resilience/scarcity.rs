//! Machines that lack something.

use std::time::Duration;

use routemq_tests::{
    Bed, Database, Directory, PATIENCE, WorkerConfig, WorkerProcess, ensure, eventually,
    is_root_or_skips, messages, readings,
};

fn wrapped(bed: &Bed, script: &str, spec: &str) -> WorkerProcess {
    let script = format!("{script}; exec \"$0\" \"$@\"");
    WorkerProcess::run(&WorkerConfig {
        wrapper: vec!["/bin/sh".to_owned(), "-c".to_owned(), script],
        ..bed.config(&readings(spec))
    })
}

#[tokio::test]
async fn sixty_four_file_descriptors_are_enough_for_a_worker() {
    let bed = Bed::start(Database::mariadb().await).await;
    let mut worker = wrapped(&bed, "ulimit -n 64", "  workerCount: 3\n");
    bed.subscribed(3, &mut worker).await;
    bed.client("publisher").await.publish_all(messages(0..300), 100).await;
    bed.distinct_rows(300).await;
}

/// Sixty workers in one process need a socket each: those that have one work, the others say what is wrong and wait.
#[tokio::test]
async fn too_few_file_descriptors_are_told_and_do_not_make_a_worker_spin() {
    let bed = Bed::start(Database::mariadb().await).await;
    let mut worker = wrapped(&bed, "ulimit -n 40", "  workerCount: 60\n");
    eventually("it is told", PATIENCE, async || {
        let output = worker.output();
        ensure(output.contains("Too many open files"), || output)
    })
    .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(worker.process().exit_status(), None, "{}", worker.output());
    let before = worker.process().processor_time();
    let lines = worker.output().lines().count();
    let span = Duration::from_secs(5);
    tokio::time::sleep(span).await;
    let used = worker.process().processor_time().saturating_sub(before);
    assert!(used < span / 4, "{used:?} of processor time in {span:?}");
    let said = worker.output().lines().count() - lines;
    assert!(said < 20, "{said} lines in {span:?}:\n{}", worker.output());
}

/// A user of this test process's own, so that the kernel counts nobody else's threads.
fn user() -> String {
    (200_000 + std::process::id() % 100_000 * 10 + fastrand::u32(..10)).to_string()
}

/// A worker whose user may have so many threads. Root is not limited, so it is another user.
fn with_threads(bed: &Bed, threads: usize) -> WorkerProcess {
    let user = user();
    let wrapper = format!(
        "setpriv --reuid={user} --regid={user} --clear-groups prlimit --nproc={threads} --"
    );
    WorkerProcess::run(&WorkerConfig {
        wrapper: wrapper.split(' ').map(str::to_owned).collect(),
        ..bed.config(&readings("  workerCount: 3\n"))
    })
}

#[tokio::test]
async fn sixty_four_threads_are_enough_for_a_worker() {
    if !is_root_or_skips("a limit of 64 threads") {
        return;
    }
    let bed = Bed::start(Database::mariadb().await).await;
    let mut worker = with_threads(&bed, 64);
    bed.subscribed(3, &mut worker).await;
    bed.client("publisher").await.publish_all(messages(0..300), 100).await;
    bed.distinct_rows(300).await;
}

#[tokio::test]
async fn too_few_threads_are_told_in_words_and_the_worker_ends() {
    if !is_root_or_skips("a limit of one thread") {
        return;
    }
    let bed = Bed::start(Database::mariadb().await).await;
    let mut worker = with_threads(&bed, 1);
    let status = worker.process().exit(PATIENCE).await;
    assert_eq!(status.code(), Some(3), "{}", worker.output());
    assert!(worker.output().contains("cannot start threads"), "{}", worker.output());
}

/// A worker that keeps its journal on a volume of 16 KiB, made by `script` in a namespace of its own.
fn with_scratch(bed: &Bed, script: &str) -> WorkerProcess {
    // Mounted over a folder that every test may have: nobody else sees it.
    let script =
        format!("mount -t tmpfs -o size=16k scratch /mnt && {script} && exec \"$0\" \"$@\"");
    let wrapper = ["unshare", "--mount", "/bin/sh", "-c", &script];
    WorkerProcess::run(&WorkerConfig {
        wrapper: wrapper.map(str::to_owned).to_vec(),
        arguments: vec!["--scratch".to_owned(), "/mnt/journal".to_owned()],
        ..bed.config(&readings(""))
    })
}

async fn goes_on_without_a_journal(script: &str, words: &str) {
    let bed = Bed::start(Database::mariadb().await).await;
    let mut worker = with_scratch(&bed, script);
    bed.subscribed(1, &mut worker).await;
    bed.client("publisher").await.publish_all(messages(0..50), 20).await;
    bed.distinct_rows(50).await;
    let output = worker.output();
    assert!(output.contains("the crash journal is off") && output.contains(words), "{output}");
    assert_eq!(output.matches("the crash journal is off").count(), 1, "{output}");
}

#[tokio::test]
async fn a_scratch_volume_that_is_full_switches_the_journal_off_and_nothing_else() {
    if is_root_or_skips("a scratch volume that is full") {
        let fill =
            "mkdir /mnt/journal && { dd if=/dev/zero of=/mnt/full bs=1k 2>/dev/null; true; }";
        goes_on_without_a_journal(fill, "No space left on device").await;
    }
}

#[tokio::test]
async fn a_scratch_volume_that_is_read_only_switches_the_journal_off_and_nothing_else() {
    if is_root_or_skips("a scratch volume that is read-only") {
        let freeze = "mkdir /mnt/journal && mount -o remount,ro /mnt";
        goes_on_without_a_journal(freeze, "Read-only file system").await;
    }
}

/// The journal of crashes wants a folder: without one it warns, and messages go on.
#[tokio::test]
async fn a_scratch_folder_that_is_none_switches_the_journal_off_and_nothing_else() {
    let bed = Bed::start(Database::mariadb().await).await;
    let directory = Directory::new("scratch");
    let file = directory.write("a-file", "not a folder");
    let mut worker = WorkerProcess::run(&WorkerConfig {
        arguments: vec!["--scratch".to_owned(), file.display().to_string()],
        ..bed.config(&readings(""))
    });
    bed.subscribed(1, &mut worker).await;
    bed.client("publisher").await.publish_all(messages(0..50), 20).await;
    bed.distinct_rows(50).await;
    let output = worker.output();
    assert!(output.contains("journal"), "no warning in\n{output}");
}
