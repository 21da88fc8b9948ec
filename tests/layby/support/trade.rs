//! Buyers who place, pay and cancel as fast as they can, and remember what they were told: so that it can be held
//! against the server after whatever has happened to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use layby::accounts::token::{Role, TokenIssuer};
use rand::RngExt;
use serde_json::{Value, json};
use ureq::http::Method;
use uuid::Uuid;

use super::client::text;
use super::{Answer, Caller, Key, ProviderBooks, Shop, eventually, line};

/// Makes buyers without asking a shop, which may be dead by then.
#[derive(Clone)]
pub(crate) struct Registry {
    url: String,
    issuer: Arc<TokenIssuer>,
}

/// One request of a story.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    NotTried,
    /// The connection broke: it may have had an effect or none.
    Unanswered,
    Answered(Answer),
}

/// What one buyer did.
pub(crate) struct Story {
    buyer: Caller,
    place_key: Key,
    pay_key: Key,
    lines: Vec<Value>,
    placed: Deed,
    paid: Deed,
    cancelled: Deed,
}

/// A story whose end is known.
#[derive(Debug)]
pub(crate) struct Ended {
    order: String,
    /// `held`, `paid` or `cancelled`.
    state: String,
    lines: Vec<Value>,
}

impl Registry {
    pub(crate) fn of(shop: &Shop) -> Self {
        let issuer = TokenIssuer::from_data_dir(&shop.data_dir()).expect("the token key");
        Self {
            url: shop.url().to_owned(),
            issuer: Arc::new(issuer),
        }
    }

    fn buyer(&self) -> Caller {
        let id = Uuid::now_v7();
        let token = self
            .issuer
            .issue_plain(id, Role::Buyer, 3_600)
            .expect("a token");
        Caller::new(&self.url, id, Some(token))
    }
}

/// Lets `traders` trade at once until `meanwhile` has returned, or the server is gone.
pub(crate) fn trade(
    registry: &Registry,
    products: &[String],
    traders: usize,
    meanwhile: impl FnOnce(),
) -> Vec<Story> {
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let enough = &enough;
        let threads: Vec<_> = (0..traders)
            .map(|_| scope.spawn(move || trade_alone(registry, products, enough)))
            .collect();
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(meanwhile));
        enough.store(true, Ordering::Relaxed);
        let stories = threads
            .into_iter()
            .flat_map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect();
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        stories
    })
}

fn trade_alone(registry: &Registry, products: &[String], enough: &AtomicBool) -> Vec<Story> {
    let mut stories = Vec::new();
    while !enough.load(Ordering::Relaxed) {
        let story = Story::live(registry.buyer(), products);
        let is_over = story.was_cut_short();
        stories.push(story);
        if is_over {
            break;
        }
    }
    stories
}

impl Story {
    /// Places an order of one product or all; then keeps it, pays it, cancels it, or pays and cancels it.
    fn live(buyer: Caller, products: &[String]) -> Self {
        let mut random = rand::rng();
        let one = random.random_range(0..=products.len());
        let lines = match products.get(one) {
            Some(product) => vec![line(product, 1)],
            None => products.iter().map(|product| line(product, 1)).collect(),
        };
        let mut story = Self {
            buyer,
            place_key: Key::fresh(),
            pay_key: Key::fresh(),
            lines,
            placed: Deed::NotTried,
            paid: Deed::NotTried,
            cancelled: Deed::NotTried,
        };
        let body = json!({"lines": story.lines});
        story.placed = story.act("/v1/orders", Some(&story.place_key), Some(&body));
        let Some(order) = story.order() else {
            return story;
        };
        if random.random_bool(0.6) {
            let path = format!("/v1/orders/{order}/payments");
            story.paid = story.act(
                &path,
                Some(&story.pay_key),
                Some(&json!({"method": "card"})),
            );
        }
        if !story.was_cut_short() && random.random_bool(0.4) {
            story.cancelled = story.act(&format!("/v1/orders/{order}/cancel"), None, None);
        }
        story
    }

    fn act(&self, path: &str, key: Option<&Key>, body: Option<&Value>) -> Deed {
        match self.buyer.try_send(&Method::POST, path, key, body) {
            Ok(answer) => Deed::Answered(answer),
            Err(_) => Deed::Unanswered,
        }
    }

    /// A request was under way when the server went.
    pub(crate) fn was_cut_short(&self) -> bool {
        [&self.placed, &self.paid, &self.cancelled]
            .iter()
            .any(|deed| matches!(deed, Deed::Unanswered))
    }

    /// The id of the order, if the buyer was told one.
    fn order(&self) -> Option<String> {
        match &self.placed {
            Deed::Answered(answer) if answer.status == 201 => Some(text(&answer.json(), "id")),
            _ => None,
        }
    }

    /// Holds what was told against the server at `url`, and repeats what was not answered until it is. Gives the end
    /// of the order, if there is one.
    #[track_caller]
    pub(crate) fn resume(mut self, url: &str) -> Option<Ended> {
        self.buyer = self.buyer.at(url);
        self.resume_placing();
        let Some(order) = self.order() else {
            let orders = self.buyer.get("/v1/orders").is(200);
            assert_eq!(orders["items"], json!([]), "a refusal left an order");
            return None;
        };
        let order = json!({"id": order});
        let listed = self.buyer.get("/v1/orders").is(200);
        let ids: Vec<String> = listed["items"]
            .as_array()
            .expect("items")
            .iter()
            .map(|item| text(item, "id"))
            .collect();
        assert_eq!(ids, [text(&order, "id")], "one request, one order");
        self.check_state(&self.buyer.state(&order));
        self.resume_paying(&order);
        self.resume_cancelling(&order);
        Some(Ended {
            state: self.buyer.state(&order),
            order: text(&order, "id"),
            lines: self.lines,
        })
    }

    /// What was accepted is there and says the same; what was not answered is done once, however often it is asked.
    #[track_caller]
    fn resume_placing(&mut self) {
        match &self.placed {
            Deed::Answered(first) if first.status == 201 => {
                let again = self.buyer.place_under(&self.place_key, &self.lines);
                assert_same(first, &again);
            }
            Deed::Answered(refused) => {
                let may_be_told = matches!(refused.status, 409 | 503);
                assert!(may_be_told, "{refused}");
            }
            Deed::NotTried | Deed::Unanswered => {
                let second = self.buyer.place_under(&self.place_key, &self.lines);
                let third = self.buyer.place_under(&self.place_key, &self.lines);
                match second.status {
                    201 => assert_same(&second, &third),
                    _ => assert_eq!(second.code(), third.code()),
                }
                self.placed = Deed::Answered(second);
            }
        }
    }

    #[track_caller]
    fn check_state(&self, state: &str) {
        let legal: &[&str] = match (&self.paid, &self.cancelled) {
            (_, Deed::Answered(answer)) if answer.status < 300 => &["cancelled", "refunding"],
            (Deed::NotTried, Deed::NotTried) => &["held"],
            (Deed::Answered(answer), Deed::NotTried | Deed::Answered(_))
                if answer.status == 201 =>
            {
                &["paid"]
            }
            (Deed::NotTried, _) => &["held", "cancelled"],
            (_, Deed::NotTried) => &["held", "paying", "paid"],
            (_, _) => &[
                "held",
                "paying",
                "paid",
                "refunding",
                "cancelled",
                "cancel_requested",
            ],
        };
        let (paid, cancelled) = (&self.paid, &self.cancelled);
        assert!(
            legal.contains(&state),
            "{state} after {paid:?} and {cancelled:?}"
        );
    }

    #[track_caller]
    fn resume_paying(&self, order: &Value) {
        match &self.paid {
            Deed::Answered(first) if first.status < 300 => {
                assert_same(first, &self.buyer.pay_under(&self.pay_key, order, "card"));
            }
            Deed::Unanswered => {
                let again = self.buyer.pay_under(&self.pay_key, order, "card");
                assert!(matches!(again.status, 201 | 202), "{again}");
                eventually("the payment is settled", || {
                    (self.buyer.state(order) == "paid").then_some(())
                });
            }
            Deed::NotTried | Deed::Answered(_) => {}
        }
    }

    #[track_caller]
    fn resume_cancelling(&self, order: &Value) {
        let asked = match &self.cancelled {
            Deed::NotTried => false,
            Deed::Unanswered => true,
            Deed::Answered(answer) => answer.status < 300,
        };
        if asked {
            eventually("the cancellation is settled", || {
                let answer = self.buyer.cancel(order);
                assert!(matches!(answer.status, 200 | 202), "{answer}");
                (answer.status == 200).then_some(())
            });
        }
    }
}

/// Recounts the units of each product and the money of each order from what the buyers know.
#[track_caller]
pub(crate) fn recount(shop: &Shop, products: &[String], ended: &[Ended], books: &ProviderBooks) {
    for product in products {
        let units = |state: &str| -> u64 {
            let orders = ended.iter().filter(|it| it.state == state);
            let lines = orders.flat_map(|it| &it.lines);
            lines
                .filter(|line| line["product_id"] == **product)
                .filter_map(|line| line["quantity"].as_u64())
                .sum()
        };
        let (_, held, sold) = shop.units(product);
        assert_eq!(
            (held, sold),
            (units("held"), units("paid")),
            "units of {product}"
        );
    }
    for Ended { order, state, .. } in ended {
        let times = |orders: &[&str]| orders.iter().filter(|it| *it == order).count();
        let (captured, refunded) = (times(&books.captured()), times(&books.refunded()));
        let owed = usize::from(state == "paid");
        assert!(captured <= 1, "{order} was paid {captured} times");
        assert_eq!(captured - refunded, owed, "{order} is {state}");
    }
}

#[track_caller]
fn assert_same(first: &Answer, again: &Answer) {
    assert_eq!(
        (again.status, String::from_utf8_lossy(&again.body)),
        (first.status, String::from_utf8_lossy(&first.body))
    );
}
