//! What to start.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{Process, spawn::spawn};
use crate::program::find;

/// A program, its arguments and its surroundings.
#[derive(Clone, Debug)]
pub struct Launch {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    clear: bool,
    folder: Option<PathBuf>,
    owner: Option<Owner>,
}

/// A user and its group, by number.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// The user id.
    pub user: u32,
    /// The group id.
    pub group: u32,
}

impl Launch {
    /// `program` without arguments, in this process's environment, as this user.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            clear: false,
            folder: None,
            owner: None,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts without this process's environment, except PATH and HOME.
    #[must_use]
    pub fn clear_environment(mut self) -> Self {
        self.clear = true;
        self
    }

    /// Where it starts.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// As whom (needs root; by util-linux's setpriv).
    #[must_use]
    pub fn owner(mut self, owner: Option<Owner>) -> Self {
        self.owner = owner;
        self
    }

    /// Starts it, its output appended to a file.
    pub fn start(&self, output: &Path) -> Process {
        let file = OpenOptions::new().create(true).append(true).open(output).unwrap();
        let mut command = self.command();
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("an open file can be shared"))
            .stderr(file);
        let child = spawn(command)
            .unwrap_or_else(|e| panic!("cannot start {}: {e}", self.program.display()));
        Process { child, output: output.to_owned(), exited: None }
    }

    /// Runs it to its end; fails with its output unless it exits with 0.
    pub fn run(&self) {
        let output = self.command().stdin(Stdio::null()).output().unwrap();
        assert!(
            output.status.success(),
            "{} ended with {}:\n{}{}",
            self.program.display(),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn command(&self) -> Command {
        let mut command = self.wrapped();
        command.args(&self.arguments);
        if self.clear {
            command.env_clear();
            let kept = ["PATH", "HOME"].map(|name| (name, std::env::var_os(name)));
            command.envs(kept.into_iter().filter_map(|(name, value)| Some((name, value?))));
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command
    }

    /// The program, behind setpriv where the machine has it: it dies with this process, and runs as the user asked for.
    fn wrapped(&self) -> Command {
        let Some(setpriv) = find("setpriv") else {
            assert!(
                self.owner.is_none(),
                "this test needs setpriv (package util-linux) to leave root"
            );
            return Command::new(&self.program);
        };
        let mut command = Command::new(setpriv);
        if let Some(Owner { user, group }) = self.owner {
            command.arg(format!("--reuid={user}")).arg(format!("--regid={group}"));
            command.arg("--clear-groups");
        }
        command.args(["--pdeathsig", "KILL", "--"]).arg(&self.program);
        command
    }
}
