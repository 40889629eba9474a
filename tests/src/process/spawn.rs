//! Starting processes that end with this one.

use std::{
    io,
    process::{Child, Command},
    sync::{LazyLock, mpsc},
    thread,
};

type Job = (Command, mpsc::Sender<io::Result<Child>>);

/// The kernel's "kill when the parent dies" watches the parent *thread*, and test threads end early: so one thread,
/// which lives as long as the test process, is the parent of all.
static PARENT: LazyLock<mpsc::Sender<Job>> = LazyLock::new(|| {
    let (jobs, queue) = mpsc::channel::<Job>();
    thread::Builder::new()
        .name("parent of test servers".to_owned())
        .spawn(move || {
            for (mut command, answer) in queue {
                let _ = answer.send(command.spawn());
            }
        })
        .expect("a thread can be started");
    jobs
});

pub(super) fn spawn(command: Command) -> io::Result<Child> {
    let (answer, result) = mpsc::channel();
    PARENT.send((command, answer)).expect("the parent thread lives as long as the process");
    result.recv().expect("the parent thread answers every job")
}
