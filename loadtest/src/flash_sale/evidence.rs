//! Collects the evidence after a sale: waits for the last deadline, then asks the server for everything it has.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::sleep;

use super::arrivals::Arrivals;
use super::books::{Evidence, is_sold};
use super::history::{End, Order};
use super::market::Market;
use crate::api::{Admin, BuyerCalls, ListedOrder, OrderView, Stock};
use crate::buyers::Buyer;

const PAUSE: Duration = Duration::from_millis(100);
/// So long after its deadline a hold may still be counted before it is called a leak.
const EXPIRY_LAG_MAX_US: i64 = 2_000_000;
/// The list of all orders may follow the sale at a small distance.
const LIST_LAG_MAX_US: u64 = 5_000_000;

pub(crate) async fn collect(
    market: &Market,
    admin: &Admin,
    buyers: &[Buyer],
    gave_up_after_s: Option<u64>,
) -> Result<Evidence> {
    let stock = wait_for_deadlines(market, admin).await?;
    let orders = market.history.orders.borrow().clone();
    let states = read_states(market, &orders, buyers).await?;
    let listed = read_list(market, admin, orders.len(), stock).await?;
    let units = u64::from(market.options.units);
    let hold_us = u64::from(market.options.hold_seconds) * 1_000_000;
    let findings = Arrivals {
        units,
        hold_us,
        orders: &orders,
        refusals: &market.history.refusals.borrow(),
        unanswered: &market.history.unanswered.borrow(),
    }
    .judge();
    Ok(Evidence {
        units,
        per_person: u64::from(market.options.per_person),
        hold_us,
        buyer_ids: buyers.iter().map(|buyer| buyer.user_id).collect(),
        findings,
        turned_away: market.history.turned_away.get(),
        complaints: market.history.complaints(),
        stock,
        states,
        listed,
        orders,
        gave_up_after_s,
    })
}

/// The numbers once nothing is held, or when everything should long have expired.
async fn wait_for_deadlines(market: &Market, admin: &Admin) -> Result<Stock> {
    let until_us = last_deadline_us(market) + EXPIRY_LAG_MAX_US;
    loop {
        let stock = admin.stock(market.product).await?;
        let is_quiet = stock.held + stock.offered == 0;
        let is_late = i64::try_from(market.clock.now_us()).unwrap_or(i64::MAX) > until_us;
        if is_quiet || is_late {
            return Ok(stock);
        }
        sleep(PAUSE).await;
    }
}

/// Of the holds that were heard of, and of those that may exist because an order was never answered.
fn last_deadline_us(market: &Market) -> i64 {
    let orders = market.history.orders.borrow();
    let known = orders
        .iter()
        .filter(|order| !matches!(order.end, End::Paid { .. }))
        .map(|order| order.pay_by_us)
        .max();
    let unheard = (!market.history.unanswered.borrow().is_empty()).then(|| {
        let hold_us = u64::from(market.options.hold_seconds) * 1_000_000;
        i64::try_from(market.clock.now_us() + hold_us).unwrap_or(i64::MAX)
    });
    known.max(unheard).unwrap_or(0)
}

async fn read_states(
    market: &Market,
    orders: &[Order],
    buyers: &[Buyer],
) -> Result<Vec<Option<String>>> {
    let mut states = Vec::with_capacity(orders.len());
    for order in orders {
        let buyer = &buyers[order.buyer];
        let calls = BuyerCalls {
            pool: &market.pool,
            token: &buyer.token,
        };
        let reply = calls
            .order(order.id)
            .await
            .with_context(|| format!("order {} cannot be read again", order.id))?;
        let view = OrderView::parse(&reply.body).filter(|_| reply.status == 200);
        states.push(view.map(|view| view.state));
    }
    Ok(states)
}

async fn read_list(
    market: &Market,
    admin: &Admin,
    orders_min: usize,
    stock: Stock,
) -> Result<Vec<ListedOrder>> {
    let until_us = market.clock.now_us() + LIST_LAG_MAX_US;
    loop {
        let listed = admin.orders(market.product).await?;
        let sold = listed.iter().filter(|order| is_sold(&order.state)).count() as u64;
        let has_caught_up = listed.len() >= orders_min && sold == stock.sold;
        if has_caught_up || market.clock.now_us() >= until_us {
            return Ok(listed);
        }
        sleep(PAUSE).await;
    }
}
