//! The fastest honest subscriber: big reads, only what tells one packet from the next, one write of acknowledgements
//! a read. It looks at no topic, no property, no payload.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use super::{Order, Tally, say_ready};
use crate::{
    error::{BenchError, Context as _},
    frames::{connect, packet, subscribe},
};

const READ: usize = 256 * 1024;

pub(super) fn run(order: &Order, tally: &Tally) -> Result<(), BenchError> {
    let mut stream = TcpStream::connect(("127.0.0.1", order.port)).context("no connection")?;
    stream.set_nodelay(true).context("no connection")?;
    stream.write_all(&connect("bench-raw", order.window)).context("no connection")?;
    stream.write_all(&subscribe("$share/raw/#", order.qos)).context("no subscription")?;
    // Ends with the connection, which ends with the measurement.
    let _ = receive(&mut stream, tally);
    Ok(())
}

fn receive(stream: &mut TcpStream, tally: &Tally) -> io::Result<()> {
    let (mut buffer, mut filled) = (vec![0; 2 * READ], 0);
    let mut out = Vec::with_capacity(READ);
    loop {
        let read = stream.read(&mut buffer[filled..])?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let end = take(&buffer[..filled], tally, &mut out);
        stream.write_all(&out)?;
        out.clear();
        buffer.copy_within(end..filled, 0);
        filled -= end;
    }
}

/// Counts and acknowledges all whole packets; where they end.
fn take(bytes: &[u8], tally: &Tally, out: &mut Vec<u8>) -> usize {
    let (mut at, mut messages) = (0, 0);
    while let Some(packet) = packet(bytes, at) {
        at = packet.end;
        match (packet.kind(), packet.first >> 1 & 0b11) {
            (3, 0) => messages += 1,
            (3, qos) => {
                messages += 1;
                let id = packet.number(2 + usize::from(packet.number(0)));
                put_ack(if qos == 1 { 0x40 } else { 0x50 }, id, out);
            }
            (6, _) => put_ack(0x70, packet.number(0), out),
            (9, _) => say_ready(None),
            _ => {}
        }
    }
    tally.add(messages);
    at
}

fn put_ack(first: u8, id: u16, out: &mut Vec<u8>) {
    let [high, low] = id.to_be_bytes();
    out.extend([first, 2, high, low]);
}
