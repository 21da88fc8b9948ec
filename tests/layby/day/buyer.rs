//! One of the crowd: comes for a lamp, and does with an order what the dice say.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::LIMIT;
use crate::support::{Answer, Caller, Key, LocalStripe, eventually, line, text};

/// What is to be had: the lamp that all want, and a desk, of which there are plenty.
#[derive(Debug)]
pub(super) struct Goods {
    pub(super) lamp: String,
    pub(super) desk: String,
}

/// Somebody with an account has an address, and perhaps a lamp on the wishlist; all others have just a token.
pub(super) struct Buyer {
    pub(super) caller: Caller,
    address: Option<String>,
    /// The lamp is on the list, to be bought from there.
    has_wish: bool,
    dice: StdRng,
    standing: Standing,
    /// Lets every offer lapse.
    is_asleep: bool,
    pub(super) orders: Vec<Remembered>,
    /// Offers of the waitlist that became orders.
    pub(super) taken_up: usize,
}

/// What becomes of a buyer next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Coming,
    Waiting,
    Gone,
}

/// An order as it was answered, and what its buyer did with it.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) order: Value,
    pub(super) deed: Deed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// Went away, or was too slow.
    Left,
    /// Cancelled before anything was paid.
    GaveUp,
    Bought,
    /// Paid, and cancelled.
    Regretted,
    SentBack,
}

impl Buyer {
    pub(super) fn new(caller: Caller, seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        Self {
            caller,
            address: None,
            has_wish: false,
            is_asleep: dice.random_bool(0.1),
            dice,
            standing: Standing::Coming,
            orders: Vec::new(),
            taken_up: 0,
        }
    }

    #[track_caller]
    pub(super) fn lives_somewhere(&mut self, address: &Value) {
        let added = self.caller.post_with("/v1/me/addresses", address).is(201);
        self.address = Some(text(&added, "id"));
    }

    #[track_caller]
    pub(super) fn wishes(&mut self, goods: &Goods) {
        let path = format!("/v1/me/wishlist/{}", goods.lamp);
        let one = json!({"quantity": 1});
        let put = ureq::http::Method::PUT;
        self.caller.send(&put, &path, None, Some(&one)).is(201);
        self.has_wish = true;
    }

    pub(super) fn is_coming(&self) -> bool {
        self.standing == Standing::Coming
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.standing == Standing::Waiting
    }

    /// One step of the story.
    pub(super) fn acts(&mut self, goods: &Goods) {
        match self.standing {
            Standing::Coming => self.comes(goods),
            Standing::Waiting => self.looks_at_the_waitlist(goods),
            Standing::Gone => {}
        }
    }

    fn asks_for(&self, lines: &[Value]) -> Answer {
        let mut body = json!({"lines": lines});
        if let Some(address) = &self.address {
            body["address_id"] = json!(address);
        }
        self.caller.post_under(&Key::fresh(), "/v1/orders", &body)
    }

    #[track_caller]
    /// Nobody asked for it: the sale is over.
    pub(super) fn waits_no_longer(&mut self) {
        let list = self.caller.get("/v1/me/waitlist").is(200);
        assert_eq!(list["items"], json!([]));
        self.standing = Standing::Gone;
    }

    // -- buying --------------------------------------------------------------------------------------------------

    fn comes(&mut self, goods: &Goods) {
        let quantity = match self.has_wish {
            true => 1,
            false => self.dice.random_range(1..=LIMIT),
        };
        let answer = self.places(goods, quantity);
        self.standing = match answer.code().as_str() {
            "" => self.is_served(answer.is(201)),
            "limit_reached" => {
                let had = self.units_ever(&goods.lamp);
                assert!(had + quantity > LIMIT, "{had} units; {answer}");
                Standing::Gone
            }
            "all_held" | "sold_out" | "insufficient_stock" => self.is_short(goods, quantity),
            _ => panic!("{answer}"),
        };
    }

    fn places(&mut self, goods: &Goods, quantity: u32) -> Answer {
        if std::mem::take(&mut self.has_wish) {
            let body = json!({"address_id": self.address});
            return self
                .caller
                .post_under(&Key::fresh(), "/v1/me/wishlist/checkout", &body);
        }
        let mut lines = vec![line(&goods.lamp, quantity)];
        if self.dice.random_bool(0.1) {
            lines.push(line(&goods.desk, 1));
        }
        self.asks_for(&lines)
    }

    /// Some come again, whatever became of their order.
    fn is_served(&mut self, order: Value) -> Standing {
        let deed = self.decides(&order);
        self.orders.push(Remembered { order, deed });
        match self.dice.random_bool(0.2) {
            true => Standing::Coming,
            false => Standing::Gone,
        }
    }

    fn decides(&mut self, order: &Value) -> Deed {
        match self.dice.random_range(0..100) {
            0..30 => return Deed::Left,
            30..40 => return self.gives_up(order),
            40..55 => {
                if self.settles(order, LocalStripe::DECLINED) == "expired" {
                    return Deed::Left;
                }
                if self.dice.random_bool(0.5) {
                    return self.gives_up(order);
                }
            }
            _ => {}
        }
        if !self.pays(order) {
            return Deed::Left;
        }
        if self.dice.random_bool(0.2) {
            return self.regrets(order);
        }
        Deed::Bought
    }

    fn gives_up(&self, order: &Value) -> Deed {
        let answer = self.caller.cancel(order);
        if answer.code() == "hold_expired" {
            return Deed::Left;
        }
        assert_eq!(answer.is(200)["state"], "cancelled");
        Deed::GaveUp
    }

    fn regrets(&self, order: &Value) -> Deed {
        let answer = self.caller.cancel(order);
        assert!(matches!(answer.status, 200 | 202), "{answer}");
        Deed::Regretted
    }

    /// With a good card, until it is paid. `false`: it was too late.
    fn pays(&self, order: &Value) -> bool {
        eventually("a good card pays, or the hold is over", || {
            match self.settles(order, LocalStripe::GOOD).as_str() {
                "paid" => Some(true),
                "expired" => Some(false),
                _ => None,
            }
        })
    }

    /// One attempt to pay. Gives the state of the order when its end is known.
    fn settles(&self, order: &Value, method: &str) -> String {
        let answer = eventually("payments are taken", || {
            let answer = self.caller.pay(order, method);
            (answer.status != 503).then_some(answer)
        });
        let is_known = matches!(answer.status, 201 | 202 | 402) || answer.code() == "hold_expired";
        assert!(is_known, "{answer}");
        eventually("the payment is settled", || {
            let state = self.caller.state(order);
            (state != "paying").then_some(state)
        })
    }

    fn units_ever(&self, product: &str) -> u32 {
        let orders = self.orders.iter().map(|it| &it.order);
        orders.map(|order| units(order, product)).sum()
    }

    // -- waiting -------------------------------------------------------------------------------------------------

    /// Half of them wait; the others go away.
    fn is_short(&mut self, goods: &Goods, quantity: u32) -> Standing {
        if self.dice.random_bool(0.5) {
            return Standing::Gone;
        }
        let body = json!({"quantity": quantity});
        let answer = self.caller.post_with(&waitlist(goods), &body);
        match answer.code().as_str() {
            "" => {
                answer.is(201);
                Standing::Waiting
            }
            "still_available" => Standing::Coming,
            "limit_reached" => Standing::Gone,
            _ => panic!("{answer}"),
        }
    }

    fn looks_at_the_waitlist(&mut self, goods: &Goods) {
        let list = self.caller.get("/v1/me/waitlist").is(200);
        let Some(place) = list["items"].get(0) else {
            // Two offers have lapsed.
            self.standing = Standing::Gone;
            return;
        };
        if place["state"] == "offered" && !self.is_asleep {
            self.takes_up(goods, &place["offer"]);
        }
    }

    fn takes_up(&mut self, goods: &Goods, offer: &Value) {
        let offered = offer["quantity"].as_u64().expect("a number");
        let quantity = u32::try_from(offered).expect("within the limit");
        let answer = self.asks_for(&[line(&goods.lamp, quantity)]);
        match answer.code().as_str() {
            "" => {
                self.taken_up += 1;
                self.standing = self.is_served(answer.is(201));
            }
            // It has lapsed in this moment.
            "all_held" | "sold_out" | "insufficient_stock" => {}
            _ => panic!("{answer}"),
        }
    }
}

/// Of one product in an order.
pub(super) fn units(order: &Value, product: &str) -> u32 {
    let lines = order["lines"].as_array().expect("lines").iter();
    let of_product = lines.filter(|it| it["product_id"] == product);
    let units = of_product.filter_map(|it| it["quantity"].as_u64());
    u32::try_from(units.sum::<u64>()).expect("a small number")
}

fn waitlist(goods: &Goods) -> String {
    format!("/v1/products/{}/waitlist", goods.lamp)
}
