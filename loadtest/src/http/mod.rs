//! A small HTTP/1.1 client, because the load generator shares its cores with the server it measures.
//!
//! Requests are bytes made beforehand, connections are kept alive, answers are read into one buffer per connection.
//! Deliberately absent: TLS, redirects, cookies, pipelining, HTTP/2.

mod address;
mod connection;
mod pool;
mod request;

pub(crate) use address::Address;
pub(crate) use connection::{Connection, Fault};
pub(crate) use pool::{Limits, Pool, Reply};
pub(crate) use request::{KeySource, Request};
