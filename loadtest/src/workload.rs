//! What a connection sends over and over, and the worker that sends it: shared by the closed and the open loop.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;
use uuid::Uuid;

use crate::api::{self, Hold, place_request};
use crate::buyers::Buyer;
use crate::http::{Address, Connection, KeySource, Request};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) address: Address,
    /// They take turns: several buyers, several products.
    pub(crate) orders: Vec<PreparedOrder>,
    pub(crate) expected: Expected,
    /// Pay for what was ordered: the two requests together are one journey.
    pub(crate) pays: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct PreparedOrder {
    request: Request,
    /// For the payment that follows.
    token: String,
}

/// How long and how wide one turn is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) connections: usize,
    /// Not counted.
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// The one answer that is right. Any other makes a measurement worthless, so it ends the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expected {
    status: u16,
    /// Must occur in the body; tells refusals apart that share a status.
    code: &'static str,
}

pub(crate) const CREATED: Expected = Expected {
    status: 201,
    code: "",
};
pub(crate) const SOLD_OUT: Expected = Expected {
    status: 409,
    code: "\"sold_out\"",
};

impl Workload {
    /// Every buyer orders one unit; the products take turns.
    pub(crate) fn ordering(address: &Address, buyers: &[Buyer], products: &[Uuid]) -> Self {
        // More products than buyers: the buyers come round again, until every product has its turn.
        let count = buyers.len().max(products.len());
        let pairs = buyers
            .iter()
            .cycle()
            .zip(products.iter().cycle())
            .take(count);
        let orders = pairs.map(|(buyer, product)| PreparedOrder {
            request: place_request(address, &buyer.token, *product),
            token: buyer.token.clone(),
        });
        Self {
            address: address.clone(),
            orders: orders.collect(),
            expected: CREATED,
            pays: false,
        }
    }

    /// One worker a connection, each with orders of its own as far as they go round.
    pub(crate) async fn open_workers(&self, connections: usize) -> Result<Vec<Worker>> {
        let mut workers = Vec::with_capacity(connections);
        for index in 0..connections {
            let mut orders: Vec<_> = self
                .orders
                .iter()
                .skip(index)
                .step_by(connections)
                .cloned()
                .collect();
            if orders.is_empty() {
                orders.push(self.orders[index % self.orders.len()].clone());
            }
            workers.push(Worker::open(self, orders).await?);
        }
        Ok(workers)
    }
}

#[derive(Debug)]
pub(crate) struct Worker {
    connection: Connection,
    address: Address,
    orders: Vec<PreparedOrder>,
    expected: Expected,
    pays: bool,
    keys: KeySource,
    next: usize,
}

impl Worker {
    async fn open(workload: &Workload, orders: Vec<PreparedOrder>) -> Result<Self> {
        let address = workload.address.clone();
        let connection = Connection::open(&address).await;
        let connection = connection.with_context(|| format!("cannot open a connection to {address}; try fewer --connections, or raise `ulimit -n`"))?;
        Ok(Self {
            connection,
            address,
            orders,
            expected: workload.expected,
            pays: workload.pays,
            keys: KeySource::new(),
            next: 0,
        })
    }

    /// One order, paid if the workload says so. Anything but the expected answer is an error.
    pub(crate) async fn step(&mut self) -> Result<()> {
        let at = self.next;
        self.next = (at + 1) % self.orders.len();
        let order = &mut self.orders[at];
        order.request.set_key(self.keys.next());
        let answer = self
            .connection
            .exchange(order.request.bytes(), ANSWER_TIMEOUT)
            .await;
        let answer =
            answer.with_context(|| format!("an order to {} got no answer", self.address))?;
        if !self.expected.is_met(answer.status, &answer.body) {
            bail!(
                "an order to {} was answered {} instead of {}: {}",
                self.address,
                answer.status,
                self.expected.status,
                api::excerpt(&answer.body)
            );
        }
        if !self.pays {
            return Ok(());
        }
        let hold = Hold::parse(&answer.body)
            .context("an order was answered 201 without id, pay_by or sequence")?;
        self.pay(at, hold.order_id).await
    }

    async fn pay(&mut self, at: usize, order_id: Uuid) -> Result<()> {
        let path = format!("/v1/orders/{order_id}/payments");
        let body = json!({"method": "card"}).to_string();
        let mut request = Request::post(&self.address, &path, &self.orders[at].token, &body);
        request.set_key(self.keys.next());
        let answer = self
            .connection
            .exchange(request.bytes(), ANSWER_TIMEOUT)
            .await;
        let answer =
            answer.with_context(|| format!("a payment to {} got no answer", self.address))?;
        if answer.status != 201 {
            bail!(
                "a payment to {} was answered {} instead of 201: {}",
                self.address,
                answer.status,
                api::excerpt(&answer.body)
            );
        }
        Ok(())
    }
}

impl Expected {
    fn is_met(self, status: u16, body: &[u8]) -> bool {
        let code = self.code.as_bytes();
        status == self.status
            && (code.is_empty() || body.windows(code.len()).any(|window| window == code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_right_by_status_and_code() {
        assert!(CREATED.is_met(201, b""));
        assert!(!CREATED.is_met(200, b""));
        assert!(SOLD_OUT.is_met(409, br#"{"code":"sold_out"}"#));
        assert!(!SOLD_OUT.is_met(409, br#"{"code":"all_held"}"#));
        assert!(!SOLD_OUT.is_met(409, b""));
    }

    #[test]
    fn every_buyer_and_every_product_has_a_turn() {
        let address = Address::parse("http://127.0.0.1:1").expect("valid");
        let buyers: Vec<Buyer> = (0..3)
            .map(|number| Buyer {
                user_id: Uuid::from_u64_pair(0, number),
                token: format!("t{number}"),
            })
            .collect();
        let products: Vec<Uuid> = (0..5)
            .map(|number| Uuid::from_u64_pair(1, number))
            .collect();
        assert_eq!(
            Workload::ordering(&address, &buyers, &products)
                .orders
                .len(),
            5
        );
        assert_eq!(
            Workload::ordering(&address, &buyers, &products[..1])
                .orders
                .len(),
            3
        );
    }
}
