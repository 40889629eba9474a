//! Why a command failed: one line a reason, the chain of causes joined, and an exit code.

use std::{error::Error, process::ExitCode};

use super::style;

/// Exit code 1: what the user gave is wrong.
const INPUT: u8 = 1;
/// Exit code 3: a broker, a database, a file system.
const WORLD: u8 = 3;

/// Why a command failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    code: u8,
    lines: Vec<String>,
}

impl Failure {
    pub(crate) fn input(line: impl Into<String>) -> Self {
        Self { code: INPUT, lines: vec![line.into()] }
    }

    pub(crate) fn inputs(lines: impl IntoIterator<Item = String>) -> Self {
        Self { code: INPUT, lines: lines.into_iter().collect() }
    }

    pub(crate) fn input_from(error: &dyn Error) -> Self {
        Self::input(chain(error))
    }

    pub(crate) fn world(line: impl Into<String>) -> Self {
        Self { code: WORLD, lines: vec![line.into()] }
    }

    pub(crate) fn world_from(error: &dyn Error) -> Self {
        Self::world(chain(error))
    }

    /// Adds a cause to the last line.
    pub(crate) fn because(mut self, cause: &dyn Error) -> Self {
        if let Some(line) = self.lines.last_mut() {
            *line = format!("{line}: {}", chain(cause));
        }
        self
    }

    pub(crate) fn report(&self) -> ExitCode {
        let paint = style::Paint::stderr();
        for line in &self.lines {
            eprintln!("{} {}", paint.red("error:"), one_line(line));
        }
        ExitCode::from(self.code)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&one_line(&self.lines.join("; ")))
    }
}

/// An error and its causes; a cause that the text before already says is left out.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read route.yaml")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_are_joined_on_one_line() {
        let error = Outer(std::io::Error::other("disk\n  is gone"));
        let failure = Failure::world_from(&error);
        assert_eq!(one_line(&failure.lines[0]), "cannot read route.yaml: disk is gone");
        assert_eq!(failure.code, WORLD);
    }

    #[test]
    fn a_cause_that_is_already_said_is_not_repeated() {
        let error = Outer(std::io::Error::other("route.yaml"));
        assert_eq!(chain(&error), "cannot read route.yaml");
    }
}
