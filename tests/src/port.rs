//! Ports for servers.

use std::net::TcpListener;

/// A loopback port on which nobody listens, below the range that outgoing connections take their own ports
/// from: so a server that is stopped for a while finds its port free again, and a client that knocks meanwhile
/// cannot connect to itself.
pub fn free_port() -> u16 {
    for _ in 0..1000 {
        let port = fastrand::u16(10_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 10,000 and 32,000 after 1,000 tries");
}
