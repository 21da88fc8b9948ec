//! Products and orders, with every mistake that the load test claims to notice.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::buyer_id;

/// How the server behaves. The default is right.
#[derive(Clone, Copy, Default)]
pub(crate) struct Manners {
    /// Hands out so many units that do not exist.
    pub(crate) oversells: u64,
    /// Never counts more units as sold than there are.
    pub(crate) hides_oversale: bool,
    /// An expired hold keeps its unit.
    pub(crate) leaks: bool,
    /// The unit of an expired hold vanishes from the books.
    pub(crate) loses_units: bool,
    /// Says `sold_out` while holds may still come back.
    pub(crate) gives_up_early: bool,
    /// Refuses every second order although units are free.
    pub(crate) refuses_while_free: bool,
    /// Sequence numbers fall.
    pub(crate) counts_backwards: bool,
    /// Does not find orders again.
    pub(crate) forgets_orders: bool,
    /// A repeated key is a new order.
    pub(crate) ignores_keys: bool,
    /// One buyer may have everything.
    pub(crate) ignores_limit: bool,
    /// A hold ends at once.
    pub(crate) expires_early: bool,
    /// Answers orders with 500.
    pub(crate) is_broken: bool,
    /// Fine: answers a payment with 202 and settles it later.
    pub(crate) settles_later: bool,
    /// Fine: a started payment prolongs the hold by two minutes.
    pub(crate) prolongs: bool,
    /// Fine: every tenth answer is lost after it took effect.
    pub(crate) drops_answers: bool,
    /// Fine: every fifth order is told to come again.
    pub(crate) is_busy: bool,
    /// Fine: stops in the middle of the sale and comes back.
    pub(crate) restarts: bool,
}

pub(super) struct Shop {
    pub(super) manners: Manners,
    products: HashMap<Uuid, Product>,
    orders: Vec<Order>,
    /// What a buyer was answered under a key.
    answers: HashMap<(String, String), Answer>,
    requests: u64,
}

pub(super) type Answer = (u16, Value);

struct Product {
    units: u64,
    available: u64,
    held: u64,
    sold: u64,
    oversold: u64,
    opens_at: Timestamp,
    limit: u64,
    hold: SignedDuration,
}

struct Order {
    id: Uuid,
    product: Uuid,
    token: String,
    state: &'static str,
    pay_by: Timestamp,
    sequence: u64,
    settles_at: Option<Timestamp>,
}

impl Shop {
    pub(super) fn new(manners: Manners) -> Self {
        Self {
            manners,
            products: HashMap::new(),
            orders: Vec::new(),
            answers: HashMap::new(),
            requests: 0,
        }
    }

    pub(super) fn count_request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    pub(super) fn create(&mut self, units: u64) -> Answer {
        let id = Uuid::now_v7();
        let product = Product {
            units,
            available: units,
            held: 0,
            sold: 0,
            oversold: 0,
            opens_at: Timestamp::MAX,
            limit: 1,
            hold: SignedDuration::ZERO,
        };
        self.products.insert(id, product);
        (201, json!({"id": id}))
    }

    pub(super) fn set_window(&mut self, product: Uuid, window: &Value) -> Answer {
        let product = self.products.get_mut(&product).expect("a known product");
        product.opens_at = window["opens_at"]
            .as_str()
            .and_then(|at| at.parse().ok())
            .expect("opens_at");
        product.limit = window["per_person_limit"]
            .as_u64()
            .expect("per_person_limit");
        product.hold =
            SignedDuration::from_secs(window["hold_seconds"].as_i64().expect("hold_seconds"));
        (200, json!({}))
    }

    pub(super) fn open(&mut self, product: Uuid) -> Answer {
        self.products
            .get_mut(&product)
            .expect("a known product")
            .opens_at = Timestamp::now();
        (200, json!({}))
    }

    pub(super) fn sale(&mut self, product: Uuid) -> Answer {
        self.expire();
        let hides = self.manners.hides_oversale;
        let product = &self.products[&product];
        let sold = if hides {
            product.sold.min(product.units)
        } else {
            product.sold
        };
        let stock = json!({
            "total": product.units, "available": product.available, "held": product.held, "offered": 0,
            "sold": sold, "returning": 0, "withdrawn": 0, "withdrawal_pending": 0,
        });
        (200, json!({"stock": stock}))
    }

    /// Pages of seven, so that there are several.
    pub(super) fn list(&mut self, product: Uuid, after: Option<Uuid>) -> Answer {
        self.expire();
        let orders: Vec<&Order> = self
            .orders
            .iter()
            .filter(|order| order.product == product)
            .collect();
        let start = after
            .and_then(|after| orders.iter().position(|order| order.id == after))
            .map_or(0, |at| at + 1);
        let page = &orders[start..(start + 7).min(orders.len())];
        let items: Vec<Value> = page.iter().map(|order| order.view()).collect();
        let next = if start + 7 < orders.len() {
            page.last().map(|order| order.id)
        } else {
            None
        };
        (200, json!({"items": items, "next": next}))
    }

    pub(super) fn place(&mut self, token: &str, key: &str, product_id: Uuid) -> Answer {
        if self.manners.is_broken {
            return (500, json!({"oops": true}));
        }
        if self.manners.is_busy && self.requests.is_multiple_of(5) {
            return problem(503, "overloaded");
        }
        self.once(token, key, |shop| shop.place_now(token, product_id))
    }

    pub(super) fn pay(&mut self, token: &str, key: &str, order: Uuid, method: &str) -> Answer {
        self.once(token, key, |shop| shop.pay_now(token, order, method))
    }

    pub(super) fn cancel(&mut self, token: &str, key: &str, order: Uuid) -> Answer {
        self.once(token, key, |shop| {
            shop.expire();
            let Some(at) = shop.find(token, order) else {
                return problem(404, "not_found");
            };
            if shop.orders[at].state != "held" {
                return problem(409, "hold_expired");
            }
            shop.orders[at].state = "cancelled";
            let product = shop.product_of(at);
            product.held -= 1;
            product.available += 1;
            (200, shop.orders[at].view())
        })
    }

    pub(super) fn order(&mut self, token: &str, order: Uuid) -> Answer {
        self.expire();
        match self.find(token, order) {
            Some(at) if !self.manners.forgets_orders => (200, self.orders[at].view()),
            _ => problem(404, "not_found"),
        }
    }

    fn once(&mut self, token: &str, key: &str, act: impl FnOnce(&mut Self) -> Answer) -> Answer {
        let name = (token.to_owned(), key.to_owned());
        if let Some(answer) = self.answers.get(&name)
            && !self.manners.ignores_keys
        {
            return answer.clone();
        }
        let answer = act(self);
        self.answers.insert(name, answer.clone());
        answer
    }

    fn place_now(&mut self, token: &str, product_id: Uuid) -> Answer {
        self.expire();
        let manners = self.manners;
        let mine = self
            .orders
            .iter()
            .filter(|order| order.product == product_id && order.token == token);
        let alive = mine.filter(|order| order.is_alive()).count() as u64;
        let number = self.orders.len() as u64;
        let requests = self.requests;
        let product = self.products.get_mut(&product_id).expect("a known product");
        if Timestamp::now() < product.opens_at {
            return problem(409, "not_open");
        }
        if alive >= product.limit && !manners.ignores_limit && !manners.ignores_keys {
            return problem(409, "limit_reached");
        }
        if manners.refuses_while_free && requests.is_multiple_of(2) {
            return problem(409, "all_held");
        }
        if product.available == 0 && product.oversold >= manners.oversells {
            let is_final =
                product.sold >= product.units + product.oversold || manners.gives_up_early;
            return problem(409, if is_final { "sold_out" } else { "all_held" });
        }
        product.oversold += u64::from(product.available == 0);
        product.available = product.available.saturating_sub(1);
        product.held += 1;
        let order = Order {
            id: Uuid::now_v7(),
            product: product_id,
            token: token.to_owned(),
            state: "held",
            pay_by: Timestamp::now() + product.hold,
            sequence: if manners.counts_backwards {
                u64::MAX / 2 - number
            } else {
                number
            },
            settles_at: None,
        };
        let view = order.view();
        self.orders.push(order);
        (201, view)
    }

    fn pay_now(&mut self, token: &str, order: Uuid, method: &str) -> Answer {
        self.expire();
        let manners = self.manners;
        let Some(at) = self.find(token, order) else {
            return problem(404, "not_found");
        };
        let order = &mut self.orders[at];
        if order.state != "held" {
            return problem(409, "hold_expired");
        }
        if manners.prolongs {
            order.pay_by = order
                .pay_by
                .max(Timestamp::now() + SignedDuration::from_secs(120));
        }
        if method != "card" {
            return problem(402, "payment_declined");
        }
        if manners.settles_later {
            order.state = "paying";
            order.settles_at = Some(Timestamp::now() + SignedDuration::from_millis(150));
            return (202, order.view());
        }
        self.settle(at);
        (201, json!({"state": "paid"}))
    }

    fn settle(&mut self, at: usize) {
        self.orders[at].state = "paid";
        let product = self.product_of(at);
        product.held -= 1;
        product.sold += 1;
    }

    /// Whatever is due by now.
    fn expire(&mut self) {
        let now = Timestamp::now();
        for at in 0..self.orders.len() {
            let order = &self.orders[at];
            if order
                .settles_at
                .is_some_and(|settles_at| order.state == "paying" && settles_at <= now)
            {
                self.settle(at);
            } else if order.state == "held" && (order.pay_by <= now || self.manners.expires_early) {
                self.expire_one(at);
            }
        }
    }

    fn expire_one(&mut self, at: usize) {
        let manners = self.manners;
        self.orders[at].state = "expired";
        let product = self.product_of(at);
        product.held -= u64::from(!manners.leaks);
        product.available += u64::from(!manners.leaks && !manners.loses_units);
    }

    fn find(&self, token: &str, order: Uuid) -> Option<usize> {
        self.orders
            .iter()
            .position(|known| known.id == order && known.token == token)
    }

    fn product_of(&mut self, at: usize) -> &mut Product {
        let product = self.orders[at].product;
        self.products.get_mut(&product).expect("a known product")
    }
}

impl Order {
    fn is_alive(&self) -> bool {
        matches!(self.state, "held" | "paying" | "paid")
    }

    fn view(&self) -> Value {
        json!({
            "id": self.id,
            "state": self.state,
            "buyer_id": buyer_id(&self.token),
            "pay_by": self.pay_by.to_string(),
            "lines": [{"product_id": self.product, "quantity": 1}],
            "total": {"amount": 129_000, "currency": "KRW"},
            "sequence": self.sequence,
        })
    }
}

fn problem(status: u16, code: &str) -> Answer {
    (status, json!({"status": status, "code": code}))
}
