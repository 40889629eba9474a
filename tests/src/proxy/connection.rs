//! One proxied connection: two pumps that end together.

use std::{io, net::SocketAddr, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{broadcast, watch},
};

use super::{Controls, Direction, Frame, Mode, Tap, Verdict};

/// One direction of a connection.
struct Pump<'a> {
    number: u64,
    direction: Direction,
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    mode: watch::Receiver<Mode>,
    tap: Option<Tap>,
    read: BytesMut,
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
    };
    let to_broker = pump(Direction::ToBroker, client_read, server_write).run();
    let to_client = pump(Direction::ToClient, server_read, client_write).run();
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
        loop {
            let _ = self.mode.wait_for(|mode| *mode != Mode::Pause).await;
            if self.from.read_buf(&mut self.read).await? == 0 {
                return self.to.shutdown().await;
            }
            // Read again: it may have changed while nothing came.
            let mode = *self.mode.wait_for(|mode| *mode != Mode::Pause).await.map_err(closed)?;
            match mode {
                Mode::Swallow => self.read.clear(),
                Mode::Pass(delay) => self.pass(delay).await?,
                Mode::Pause | Mode::Refuse => {}
            }
        }
    }

    async fn pass(&mut self, delay: Duration) -> io::Result<()> {
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let Some(tap) = self.tap.clone() else {
            self.to.write_all(&self.read).await?;
            self.read.clear();
            return Ok(());
        };
        while let Some(frame) = Frame::take(&mut self.read) {
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
