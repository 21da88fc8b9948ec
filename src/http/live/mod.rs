//! Live streams, as Server-Sent Events: a product's availability, a sale's numbers, what happens to a buyer's orders.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `routes` | the three streams |
//! | `hub` | all streams of one worker, and whose turn it is |
//! | `stream` | one stream: what its socket still takes, when it ends |
//! | `feed` | what a stream says: a product's newest state, rendered once for all, or a buyer's own news |
//! | `event` | the bytes of an event |
//! | `admission` | how many streams there may be |
//! | `connection` | a connection that the HTTP machinery gives away once it has written the head |
//!
//! A stream is open for hours and idle nearly always. The HTTP machinery would keep its buffers for as long, some 20 KiB
//! a stream; so it writes the head and the first event as of any answer, and then gives the socket to the hub of its
//! worker, which writes what follows by itself. That costs a few hundred bytes.
//!
//! **Invariants:** nothing here makes the engine wait, and but for the first look at a buyer's orders nothing is asked of
//! it. No stream has a backlog: a reader that is slow gets what is newest.

mod admission;
mod connection;
mod event;
mod feed;
mod hub;
pub(crate) mod routes;
mod stream;

pub(crate) use admission::Admission;
pub(crate) use connection::Connection;
pub(crate) use hub::Hub;
pub(crate) use routes::ROUTES;
