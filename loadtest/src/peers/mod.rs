//! The peers of a comparison. A new one is a file here, a value of `Peer`, and a line in `start`.
//!
//! Whatever takes the units behind it, every peer is an HTTP server that answers the same order: what differs between
//! two peers is then only how stock is taken.

mod layby;
mod no_op;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result};
use serde_json::json;

use crate::cli::Load;
use crate::http::Request;
use crate::own_directory::OwnDirectory;
use crate::process::Process;
use crate::server::Server;
use crate::settle::settle;
use crate::workload::Workload;
use crate::{buyers, signing};

pub(crate) use layby::{HotProduct, PLENTY};
pub(crate) use no_op::serve as serve_no_op;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// The HTTP stack alone, as the unit of measurement
    NoOp,
    /// Orders for one hot product with plenty of stock
    Layby,
    /// Orders for a product that is sold out
    SoldOut,
    /// An order and its payment at the sandbox, counted as one
    Journey,
    /// Orders spread over so many products
    Products(u32),
}

/// A peer that is up and knows what it will be asked.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) peer: Peer,
    pub(crate) workload: Workload,
    /// Stops the peer when dropped, if it runs for this comparison alone.
    _process: Option<Process>,
}

/// What the peers of one comparison share.
#[derive(Debug)]
pub(crate) struct Bench {
    load: Load,
    /// The Layby server; absent if no peer needs it.
    server: Option<Server>,
    /// With a signing key for the peers without a server, where no server's key is at hand.
    own_key: Option<OwnDirectory>,
}

impl Bench {
    /// Waits until no peer works on an earlier turn any more.
    pub(crate) async fn settle(&self) {
        if let Some(server) = &self.server {
            settle(server).await;
        }
    }

    pub(crate) async fn prepare(load: &Load, peers: &[Peer]) -> Result<Self> {
        let needs_layby = peers.iter().any(|peer| *peer != Peer::NoOp);
        let server = if needs_layby {
            Some(Server::find_or_start(&load.server).await?)
        } else {
            None
        };
        let mut bench = Self {
            load: load.clone(),
            server,
            own_key: None,
        };
        if !signing::has_key(bench.data_dir()) {
            let directory = OwnDirectory::create("key")?;
            signing::create_key(directory.path())?;
            bench.own_key = Some(directory);
        }
        Ok(bench)
    }

    /// For a scenario about Layby alone.
    pub(crate) async fn prepare_layby(load: &Load) -> Result<Self> {
        Self::prepare(load, &[Peer::Layby]).await
    }

    pub(crate) async fn hot_product(&self) -> Result<HotProduct> {
        let server = self.server.as_ref().context("a product needs Layby")?;
        layby::hot_product(self, server).await
    }

    /// Memory of the server's process, if this run has started it.
    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        self.server.as_ref()?.memory_bytes()
    }

    pub(crate) async fn start(&self, peer: Peer) -> Result<Started> {
        match peer {
            Peer::NoOp => no_op::start(self),
            Peer::Layby | Peer::SoldOut | Peer::Journey | Peer::Products(_) => {
                layby::start(self, peer).await
            }
        }
    }

    /// A sign-in of the demo's buyer.
    pub(crate) fn sign_in_request(&self) -> Result<Request> {
        let server = self.server.as_ref().context("sign-ins need Layby")?;
        let who = server.credentials()?;
        let body = json!({"username": who.username, "password": who.password}).to_string();
        let request = Request::post(&server.address, "/v1/auth/sign-in", "none", &body);
        Ok(request)
    }

    /// One buyer of the Layby server, and the others.
    pub(crate) fn one_and_others(&self) -> Result<(buyers::Buyer, Vec<buyers::Buyer>)> {
        let server = self.server.as_ref().context("an account needs Layby")?;
        let mut others = self.server_buyers(server)?;
        let one = others.pop().context("two buyers are needed at least")?;
        Ok((one, others))
    }

    /// Where the signing key is: that of the Layby server if possible, so that all peers check the same tokens.
    fn data_dir(&self) -> &Path {
        if let Some(own_key) = &self.own_key {
            return own_key.path();
        }
        let named = &self.load.server.data_dir;
        self.server
            .as_ref()
            .map_or(named, |server| &server.data_dir)
    }

    fn own_buyers(&self) -> Result<Vec<buyers::Buyer>> {
        buyers::gather(self.load.buyers, None, self.data_dir())
    }

    /// Known to the Layby server: a key of our own would not do.
    fn server_buyers(&self, server: &Server) -> Result<Vec<buyers::Buyer>> {
        let tokens = self.load.server.tokens.as_deref();
        buyers::gather(self.load.buyers, tokens, &server.data_dir)
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "no-op" => Ok(Self::NoOp),
            "layby" => Ok(Self::Layby),
            "sold-out" => Ok(Self::SoldOut),
            "journey" => Ok(Self::Journey),
            _ => products(name).ok_or_else(|| "the peers are no-op, layby, sold-out, journey and products-N, N from 1 to 1000000".to_owned()),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoOp => f.write_str("no-op"),
            Self::Layby => f.write_str("layby"),
            Self::SoldOut => f.write_str("sold-out"),
            Self::Journey => f.write_str("journey"),
            Self::Products(count) => write!(f, "products-{count}"),
        }
    }
}

fn products(name: &str) -> Option<Peer> {
    let count = name.strip_prefix("products-")?.parse().ok()?;
    (1..=1_000_000)
        .contains(&count)
        .then_some(Peer::Products(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_called_as_it_is_asked_for() {
        for name in ["no-op", "layby", "sold-out", "journey", "products-100"] {
            assert_eq!(name.parse::<Peer>().expect(name).to_string(), name);
        }
        for name in ["", "no_op", "products-", "products-0", "products-1000001"] {
            name.parse::<Peer>().expect_err(name);
        }
    }
}
