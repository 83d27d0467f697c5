//! Ports for programs that have to be told theirs before they start.

use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that Linux gives to whoever asks for any (`ip_local_port_range`, 32768 to 60999): a port of
/// this range is nobody's source and no listener's by chance.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

/// Ports that nothing listens on, all different, and that no other test is given while this process lives.
///
/// A test that binds port 0 and lets it go has no port: the kernel gives it to the next one who asks. What holds
/// a port here is a socket of that name in the abstract name space, which all tests of a network name space share.
///
/// # Panics
/// If all of the range is taken.
#[must_use]
pub fn free_ports<const N: usize>() -> [u16; N] {
    static HELD: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    static NEXT: AtomicU16 = AtomicU16::new(0);
    std::array::from_fn(|_| {
        for _ in 0..COUNT {
            let port = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
            let name = SocketAddr::from_abstract_name(format!("nacre-test-port-{port}")).unwrap();
            let Ok(held) = UnixListener::bind_addr(&name) else {
                continue;
            };
            if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
                HELD.lock().unwrap().push(held);
                return port;
            }
        }
        panic!("no port of {FIRST} to {} is free", FIRST + COUNT - 1);
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::thread::spawn;

    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let threads: Vec<_> = (0..4).map(|_| spawn(free_ports::<50>)).collect();
        let given = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap());
        let different: BTreeSet<u16> = given.collect();
        assert_eq!(different.len(), 200);
        assert!(different.iter().all(|port| (FIRST..32_768).contains(port)));
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_not_free() {
        let [port] = free_ports();
        let _somebody = TcpListener::bind(("127.0.0.2", port)).unwrap();
        assert!(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_err());
    }
}
