//! How the handling of a message ends.

use std::{borrow::Cow, error::Error as StdError, fmt, time::Duration};

/// A bounded, stable word: a metrics label, never made from a message's content.
pub type Reason = &'static str;

/// How one message's way through its chain ended.
#[derive(Debug)]
pub enum Outcome {
    /// Everything that had to be done is done.
    Done,
    /// A rule says that nothing is to be done: acknowledged and counted.
    Dropped(Reason),
    /// The message is not welcome (no key, bad schema): acknowledged and counted.
    Rejected(Reason),
    /// It could not be handled: retried, held or dead-lettered by [`Failure::kind`].
    Failed(Failure),
}

/// What the engine does about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureKind {
    /// May pass by itself: tried again, and each try counts towards `maxAttempts`.
    Transient,
    /// Will never pass: dead-lettered at once.
    Permanent,
    /// What it needs is away (database, broker): held and tried for ever, attempts not counted.
    Unavailable,
    /// Every message would fail so (table missing, access denied): held for ever and reported as
    /// degraded, so that dead letters are not flooded.
    Systemic,
}

/// Why a message could not be handled.
#[derive(Debug)]
pub struct Failure {
    /// What is done about it.
    pub kind: FailureKind,
    /// A bounded class, see [`class`]: a metrics label and the dead letter's `routemq-class`.
    pub class: Reason,
    /// What failed, in words; never the payload, never a secret. Lower case, no full stop.
    pub message: Cow<'static, str>,
    /// The cause, where there is one; not repeated in `message`.
    pub source: Option<Box<dyn StdError + Send + Sync>>,
    /// Attempts that this failure already used up, zero where nobody retried it yet.
    pub(crate) attempts: u32,
    /// What failed has asked to be left alone for so long; zero where it has not.
    pub(crate) pause: Duration,
}

/// The classes that RouteMQ itself uses. Custom code may use its own, but only a bounded number.
pub mod class {
    use super::Reason;

    /// The payload is not what the route's `payload` rules or a handler's type ask for.
    pub const PAYLOAD_FORMAT: Reason = "PayloadFormat";
    /// An expression could not be evaluated, or is of the wrong type.
    pub const EXPRESSION: Reason = "Expression";
    /// A topic template got a value that may not stand in a topic.
    pub const TEMPLATE: Reason = "Template";
    /// One attempt took longer than `timeoutSeconds`, or the `timeout` middleware's `seconds`.
    pub const TIMEOUT: Reason = "Timeout";
    /// Custom code panicked.
    pub const PANIC: Reason = "Panic";
    /// The process died, several times, while it handled the message.
    pub const CRASH: Reason = "Crash";
    /// The broker is away, or has not confirmed a publish in time.
    pub const BROKER: Reason = "Broker";
    /// The broker refused a publish.
    pub const PUBLISH_REFUSED: Reason = "PublishRefused";
    /// The broker refuses dead letters.
    pub const DEAD_LETTER_REFUSED: Reason = "DeadLetterRefused";
    /// A custom handler's argument could not be taken from the message.
    pub const REJECTION: Reason = "Rejection";
    /// Custom code returned an error of its own.
    pub const HANDLER: Reason = "Handler";
    /// The database is away.
    pub const DATABASE: Reason = "Database";
    /// The database has no such table or column, or denies access to it.
    pub const DATABASE_REFUSED: Reason = "DatabaseRefused";
    /// The database reports an error that says neither row nor outage.
    pub const DATABASE_ERROR: Reason = "DatabaseError";
    /// A row lost a deadlock several times.
    pub const DEADLOCK: Reason = "Deadlock";
    /// A row waited too long for a lock.
    pub const LOCK_TIMEOUT: Reason = "LockTimeout";
    /// The database refused a row.
    pub const ROW: Reason = "Row";
    /// An HTTP service refused, or its answer is of no use.
    pub const HTTP: Reason = "Http";
    /// An HTTP service cannot be reached.
    pub const HTTP_AWAY: Reason = "HttpAway";
    /// A rate limit sends what is beyond it to the dead letters.
    pub const RATE_LIMITED: Reason = "RateLimited";
    /// `filter`: the expression is false.
    pub const FILTERED: Reason = "Filtered";
    /// `apiKey`: there is no key, or an unknown one.
    pub const UNAUTHORIZED: Reason = "Unauthorized";
    /// `validate`: the payload breaks the schema.
    pub const INVALID: Reason = "Invalid";
    /// The publisher's message expiry has passed.
    pub const EXPIRED: Reason = "Expired";
    /// `dedup`: the key was seen within the window.
    pub const DUPLICATE: Reason = "Duplicate";
}

impl Failure {
    /// A failure of any kind.
    pub fn new(kind: FailureKind, class: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            class,
            message: message.into(),
            source: None,
            attempts: 0,
            pause: Duration::ZERO,
        }
    }

    /// May pass by itself.
    pub fn transient(class: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(FailureKind::Transient, class, message)
    }

    /// Will never pass.
    pub fn permanent(class: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(FailureKind::Permanent, class, message)
    }

    /// What it needs is away.
    pub fn unavailable(class: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(FailureKind::Unavailable, class, message)
    }

    /// Every message would fail so.
    pub fn systemic(class: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(FailureKind::Systemic, class, message)
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Not to be tried again sooner than this.
    pub(crate) fn not_before(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// The message and its causes, separated by colons, at most `limit` bytes.
    pub fn describe(&self, limit: usize) -> String {
        let mut text = self.message.clone().into_owned();
        let mut cause = self.source.as_deref().map(|e| e as &dyn StdError);
        while let Some(error) = cause {
            if text.len() >= limit {
                break;
            }
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        truncate(&mut text, limit);
        text
    }
}

/// Cuts `text` to at most `limit` bytes, at a character's edge.
pub(crate) fn truncate(text: &mut String, limit: usize) {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|e| e as &(dyn StdError + 'static))
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What became of a message, for good: the caller may acknowledge it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Final {
    /// How it ended.
    pub outcome: FinalOutcome,
    /// Attempts of the handler that was tried most often; 1 where nothing was retried, 0 where no handler ran.
    pub attempts: u32,
}

/// How a message ended, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FinalOutcome {
    /// Every handler did its work.
    Done,
    /// A rule says that nothing is to be done.
    Dropped(Reason),
    /// Not welcome.
    Rejected(Reason),
    /// Published to the dead letter topic, confirmed by the broker.
    DeadLettered(Reason),
    /// Given up, and the spec names no dead letter topic.
    Discarded(Reason),
}

impl FinalOutcome {
    /// A metrics label: `done`, `dropped`, `rejected`, `dead_lettered`, `discarded`.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Dropped(_) => "dropped",
            Self::Rejected(_) => "rejected",
            Self::DeadLettered(_) => "dead_lettered",
            Self::Discarded(_) => "discarded",
        }
    }

    /// The reason or class, where there is one.
    pub fn class(&self) -> Option<Reason> {
        match *self {
            Self::Done => None,
            Self::Dropped(reason)
            | Self::Rejected(reason)
            | Self::DeadLettered(reason)
            | Self::Discarded(reason) => Some(reason),
        }
    }
}
