//! A TCP connection that can be given away.
//!
//! The HTTP machinery reads a request from it and writes the answer, as from any connection. A handler may appoint an
//! heir meanwhile: when the machinery has written everything and closes the connection, the socket is not shut down but
//! goes to the heir, and all that the machinery kept for it is freed. If it gives up before, the heir is dropped with it.

use std::cell::RefCell;
use std::io::{ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

type Inherit = Box<dyn FnOnce(TcpStream)>;

#[derive(Debug)]
pub(crate) struct Connection {
    /// `None` once it was given away.
    socket: Option<TcpStream>,
    heir: Heir,
}

/// Who gets the socket in the end; in the reach of the handlers of this connection.
#[derive(Clone, Default)]
pub(super) struct Heir(Rc<RefCell<Option<Inherit>>>);

impl Connection {
    pub(crate) fn new(socket: TcpStream) -> Self {
        Self {
            socket: Some(socket),
            heir: Heir::default(),
        }
    }

    /// Lets handlers appoint an heir.
    pub(crate) fn introduce(&self, to_handlers: &mut actix_web::dev::Extensions) {
        to_handlers.insert(self.heir.clone());
    }

    fn socket(&mut self) -> Option<Pin<&mut TcpStream>> {
        self.socket.as_mut().map(Pin::new)
    }
}

impl Heir {
    /// The answer must end with the end of the connection.
    pub(super) fn appoint(&self, inherit: impl FnOnce(TcpStream) + 'static) {
        self.0.replace(Some(Box::new(inherit)));
    }
}

impl std::fmt::Debug for Heir {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_appointed = self.0.try_borrow().is_ok_and(|it| it.is_some());
        write!(out, "Heir(appointed: {is_appointed})")
    }
}

/// Whoever still reads finds the end, and whoever still writes finds nobody.
impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        match self.get_mut().socket() {
            Some(socket) => socket.poll_read(context, buffer),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        match self.get_mut().socket() {
            Some(socket) => socket.poll_write(context, bytes),
            None => Poll::Ready(Err(ErrorKind::NotConnected.into())),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        match self.get_mut().socket() {
            Some(socket) => socket.poll_write_vectored(context, slices),
            None => Poll::Ready(Err(ErrorKind::NotConnected.into())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.socket
            .as_ref()
            .is_some_and(TcpStream::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        match self.get_mut().socket() {
            Some(socket) => socket.poll_flush(context),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let connection = self.get_mut();
        if let Some(inherit) = connection.heir.0.take()
            && let Some(socket) = connection.socket.take()
        {
            inherit(socket);
        }
        match connection.socket() {
            Some(socket) => socket.poll_shutdown(context),
            None => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let client = TcpStream::connect(address).await.expect("connected");
        let (socket, _) = listener.accept().await.expect("accepted");
        (Connection::new(socket), client)
    }

    async fn everything(mut client: TcpStream) -> String {
        let mut text = String::new();
        client.read_to_string(&mut text).await.expect("text");
        text
    }

    #[tokio::test]
    async fn the_heir_writes_on_where_the_machinery_has_stopped() {
        let (mut connection, client) = pair().await;
        let inherited = Rc::new(RefCell::new(None));
        let estate = Rc::clone(&inherited);
        connection
            .heir
            .appoint(move |socket| drop(estate.replace(Some(socket))));
        connection.write_all(b"head").await.expect("written");
        connection.shutdown().await.expect("given away");
        drop(connection);
        let mut socket = inherited.take().expect("inherited");
        socket.write_all(b" and tail").await.expect("written");
        drop(socket);
        assert_eq!(everything(client).await, "head and tail");
    }

    #[tokio::test]
    async fn without_an_heir_it_is_a_connection_like_any_other() {
        let (mut connection, client) = pair().await;
        connection.write_all(b"all").await.expect("written");
        connection.shutdown().await.expect("shut down");
        assert_eq!(everything(client).await, "all");
    }

    #[tokio::test]
    async fn an_heir_goes_with_a_connection_that_breaks() {
        let (connection, _client) = pair().await;
        let alive = Rc::new(());
        let held = Rc::clone(&alive);
        connection.heir.appoint(move |_| drop(held));
        drop(connection);
        assert_eq!(Rc::strong_count(&alive), 1);
    }
}
