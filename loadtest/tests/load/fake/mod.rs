//! A server that speaks as much of the contract as the load test needs, in memory, with manners to choose.

mod routes;
mod shop;

use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use uuid::Uuid;

pub(crate) use shop::Manners;
use shop::Shop;

type Shared = Data<Mutex<Shop>>;

pub(crate) struct Fake {
    address: SocketAddr,
    buyers: u32,
    handle: Arc<Mutex<Option<ServerHandle>>>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    pub(crate) fn start(manners: Manners, buyers: u32) -> Self {
        let shop = Data::new(Mutex::new(Shop::new(manners)));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let handle = Arc::new(Mutex::new(None));
        let (ready, started) = mpsc::channel();
        let thread = std::thread::spawn({
            let handle = Arc::clone(&handle);
            move || {
                if manners.restarts {
                    let first_life = serve(
                        &shop,
                        listener,
                        &handle,
                        &ready,
                        Some(Duration::from_millis(600)),
                    );
                    actix_web::rt::System::new().block_on(first_life);
                    be_away(Duration::from_millis(300));
                    let listener = TcpListener::bind(address).expect("the port again");
                    actix_web::rt::System::new()
                        .block_on(serve(&shop, listener, &handle, &ready, None));
                } else {
                    actix_web::rt::System::new()
                        .block_on(serve(&shop, listener, &handle, &ready, None));
                }
            }
        });
        started.recv().expect("the fake server starts");
        Self {
            address,
            buyers,
            handle,
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// As `layby seed` writes them.
    pub(crate) fn tokens(&self) -> String {
        let mut lines = String::new();
        for number in 0..self.buyers {
            let id = buyer_id(&buyer_token(number));
            writeln!(lines, "{id},{}", buyer_token(number)).expect("a string");
        }
        lines
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.lock().expect("not poisoned").take() {
            drop(handle.stop(false));
        }
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the fake server ends well");
        }
    }
}

/// Serves until stopped through the handle, or abruptly after the given life.
async fn serve(
    shop: &Shared,
    listener: TcpListener,
    handle: &Mutex<Option<ServerHandle>>,
    ready: &mpsc::Sender<()>,
    life: Option<Duration>,
) {
    let shop = shop.clone();
    let app = move || {
        App::new()
            .app_data(shop.clone())
            .configure(routes::configure)
    };
    let server = HttpServer::new(app)
        .workers(1)
        .disable_signals()
        .listen(listener)
        .expect("listening")
        .run();
    *handle.lock().expect("not poisoned") = Some(server.handle());
    if let Some(life) = life {
        let handle = server.handle();
        actix_web::rt::spawn(async move {
            actix_web::rt::time::sleep(life).await;
            handle.stop(false).await;
        });
    }
    // Nobody waits for the second life.
    let _ = ready.send(());
    server.await.expect("served");
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing is waited for: being away is what is tested"
)]
fn be_away(time: Duration) {
    std::thread::sleep(time);
}

fn buyer_token(number: u32) -> String {
    format!("buyer.{number}")
}

/// The name says it all, so the server needs no list of its buyers.
fn buyer_id(token: &str) -> Uuid {
    let number = token
        .rsplit('.')
        .next()
        .and_then(|number| number.parse().ok());
    Uuid::from_u64_pair(7, number.unwrap_or(u64::MAX))
}
