//! A network between Layby and a MySQL server that can be cut, or made to hang.
#![expect(
    clippy::disallowed_methods,
    reason = "a network that hangs is made by waiting"
)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

const OPEN: u8 = 0;
const CUT: u8 = 1;
const HANGING: u8 = 2;

#[derive(Clone)]
pub(super) struct Proxy {
    state: Arc<AtomicU8>,
    pub(super) port: u16,
}

impl Proxy {
    pub(super) fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("a port").port();
        let proxy = Self {
            state: Arc::new(AtomicU8::new(OPEN)),
            port,
        };
        let network = proxy.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&server) else {
                    return;
                };
                network.join(&client, &server);
                network.join(&server, &client);
            }
        });
        proxy
    }

    pub(super) fn open(&self) {
        self.state.store(OPEN, Ordering::SeqCst);
    }

    /// Every connection breaks, and so does every new one.
    pub(super) fn cut(&self) {
        self.state.store(CUT, Ordering::SeqCst);
    }

    /// Nothing breaks, and nothing comes through.
    pub(super) fn hang(&self) {
        self.state.store(HANGING, Ordering::SeqCst);
    }

    fn join(&self, from: &TcpStream, to: &TcpStream) {
        let (mut from, mut to) = (
            from.try_clone().expect("a socket"),
            to.try_clone().expect("a socket"),
        );
        from.set_read_timeout(Some(Duration::from_millis(5)))
            .expect("a timeout");
        let state = Arc::clone(&self.state);
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while pass(&mut from, &mut to, &mut buffer, &state) {}
            for socket in [from, to] {
                drop(socket.shutdown(Shutdown::Both));
            }
        });
    }
}

/// Says whether there may be more.
fn pass(from: &mut TcpStream, to: &mut TcpStream, buffer: &mut [u8], state: &AtomicU8) -> bool {
    if state.load(Ordering::SeqCst) == HANGING {
        thread::sleep(Duration::from_millis(5));
        return true;
    }
    let read = match from.read(buffer) {
        Ok(0) => return false,
        Ok(read) => read,
        Err(error) => return is_timeout(&error) && state.load(Ordering::SeqCst) != CUT,
    };
    while state.load(Ordering::SeqCst) == HANGING {
        thread::sleep(Duration::from_millis(5));
    }
    state.load(Ordering::SeqCst) == OPEN && to.write_all(&buffer[..read]).is_ok()
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
    )
}
