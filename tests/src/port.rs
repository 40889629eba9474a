//! Ports for servers.

use std::{
    net::{TcpListener, UdpSocket},
    sync::{Mutex, PoisonError},
};

/// Below the ports that outgoing connections take (a server that is stopped for a while finds its port free again,
/// and a client that knocks meanwhile cannot connect to itself), and beside those of `tests/cluster`.
const PORTS: std::ops::Range<u16> = 10_000..22_000;

/// The UDP sockets of the same numbers, which no server here uses: held until this process ends, they tell every
/// other test process that the port is given away, also while its server is stopped.
static RESERVED: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());

/// A loopback port on which nobody listens, and which no other call here is given until this process ends.
pub fn free_port() -> u16 {
    for _ in 0..1000 {
        let port = fastrand::u16(PORTS);
        let Ok(reserved) = UdpSocket::bind(("127.0.0.1", port)) else { continue };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            RESERVED.lock().unwrap_or_else(PoisonError::into_inner).push(reserved);
            return port;
        }
    }
    panic!("no free port in {PORTS:?} after 1,000 tries");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_port_is_given_twice_and_others_see_that_it_is_taken() {
        let ports: BTreeSet<u16> = (0..200).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 200);
        for port in ports {
            assert!(UdpSocket::bind(("127.0.0.1", port)).is_err(), "{port}");
            TcpListener::bind(("127.0.0.1", port)).unwrap();
        }
    }
}
