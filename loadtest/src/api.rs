//! Layby as its clients see it: one method a call, answers read tolerantly.
//!
//! What a status means for the story of a buyer is decided by the scenario; here only what an answer says.

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::clock::Clock;
use crate::http::{Fault, KeySource, Pool, Reply, Request};

const PRICE_KRW: u64 = 129_000;
const ORDERS_PER_PAGE: u32 = 100;
const PAGES_MAX: u32 = 100_000;

/// The admin's calls. Any answer but the expected one is a fault of the run.
#[derive(Debug)]
pub(crate) struct Admin {
    pub(crate) pool: Pool,
    pub(crate) token: String,
}

/// When a product is sold, and to whom how much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) opens_at: Timestamp,
    pub(crate) per_person_limit: u32,
    pub(crate) hold_seconds: u32,
}

/// Where the units of a product are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Stock {
    pub(crate) total: u64,
    pub(crate) available: u64,
    pub(crate) held: u64,
    pub(crate) offered: u64,
    pub(crate) sold: u64,
    pub(crate) returning: u64,
    pub(crate) withdrawn: u64,
}

/// An order in the admin's list.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ListedOrder {
    pub(crate) id: Uuid,
    pub(crate) state: String,
    pub(crate) buyer_id: Option<Uuid>,
}

/// The answer 201 to an order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hold {
    pub(crate) order_id: Uuid,
    pub(crate) pay_by: Timestamp,
    pub(crate) sequence: u64,
}

/// An order as its buyer reads it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct OrderView {
    pub(crate) state: String,
    pub(crate) pay_by: Option<String>,
}

/// How far the server's clock is ahead of ours, give or take.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ClockOffset {
    pub(crate) ahead_us: i64,
    pub(crate) uncertain_us: u64,
}

impl Admin {
    /// A fresh product with a scheduled window. `Admin::open` opens it before its time.
    pub(crate) async fn create_product(
        &self,
        name: &str,
        stock: u64,
        window: Window,
    ) -> Result<Uuid> {
        let product = json!({
            "name": name,
            "description": "Made by the load test; nobody will miss it.",
            "price": {"amount": PRICE_KRW, "currency": "KRW"},
            "stock": stock,
        });
        let created: Created = self
            .post("/v1/admin/products", &product.to_string())
            .await?;
        self.set_window(created.id, window).await?;
        Ok(created.id)
    }

    pub(crate) async fn open(&self, product: Uuid) -> Result<()> {
        let path = format!("/v1/admin/products/{product}/window/open");
        self.post::<Value>(&path, "").await.map(drop)
    }

    /// Sets the units in the sale.
    pub(crate) async fn set_stock(&self, product: Uuid, total: u64) -> Result<()> {
        let path = format!("/v1/admin/products/{product}/stock");
        let body = json!({"total": total}).to_string();
        let request = Request::put(self.pool.address(), &path, &self.token, &body);
        self.ask::<Value>("PUT", &path, &request).await.map(drop)
    }

    pub(crate) async fn stock(&self, product: Uuid) -> Result<Stock> {
        let sale: Value = self
            .get(&format!("/v1/admin/products/{product}/sale"))
            .await?;
        parse_stock(sale).with_context(|| {
            format!("the sale of product {product} does not say where its units are")
        })
    }

    /// Every order of a product, page by page.
    pub(crate) async fn orders(&self, product: Uuid) -> Result<Vec<ListedOrder>> {
        let mut orders = Vec::new();
        let mut after = String::new();
        for _ in 0..PAGES_MAX {
            let path =
                format!("/v1/admin/orders?product_id={product}&limit={ORDERS_PER_PAGE}{after}");
            let page: Page = self.get(&path).await?;
            orders.extend(page.items);
            match page.next {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(orders),
            }
        }
        bail!("the list of orders has more than {PAGES_MAX} pages; does `next` ever end?")
    }

    /// The server's clock against ours, from the quickest of a few looks; the same as ours if it does not tell.
    pub(crate) async fn clock_offset(&self, product: Uuid, clock: &Clock) -> ClockOffset {
        const LOOKS: u32 = 8;
        let mut best = ClockOffset::default();
        for look in 0..LOOKS {
            let Some(offset) = self.look_at_clock(product, clock).await else {
                return best;
            };
            if look == 0 || offset.uncertain_us < best.uncertain_us {
                best = offset;
            }
        }
        best
    }

    async fn look_at_clock(&self, product: Uuid, clock: &Clock) -> Option<ClockOffset> {
        let path = format!("/v1/products/{product}");
        let request = Request::get(self.pool.address(), &path, &self.token);
        let reply = self.pool.ask(&request).await.ok()?;
        let told: ServerTime = serde_json::from_slice(&reply.body).ok()?;
        let server_time = told.server_time.parse().ok()?;
        let middle_us = reply.sent_us.midpoint(reply.answered_us);
        Some(ClockOffset {
            ahead_us: clock.run_us_of(server_time) - i64::try_from(middle_us).ok()?,
            uncertain_us: (reply.answered_us - reply.sent_us).div_ceil(2),
        })
    }

    async fn set_window(&self, product: Uuid, window: Window) -> Result<()> {
        let body = json!({
            "opens_at": window.opens_at.to_string(),
            "closes_at": (window.opens_at + jiff::SignedDuration::from_hours(24)).to_string(),
            "per_person_limit": window.per_person_limit,
            "hold_seconds": window.hold_seconds,
        });
        let path = format!("/v1/admin/products/{product}/window");
        let request = Request::put(self.pool.address(), &path, &self.token, &body.to_string());
        self.ask::<Value>("PUT", &path, &request).await.map(drop)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.ask(
            "GET",
            path,
            &Request::get(self.pool.address(), path, &self.token),
        )
        .await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &str) -> Result<T> {
        let mut request = Request::post(self.pool.address(), path, &self.token, body);
        request.set_key(KeySource::new().next());
        self.ask("POST", path, &request).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        request: &Request,
    ) -> Result<T> {
        let address = self.pool.address();
        let reply = self.pool.ask(request).await;
        let reply = reply.with_context(|| {
            format!("{method} {address}{path} got no answer; does the server still run?")
        })?;
        let said = || excerpt(&reply.body);
        ensure!(
            (200..300).contains(&reply.status),
            "{method} {address}{path} was answered {}: {}",
            reply.status,
            said()
        );
        let body: &[u8] = if reply.body.is_empty() {
            b"null"
        } else {
            &reply.body
        };
        serde_json::from_slice(body).with_context(|| {
            format!(
                "{method} {address}{path} was answered with something else than agreed: {}",
                said()
            )
        })
    }
}

/// The buyer's calls: requests made here, replies judged by the scenario.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BuyerCalls<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) token: &'a str,
}

impl BuyerCalls<'_> {
    pub(crate) async fn place(&self, product: Uuid, key: Uuid) -> Result<Reply, Fault> {
        let mut request = place_request(self.pool.address(), self.token, product);
        request.set_key(key);
        self.pool.ask(&request).await
    }

    pub(crate) async fn pay(
        &self,
        order_id: Uuid,
        method: &str,
        key: Uuid,
    ) -> Result<Reply, Fault> {
        let body = json!({"method": method}).to_string();
        self.post(&format!("/v1/orders/{order_id}/payments"), &body, key)
            .await
    }

    pub(crate) async fn cancel(&self, order_id: Uuid, key: Uuid) -> Result<Reply, Fault> {
        self.post(&format!("/v1/orders/{order_id}/cancel"), "", key)
            .await
    }

    pub(crate) async fn order(&self, order_id: Uuid) -> Result<Reply, Fault> {
        let path = format!("/v1/orders/{order_id}");
        self.pool
            .ask(&Request::get(self.pool.address(), &path, self.token))
            .await
    }

    async fn post(&self, path: &str, body: &str, key: Uuid) -> Result<Reply, Fault> {
        let mut request = Request::post(self.pool.address(), path, self.token, body);
        request.set_key(key);
        self.pool.ask(&request).await
    }
}

/// One unit of one product: the request that a flash sale consists of.
pub(crate) fn place_request(address: &crate::http::Address, token: &str, product: Uuid) -> Request {
    let body = format!(r#"{{"lines":[{{"product_id":"{product}","quantity":1}}]}}"#);
    Request::post(address, "/v1/orders", token, &body)
}

impl Hold {
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let placed: Placed = serde_json::from_slice(body).ok()?;
        Some(Self {
            order_id: placed.id,
            pay_by: placed.pay_by.parse().ok()?,
            sequence: placed.sequence,
        })
    }
}

impl OrderView {
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    pub(crate) fn pay_by(&self) -> Option<Timestamp> {
        self.pay_by.as_deref()?.parse().ok()
    }
}

/// The `code` of a problem document; empty if it has none.
pub(crate) fn problem_code(body: &[u8]) -> String {
    serde_json::from_slice::<Problem>(body)
        .map(|problem| problem.code)
        .unwrap_or_default()
}

/// The start of an answer, short enough for a message.
pub(crate) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.chars().take(200).collect()
}

#[derive(Deserialize)]
struct Created {
    id: Uuid,
}

#[derive(Deserialize)]
struct Placed {
    id: Uuid,
    pay_by: String,
    sequence: u64,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
}

#[derive(Deserialize)]
struct ServerTime {
    server_time: String,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<ListedOrder>,
    next: Option<String>,
}

/// The numbers stand at the top or under `stock`.
fn parse_stock(mut sale: Value) -> Result<Stock> {
    let stock = sale
        .get_mut("stock")
        .filter(|stock| stock.is_object())
        .map(Value::take)
        .unwrap_or(sale);
    for field in ["total", "available", "held", "sold"] {
        ensure!(
            stock.get(field).is_some_and(Value::is_u64),
            "`{field}` is missing in {stock}"
        );
    }
    Ok(serde_json::from_value(stock)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stock_is_found_at_the_top_or_below() {
        let expected = Stock {
            total: 3,
            available: 1,
            held: 1,
            sold: 1,
            ..Stock::default()
        };
        let numbers =
            json!({"total": 3, "available": 1, "held": 1, "sold": 1, "withdrawal_pending": 0});
        assert_eq!(parse_stock(numbers.clone()).expect("top"), expected);
        assert_eq!(
            parse_stock(json!({"id": "x", "stock": numbers})).expect("below"),
            expected
        );
        assert!(parse_stock(json!({"total": 3})).is_err());
    }

    #[test]
    fn a_hold_needs_id_deadline_and_sequence() {
        let id = Uuid::from_u64_pair(1, 2);
        let body = json!({"id": id, "state": "held", "pay_by": "2026-01-02T03:04:05.678Z", "sequence": 7, "total": {}});
        let hold = Hold::parse(body.to_string().as_bytes()).expect("a hold");
        assert_eq!((hold.order_id, hold.sequence), (id, 7));
        assert_eq!(hold.pay_by.as_millisecond() % 1000, 678);
        assert!(Hold::parse(b"{}").is_none());
    }

    #[test]
    fn a_refusal_is_known_by_its_code() {
        assert_eq!(
            problem_code(br#"{"status":409,"code":"sold_out"}"#),
            "sold_out"
        );
        assert_eq!(problem_code(b"<html>"), "");
    }
}
