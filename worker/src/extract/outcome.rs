//! What a custom handler can return.

use std::error::Error;

use crate::outcome::{Failure, Outcome, class};

/// What a handler may return: `()`, an [`Outcome`], or a `Result` of either.
///
/// An error is transient, since most are (a service away, a lock not got): it is tried again up to
/// `maxAttempts`, then dead-lettered. Wrap it in [`Permanent`] where trying again is no use.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an outcome",
    note = "return (), an Outcome, or a Result whose error is an std Error, Permanent<E>, Transient<E> or Failure"
)]
pub trait IntoOutcome {
    /// The outcome.
    fn into_outcome(self) -> Outcome;
}

/// What a handler's error may be.
pub trait IntoFailure {
    /// The failure.
    fn into_failure(self) -> Failure;
}

/// An error that will never pass: dead-lettered at once.
///
/// ```
/// use routemq_worker::extract::{IntoOutcome, Permanent};
/// use routemq_worker::{FailureKind, Outcome};
///
/// async fn parse() -> Result<u32, Permanent<std::num::ParseIntError>> {
///     Ok("1,5".parse()?)
/// }
/// # let error = "1,5".parse::<u32>().map(drop).map_err(Permanent);
/// let Outcome::Failed(failure) = error.into_outcome() else { panic!() };
/// assert_eq!(failure.kind, FailureKind::Permanent);
/// ```
#[derive(Debug)]
pub struct Permanent<E>(pub E);

/// An error that may pass: tried again. The same as the bare error, said aloud.
#[derive(Debug)]
pub struct Transient<E>(pub E);

impl IntoOutcome for () {
    fn into_outcome(self) -> Outcome {
        Outcome::Done
    }
}

impl IntoOutcome for Outcome {
    fn into_outcome(self) -> Outcome {
        self
    }
}

impl<T: IntoOutcome, E: IntoFailure> IntoOutcome for Result<T, E> {
    fn into_outcome(self) -> Outcome {
        self.map_or_else(|error| Outcome::Failed(error.into_failure()), T::into_outcome)
    }
}

impl<E: Error + Send + Sync + 'static> IntoFailure for E {
    fn into_failure(self) -> Failure {
        own(Box::new(self)).unwrap_or_else(|error| {
            Failure::transient(class::HANDLER, "the handler failed").with_source(error)
        })
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> IntoFailure for Permanent<E> {
    fn into_failure(self) -> Failure {
        own(self.0.into()).unwrap_or_else(|error| {
            Failure::permanent(class::HANDLER, "the handler failed").with_source(error)
        })
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> IntoFailure for Transient<E> {
    fn into_failure(self) -> Failure {
        Failure::transient(class::HANDLER, "the handler failed").with_source(self.0)
    }
}

impl<E> From<E> for Permanent<E> {
    fn from(error: E) -> Self {
        Self(error)
    }
}

/// A [`Failure`] that came back as an error keeps its kind and class.
fn own(error: Box<dyn Error + Send + Sync>) -> Result<Failure, Box<dyn Error + Send + Sync>> {
    error.downcast::<Failure>().map(|failure| *failure)
}
