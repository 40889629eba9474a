//! A TCP proxy that breaks connections on demand.
//!
//! With a tap ([`Proxy::tapped`]) it understands MQTT's framing: the tap sees each packet before it goes on,
//! and may drop it or cut the connection before or after it. So it can also count what was acknowledged,
//! independently of both ends.

mod connection;
mod frame;
mod line;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    net::TcpListener,
    sync::{broadcast, watch},
    task::JoinHandle,
};

pub use frame::{Direction, Frame, Verdict};
pub use line::Line;

/// What to do with each packet; the first argument counts the connections from 1.
pub(crate) type Tap = Arc<dyn Fn(u64, Direction, &Frame) -> Verdict + Send + Sync>;

/// Listens on a free loopback port and forwards to `target`; dropping it cuts everything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    accepted: Arc<AtomicU64>,
    controls: Controls,
    task: JoinHandle<()>,
}

/// What connections do at the moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    /// Forward over such a line.
    Pass(Line),
    /// Read nothing: the senders' buffers fill.
    Pause,
    /// Read and discard, both ways: a half-open connection.
    Swallow,
    /// Close new connections at once.
    Refuse,
}

#[derive(Clone, Debug)]
pub(crate) struct Controls {
    mode: watch::Sender<Mode>,
    cut: broadcast::Sender<()>,
    /// Connections whose broker side has ended.
    ended: Arc<AtomicU64>,
}

impl Proxy {
    /// Forwards bytes.
    pub async fn start(target: SocketAddr) -> Self {
        Self::listen(target, None).await
    }

    /// Forwards MQTT packets, each shown to `tap` (connection from 1, direction, packet) first.
    pub async fn tapped(
        target: SocketAddr,
        tap: impl Fn(u64, Direction, &Frame) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        Self::listen(target, Some(Arc::new(tap))).await
    }

    async fn listen(target: SocketAddr, tap: Option<Tap>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let controls = Controls {
            mode: watch::Sender::new(Mode::Pass(Line::default())),
            cut: broadcast::Sender::new(1),
            ended: Arc::default(),
        };
        let accepted = Arc::new(AtomicU64::new(0));
        let task =
            tokio::spawn(accept(listener, target, controls.clone(), tap, Arc::clone(&accepted)));
        Self { address, accepted, controls, task }
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// How many connections the broker has ended, whether their clients have noticed or not.
    pub fn ended_by_broker(&self) -> u64 {
        self.controls.ended.load(Relaxed)
    }

    /// `mqtt://` and the address.
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// Resets (RST) the connections that there are; new ones are served.
    pub fn cut(&self) {
        let _ = self.controls.cut.send(());
    }

    /// From now on everything is read and discarded both ways, on old and new connections.
    pub fn swallow(&self) {
        self.set(Mode::Swallow);
    }

    /// From now on nothing is read: senders meet back-pressure.
    pub fn pause(&self) {
        self.set(Mode::Pause);
    }

    /// Resets what there is and closes new connections at once.
    pub fn refuse(&self) {
        self.set(Mode::Refuse);
        self.cut();
    }

    /// Holds each read back for `delay`, both ways.
    pub fn delay(&self, delay: Duration) {
        self.behave(Line { delay, ..Line::default() });
    }

    /// Forwards as such a line would, both ways.
    pub fn behave(&self, line: Line) {
        self.set(Mode::Pass(line));
    }

    /// Forwards again at once. What was swallowed stays lost.
    pub fn heal(&self) {
        self.behave(Line::default());
    }

    fn set(&self, mode: Mode) {
        self.controls.mode.send_replace(mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    controls: Controls,
    tap: Option<Tap>,
    accepted: Arc<AtomicU64>,
) {
    for number in 1.. {
        let Ok((client, _)) = listener.accept().await else { return };
        accepted.store(number, Relaxed);
        if *controls.mode.borrow() == Mode::Refuse {
            continue;
        }
        tokio::spawn(connection::serve(number, client, target, controls.clone(), tap.clone()));
    }
}
