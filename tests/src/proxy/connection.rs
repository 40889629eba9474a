//! One proxied connection: two pumps that end together.

use std::{collections::VecDeque, io, net::SocketAddr, sync::atomic::Ordering::Relaxed};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{broadcast, watch},
    time::{Instant, sleep_until},
};

use super::{Controls, Direction, Frame, Line, Mode, Tap, Verdict};

/// On the way on a slow line, at most; then the sender meets back-pressure.
const ON_THE_WAY: usize = 1024 * 1024;

/// One direction of a connection.
struct Pump<'a> {
    number: u64,
    direction: Direction,
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    mode: watch::Receiver<Mode>,
    tap: Option<Tap>,
    read: BytesMut,
    /// On the way, each with the time of its arrival; in order.
    held: VecDeque<(Instant, BytesMut)>,
    /// Arrived, and maybe not a whole packet yet.
    arrived: BytesMut,
}

pub(super) async fn serve(
    number: u64,
    mut client: TcpStream,
    target: SocketAddr,
    controls: Controls,
    tap: Option<Tap>,
) {
    let mut cut = controls.cut.subscribe();
    let Ok(mut server) = TcpStream::connect(target).await else {
        return reset(&client);
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let orderly = forward(number, &mut client, &mut server, &controls, tap, &mut cut).await;
    if !orderly {
        reset(&client);
        reset(&server);
    }
}

/// True when both sides closed in good order.
async fn forward(
    number: u64,
    client: &mut TcpStream,
    server: &mut TcpStream,
    controls: &Controls,
    tap: Option<Tap>,
    cut: &mut broadcast::Receiver<()>,
) -> bool {
    let (client_read, client_write) = client.split();
    let (server_read, server_write) = server.split();
    let pump = |direction, from, to| Pump {
        number,
        direction,
        from,
        to,
        mode: controls.mode.subscribe(),
        tap: tap.clone(),
        read: BytesMut::with_capacity(64 * 1024),
        held: VecDeque::new(),
        arrived: BytesMut::new(),
    };
    let to_broker = pump(Direction::ToBroker, client_read, server_write).run();
    let to_client = pump(Direction::ToClient, server_read, client_write).run();
    let to_client = async {
        let ended = to_client.await;
        controls.ended.fetch_add(1, Relaxed);
        ended
    };
    // Half a connection may close long before the other half: to drop the rest would reset it, and a reset
    // makes a broker forget what it has not read yet.
    tokio::select! {
        ended = async { tokio::try_join!(to_broker, to_client) } => ended.is_ok(),
        _ = cut.recv() => false,
    }
}

/// The next close of the stream sends RST.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

// === impl Pump ===

impl Pump<'_> {
    /// Until the sender closes (`Ok`), or the connection breaks or is to be cut (`Err`).
    async fn run(mut self) -> io::Result<()> {
        let mut open = true;
        while open || !self.held.is_empty() || !self.read.is_empty() {
            let mode = *self.mode.borrow_and_update();
            self.take_in(mode).await?;
            let reads = open && mode != Mode::Pause && self.on_the_way() < ON_THE_WAY;
            let due = self.held.front().map(|(due, _)| *due).filter(|_| mode != Mode::Pause);
            tokio::select! {
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.arrive().await?;
                }
                changed = self.mode.changed() => changed.map_err(closed)?,
                read = self.from.read_buf(&mut self.read), if reads => open = read? > 0,
            }
        }
        self.to.shutdown().await
    }

    fn on_the_way(&self) -> usize {
        self.held.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// What was read goes on its way, or is lost.
    async fn take_in(&mut self, mode: Mode) -> io::Result<()> {
        match mode {
            Mode::Pass(line) if !self.read.is_empty() => {
                let bytes = self.read.split();
                if line == Line::default() && self.held.is_empty() {
                    self.arrived.unsplit(bytes);
                    return self.pass().await;
                }
                let before = self.held.back().map(|(due, _)| *due);
                let due = Instant::now() + line.takes();
                self.held.push_back((before.map_or(due, |before| before.max(due)), bytes));
            }
            Mode::Swallow => {
                self.read.clear();
                self.held.clear();
            }
            Mode::Pass(_) | Mode::Pause | Mode::Refuse => {}
        }
        Ok(())
    }

    async fn arrive(&mut self) -> io::Result<()> {
        if let Some((_, bytes)) = self.held.pop_front() {
            self.arrived.unsplit(bytes);
        }
        self.pass().await
    }

    async fn pass(&mut self) -> io::Result<()> {
        let Some(tap) = self.tap.clone() else {
            self.to.write_all(&self.arrived).await?;
            self.arrived.clear();
            return Ok(());
        };
        while let Some(frame) = Frame::take(&mut self.arrived) {
            let verdict = tap(self.number, self.direction, &frame);
            self.follow(verdict, &frame).await?;
        }
        Ok(())
    }

    async fn follow(&mut self, verdict: Verdict, frame: &Frame) -> io::Result<()> {
        match verdict {
            Verdict::Pass => self.to.write_all(frame.bytes()).await,
            Verdict::Drop => Ok(()),
            Verdict::CutBefore => Err(io::ErrorKind::ConnectionReset.into()),
            Verdict::CutAfter => {
                self.to.write_all(frame.bytes()).await?;
                self.to.flush().await?;
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
    }
}

fn closed<E>(_: E) -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}
