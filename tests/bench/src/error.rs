use std::io;

/// Why a measurement came to nothing, or found a wrong answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error("{what}")]
    Io {
        what: &'static str,
        #[source]
        source: io::Error,
    },
    /// A subject lost, doubled or disordered messages, or broke the protocol.
    #[error("{0}")]
    Wrong(String),
    /// What is needed here is not there.
    #[error("{0}")]
    Absent(String),
}

/// Says what failed.
pub(crate) trait Context<T> {
    fn context(self, what: &'static str) -> Result<T, BenchError>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, what: &'static str) -> Result<T, BenchError> {
        self.map_err(|source| BenchError::Io { what, source })
    }
}

/// The error and its causes in one line.
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |it| it.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
