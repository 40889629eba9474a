//! A few connections, opened when needed and closed as soon as they are in doubt.
//!
//! Of our own, because sqlx's pool tests each connection that comes back without a bound on the
//! time: a server that hangs would keep all of them.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use sqlx::Connection;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};

use super::{
    DatabaseOptions,
    fault::{Fault, Verdict},
};

/// A connection that was idle for longer is tested before its use.
const TEST_AFTER: Duration = Duration::from_secs(1);
/// A server that does not answer a test within this is given up.
const TEST_LIMIT: Duration = Duration::from_secs(2);
/// Connections are renewed now and then, so that a moved server name or new credentials are noticed.
const MAX_AGE: Duration = Duration::from_mins(30);

/// Opens connections of one kind.
pub(crate) trait Connect: Send + Sync {
    type Connection: Connection + Send + 'static;

    /// Opens one, its session set up.
    fn open(&self) -> impl Future<Output = Result<Self::Connection, Fault>> + Send;
}

pub(crate) struct Pool<C: Connect> {
    connector: ArcSwap<C>,
    /// Counts connectors: a connection of an earlier one is not used again.
    generation: AtomicU64,
    permits: Semaphore,
    idle: Mutex<Vec<Held<C::Connection>>>,
    options: DatabaseOptions,
}

struct Held<T> {
    connection: T,
    generation: u64,
    opened: Instant,
    used: Instant,
}

impl<C: Connect> Pool<C> {
    pub(crate) fn new(connector: C, connections: usize, options: DatabaseOptions) -> Self {
        let permits = Semaphore::new(connections.max(1));
        Self {
            connector: ArcSwap::from_pointee(connector),
            generation: AtomicU64::new(0),
            permits,
            idle: Mutex::default(),
            options,
        }
    }

    /// Opens connections as it stands.
    pub(crate) fn connector(&self) -> Arc<C> {
        self.connector.load_full()
    }

    /// From now on connections are opened by `other`'s connector. Those at work end their work, and are closed then.
    pub(crate) fn redirect(&self, other: &Self) {
        self.connector.store(other.connector());
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.idle().clear();
    }

    /// A connection for one piece of work: a free one, or a new one.
    pub(crate) async fn lease(&self) -> Result<Lease<'_, C>, Fault> {
        let permit = self.permit().await?;
        let Held { connection, generation, opened, .. } = self.take().await?;
        Ok(Lease { connection, generation, opened, pool: self, _permit: permit })
    }

    /// Ends `work` when the statement timeout is over.
    pub(crate) async fn bounded<T>(
        &self,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let limit = self.options.statement_timeout;
        let late = || Err(no_answer("answer to a statement", limit));
        timeout(limit, work).await.unwrap_or_else(|_| late())
    }

    pub(crate) async fn ping(&self) -> Result<(), Fault> {
        let mut lease = self.lease().await?;
        let result = self.bounded(async { Ok(lease.connection.ping().await?) }).await;
        lease.settle(result)
    }

    async fn permit(&self) -> Result<SemaphorePermit<'_>, Fault> {
        let limit = self.options.acquire_timeout;
        match timeout(limit, self.permits.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(no_answer("connection free", limit)),
        }
    }

    async fn take(&self) -> Result<Held<C::Connection>, Fault> {
        loop {
            let Some(mut held) = self.pop() else { return self.open().await };
            let current = held.generation == self.generation();
            if current && held.opened.elapsed() < MAX_AGE && is_alive(&mut held).await {
                return Ok(held);
            }
        }
    }

    async fn open(&self) -> Result<Held<C::Connection>, Fault> {
        let limit = self.options.acquire_timeout;
        // Read first: a connector that is replaced meanwhile makes the connection an old one.
        let generation = self.generation();
        let connection = timeout(limit, self.connector().open())
            .await
            .unwrap_or_else(|_| Err(no_answer("answer to a new connection", limit)))?;
        let now = Instant::now();
        Ok(Held { connection, generation, opened: now, used: now })
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    fn pop(&self) -> Option<Held<C::Connection>> {
        self.idle().pop()
    }

    /// Held only to push or pop.
    fn idle(&self) -> MutexGuard<'_, Vec<Held<C::Connection>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says goodbye on the idle connections; those at work are closed when they come back idle and unused.
    pub(crate) async fn close(&self) {
        while let Some(held) = self.pop() {
            let _ = timeout(TEST_LIMIT, held.connection.close()).await;
        }
    }
}

/// A connection at work. It is closed where this is dropped without [`Lease::settle`]: nobody knows
/// then what it was about to say.
pub(crate) struct Lease<'p, C: Connect> {
    pub(crate) connection: C::Connection,
    generation: u64,
    opened: Instant,
    pool: &'p Pool<C>,
    _permit: SemaphorePermit<'p>,
}

impl<C: Connect> Lease<'_, C> {
    /// Keeps the connection for the next work, unless the result puts it in doubt.
    pub(crate) fn settle<T>(self, result: Result<T, Fault>) -> Result<T, Fault> {
        match &result {
            Err(fault) if fault.verdict.breaks_connection() => self.pool.idle().clear(),
            _ if self.generation != self.pool.generation() => {}
            _ => self.pool.idle().push(Held {
                connection: self.connection,
                generation: self.generation,
                opened: self.opened,
                used: Instant::now(),
            }),
        }
        result
    }
}

async fn is_alive<T: Connection>(held: &mut Held<T>) -> bool {
    if held.used.elapsed() < TEST_AFTER {
        return true;
    }
    matches!(timeout(TEST_LIMIT, held.connection.ping()).await, Ok(Ok(())))
}

fn no_answer(what: &str, limit: Duration) -> Fault {
    Fault::new(Verdict::Away, format!("no {what} within {} s", limit.as_secs_f64()))
}
