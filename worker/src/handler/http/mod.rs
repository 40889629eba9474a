//! Calls an HTTP service; done when it has answered with success.
//!
//! # Flow
//! 1. [`request`]: the address with its params, headers and body, from the message.
//! 2. [`client`]: one pool of connections for the process. Redirects are not followed, an answer's body is bounded.
//! 3. [`answer`]: what the status means, and what later handlers see of it.
//!
//! # Guarantees
//! - No value of a message changes the host, or adds a level to the path: params are percent-encoded.
//! - A service that cannot be reached holds its messages, as a database does; one that answers with 408, 425, 429 or 5xx is asked
//!   again up to `maxAttempts`, no sooner than its `Retry-After` says.

mod answer;
mod client;
mod request;
#[cfg(test)]
mod tests;

use routemq_crds::table;
use tokio::time::timeout;

use super::Answer;
use crate::{
    engine::Shared,
    message::Message,
    outcome::{Failure, class},
};

use self::{
    client::{CallError, Client},
    request::Template,
};

/// The `http` handler.
#[derive(Debug)]
pub(crate) struct Http {
    spec: table::Http,
    url: Template,
    /// Whether a later handler asks for the answer.
    keeps: bool,
}

impl Http {
    pub(crate) fn new(spec: table::Http, keeps: bool) -> Self {
        Self { url: Template::new(&spec.url), spec, keeps }
    }

    pub(crate) async fn run(&self, message: &Message, shared: &Shared) -> Result<Answer, Failure> {
        let request = request::of(&self.spec, &self.url, message, shared)?;
        let call = Client::shared().call(request, self.keeps);
        let Ok(called) = timeout(self.spec.timeout, call).await else {
            let seconds = self.spec.timeout.as_secs_f32();
            let words = format!("the service did not answer within {seconds} s");
            return Err(Failure::transient(class::TIMEOUT, words));
        };
        let called = called.map_err(failure)?;
        answer::judge(&called)?;
        self.keeps.then(|| answer::value(&called)).transpose()
    }
}

/// Without a connection nothing has reached the service: that is held, like a database that is away.
fn failure(error: CallError) -> Failure {
    match error {
        CallError::Connect(source) => {
            Failure::unavailable(class::HTTP_AWAY, "the service cannot be reached")
                .with_source(source)
        }
        CallError::Broken(source) => {
            Failure::transient(class::HTTP, "the connection to the service broke")
                .with_source(source)
        }
        CallError::TooLarge => Failure::permanent(
            class::HTTP,
            "the service's answer is larger than 1 MiB; leave `as` out, or have it answer with less",
        ),
    }
}
