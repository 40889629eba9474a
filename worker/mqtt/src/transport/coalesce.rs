//! Fewer and larger reads from a broker that sends each message by itself, as most do.
//!
//! To be woken for each message takes more processor time than to handle it, of the sender as well. So while many small
//! messages come, the system is asked to tell of a handful together (`SO_RCVLOWAT`, socket(7)), as a network card does.
//!
//! Guarantee: a byte is told at most four milliseconds later than without, whatever else comes or does not; at fewer than
//! 8,000 reads a second, none is later. Each tick looks whether it was right to wait.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

use super::pace::Pace;

/// The timer's own measure: two at most, where one is asked for.
const TICK: Duration = Duration::from_millis(1);

/// How many bytes there are before a socket is told to be readable. Where the mark is lowered, Linux tells at once of what
/// is there already (since 4.18, which tokio needs as well); other systems are not asked.
mod low_water {
    use std::io;

    use tokio::net::TcpStream;

    #[cfg(target_os = "linux")]
    mod option {
        use nix::{setsockopt_impl, sockopt_impl};
        sockopt_impl!(LowWater, SetOnly, libc::SOL_SOCKET, libc::SO_RCVLOWAT, i32);
    }

    #[cfg(target_os = "linux")]
    pub(super) fn set(socket: &TcpStream, bytes: usize) -> io::Result<()> {
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        Ok(nix::sys::socket::setsockopt(socket, option::LowWater, &bytes)?)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn set(_: &TcpStream, _: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A connection whose small messages are read together.
#[derive(Debug)]
pub(super) struct Coalescing {
    socket: TcpStream,
    pace: Pace,
    tick: Pin<Box<Sleep>>,
}

impl Coalescing {
    /// Needs a runtime with time.
    pub(super) fn new(socket: TcpStream) -> Self {
        Self { socket, pace: Pace::new(Instant::now()), tick: Box::pin(sleep(TICK)) }
    }

    /// A system that knows no such mark tells of each byte.
    fn note(&mut self, bytes: usize) {
        if let Some(mark) = self.pace.read(bytes, Instant::now) {
            if low_water::set(&self.socket, mark).is_ok() {
                self.tick.as_mut().reset(Instant::now() + TICK);
            } else {
                self.pace.give_up();
            }
        }
    }

    /// While bytes are waited for. Less than that may be there: the system tells of it as soon as the mark is lower.
    fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.pace.waits_for().is_some() {
            ready!(self.tick.as_mut().poll(cx));
            let now = Instant::now();
            match self.pace.tick(now) {
                Some(mark) => low_water::set(&self.socket, mark)?,
                None => self.tick.as_mut().reset(now + TICK),
            }
        }
        Poll::Pending
    }
}

impl AsyncRead for Coalescing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.socket).poll_read(cx, buffer) {
            Poll::Pending => self.poll_tick(cx),
            Poll::Ready(result) => {
                self.note(buffer.filled().len() - before);
                Poll::Ready(result)
            }
        }
    }
}

impl AsyncWrite for Coalescing {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        time::timeout,
    };

    use super::*;

    const MESSAGE: [u8; 150] = [7; 150];
    const SOON: Duration = Duration::from_secs(20);

    async fn pair() -> (Coalescing, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (theirs, _) = listener.accept().await.unwrap();
        theirs.set_nodelay(true).unwrap();
        (Coalescing::new(ours), theirs)
    }

    async fn read(connection: &mut Coalescing) -> usize {
        let mut buffer = [0; 4096];
        timeout(SOON, connection.read(&mut buffer)).await.expect("nothing to read").unwrap()
    }

    /// Messages one by one until bytes are waited for.
    async fn hurry(connection: &mut Coalescing, sender: &mut TcpStream) {
        let hurry = async {
            while connection.pace.waits_for().is_none() {
                sender.write_all(&MESSAGE).await.unwrap();
                read(connection).await;
            }
        };
        timeout(SOON, hurry).await.expect("never fast enough to be gathered");
    }

    #[tokio::test]
    async fn a_lone_message_behind_a_flow_is_read_although_more_is_waited_for() {
        let (mut connection, mut sender) = pair().await;
        for _ in 0..3 {
            hurry(&mut connection, &mut sender).await;
            sender.write_all(&MESSAGE).await.unwrap();
            assert_eq!(read(&mut connection).await, MESSAGE.len());
            assert_eq!(
                connection.pace.waits_for(),
                None,
                "it was read without having been waited for"
            );
        }
    }

    #[tokio::test]
    async fn the_end_of_a_flow_is_told_although_more_is_waited_for() {
        let (mut connection, mut sender) = pair().await;
        hurry(&mut connection, &mut sender).await;
        drop(sender);
        assert_eq!(read(&mut connection).await, 0);
    }

    /// Whether all but one byte of what is waited for is left alone until that comes.
    async fn is_left_alone(connection: &mut Coalescing, sender: &mut TcpStream) -> bool {
        hurry(connection, sender).await;
        let mark = connection.pace.waits_for().unwrap();
        sender.write_all(&vec![7; mark - 1]).await.unwrap();
        let mut reading = Box::pin(read(connection));
        let early = timeout(Duration::from_micros(200), &mut reading).await;
        sender.write_all(&[7]).await.unwrap();
        match early {
            Ok(_) => {
                drop(reading);
                read(connection).await;
                false
            }
            Err(_) => reading.await == mark,
        }
    }

    #[tokio::test]
    async fn a_handful_is_read_together() {
        let (mut connection, mut sender) = pair().await;
        for _ in 0..10 {
            // A machine that has no time for us now is too slow to wait for more.
            if is_left_alone(&mut connection, &mut sender).await {
                return;
            }
        }
        panic!("what was waited for was never read together");
    }
}
