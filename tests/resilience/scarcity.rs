//! Machines that lack something.

use std::time::Duration;

use routemq_tests::{
    Bed, Database, Directory, PATIENCE, WorkerConfig, WorkerProcess, ensure, eventually, messages,
    readings,
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
