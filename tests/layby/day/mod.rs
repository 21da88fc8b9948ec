//! A day in the life of a shop, by HTTP alone: a window opens, a crowd comes, and in the evening all books agree.
//!
//! What a shop needs is there, and nothing of it is pretended but Stripe, which nobody here wrote: a database, a Redis, a
//! mail server. To an optimised program with MariaDB come 2,000 buyers; to any other 200. What they do is drawn from
//! seeded dice; in which order they do it is not.

mod books;
mod buyer;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::http::Method;

use self::books::{Explained, Money, amount, census, earned, explain};
use self::buyer::{Buyer, Deed, Goods, Remembered, units};
use crate::payments::stripe;
use crate::support::{
    Caller, LocalStripe, MailServer, Member, Person, Redis, Sale, Shop, Store, Tls, Webhook,
    eventually, line, named_binary, on_each_database, pause, some_at_a_time, text,
};

on_each_database! {
    a_day_in_the_life_of_a_shop,
}

/// Units of the lamp a person.
const LIMIT: u32 = 2;
/// Of the crowd, how many have signed up with a letter. A password takes its time.
const MEMBERS: usize = 40;
/// How many of the crowd act at the same moment.
const AT_A_TIME: usize = 32;
const SEED: u64 = 4;
/// Offers end within the day. The Stripe of the tests writes down all that it knows at every call, and needs its time.
const OPTIONS: [&str; 3] = [
    "--offer-seconds=4",
    "--payment-answer-ms=20000",
    "--payment-calls-max=4",
];
/// In which time a crowd is served; it takes a fraction of it.
const PATIENCE: Duration = Duration::from_secs(120);

fn a_day_in_the_life_of_a_shop(store: Store) {
    let day = Day::begin(store);
    let began = Instant::now();
    let mut people = day.people();
    day.is_not_open_yet();
    day.opens();
    day.serves_the_first(&mut people);
    day.changes_its_mind();
    day.serves_all(&mut people);
    day.finds_more_in_the_stock_room();
    day.serves_all(&mut people);
    day.closes(&mut people);
    day.sends_and_takes_back(&mut people);
    day.settles();
    day.ends(&people);
    eprintln!("it took {:?}", began.elapsed());
}

/// The shop goes first: it must not miss what it needs.
struct Day {
    shop: Shop,
    stripe: LocalStripe,
    mail: MailServer,
    _redis: Redis,
    crowd: usize,
    stock: u64,
    /// The connections of the crowd.
    line: Caller,
    /// Runs the shop.
    ada: Member,
    /// Sends its parcels.
    sally: Member,
    goods: Goods,
}

impl Day {
    fn begin(store: Store) -> Self {
        let (stripe, redis) = (LocalStripe::start(), Redis::start());
        let mail = MailServer::start(Tls::None);
        let (redis_url, mail_url) = (redis.url(), mail.url());
        let options = ["--redis-url", &redis_url, "--mail-url", &mail_url];
        let options = [&options[..], &OPTIONS].concat();
        let mut shop = stripe::closed(store, &stripe, &options);
        shop.start();
        stripe.send_webhooks_to(
            &Webhook::stripe(&shop, stripe::SECRET).url(),
            stripe::SECRET,
        );

        let crowd = crowd_at(store);
        let stock = crowd as u64 * 15 / 100;
        let line = shop.visitor();
        let [ada, sally] = ["ada", "sally"].map(|it| joins(&line, &mail, it));
        let (ada, sally) = (shop.promote(&ada, "admin"), shop.promote(&sally, "seller"));
        let goods = Goods {
            lamp: register(&ada, lamps(stock)),
            desk: register(&ada, desks(crowd)),
        };
        Self {
            shop,
            stripe,
            mail,
            _redis: redis,
            crowd,
            stock,
            line,
            ada,
            sally,
            goods,
        }
    }

    // -- the morning ---------------------------------------------------------------------------------------------

    /// Everybody who will come. Those with an account look around before.
    fn people(&self) -> Vec<Buyer> {
        let members = some_at_a_time(AT_A_TIME, (0..MEMBERS).collect(), |number| {
            joins(&self.line, &self.mail, &format!("buyer{number}")).caller
        });
        let strangers = self.shop.buyers(self.crowd - MEMBERS);
        let strangers = strangers.iter().map(|it| it.sharing(&self.line));
        let all = members.into_iter().chain(strangers).zip(SEED..);
        let mut people: Vec<Buyer> = all.map(|(it, seed)| Buyer::new(it, seed)).collect();
        let known = people[..MEMBERS].iter_mut().collect();
        some_at_a_time(AT_A_TIME, known, |buyer: &mut Buyer| {
            buyer.lives_somewhere(&crate::accounts::address_form("Somebody"));
            buyer.wishes(&self.goods);
        });
        // They come in no order at all, but each time in the same.
        let step = people.len() / MEMBERS;
        for place in 1..MEMBERS {
            people.swap(place, place * step);
        }
        people
    }

    fn is_not_open_yet(&self) {
        let answer = self.passer_by().place(&[line(&self.goods.lamp, 1)]);
        let told = answer.is_refused(409, "not_open");
        assert!(
            text(&told, "server_time") < text(&told, "opens_at"),
            "{told}"
        );
        assert_eq!(self.units("available"), self.stock);
    }

    fn opens(&self) {
        self.ada_does(Method::POST, &self.path("/window/open"), None);
    }

    fn serves_the_first(&self, people: &mut [Buyer]) {
        some_at_a_time(AT_A_TIME, people.iter_mut().collect(), |buyer| {
            buyer.acts(&self.goods);
        });
    }

    // -- the day -------------------------------------------------------------------------------------------------

    /// A break, a dearer price, fewer lamps.
    fn changes_its_mind(&self) {
        self.ada_does(Method::POST, &self.path("/window/pause"), None);
        let both = [&self.goods.desk, &self.goods.lamp].map(|it| line(it, 1));
        self.passer_by().place(&both).is_refused(409, "paused");
        let dearer = json!({"price": {"amount": 45_000, "currency": "KRW"}});
        self.ada_does(Method::PATCH, &self.path(""), Some(dearer));
        let fewer = json!({"total": self.stock - self.stock / 20});
        self.ada_does(Method::PUT, &self.path("/stock"), Some(fewer));
        self.ada_does(Method::POST, &self.path("/window/resume"), None);
    }

    /// Until nobody wants anything that there is, and nothing is held or offered.
    fn serves_all(&self, people: &mut [Buyer]) {
        let began = Instant::now();
        let is_here = |it: &&mut Buyer| it.is_coming() || it.is_waiting();
        loop {
            let here = people.iter_mut().filter(is_here).collect();
            some_at_a_time(AT_A_TIME, here, |buyer: &mut Buyer| buyer.acts(&self.goods));
            let is_calm = self.units("held") + self.units("offered") == 0;
            if is_calm && !people.iter().any(Buyer::is_coming) {
                return;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{}",
                self.sale(&self.goods.lamp)
            );
            pause(Duration::from_millis(50));
        }
    }

    fn finds_more_in_the_stock_room(&self) {
        let more = json!({"total": self.stock_at_the_end()});
        self.ada_does(Method::PUT, &self.path("/stock"), Some(more));
        assert!(self.units("offered") > 0, "people wait for them");
    }

    fn closes(&self, people: &mut [Buyer]) {
        self.ada_does(Method::POST, &self.path("/window/close"), None);
        let one = [line(&self.goods.lamp, 1)];
        self.passer_by().place(&one).is_refused(409, "closed");
        // The waitlist ends with the sale.
        assert_eq!(self.units("waiting"), 0);
        let waited: Vec<&mut Buyer> = people.iter_mut().filter(|it| it.is_waiting()).collect();
        some_at_a_time(AT_A_TIME, waited, Buyer::waits_no_longer);
    }

    // -- the evening ---------------------------------------------------------------------------------------------

    /// A sixth of what was bought stays in the shop, a sixth is on its way, a third arrives; a sixth is asked back for, and
    /// another sixth taken back.
    fn sends_and_takes_back(&self, people: &mut [Buyer]) {
        let is_bought = |it: &&mut Remembered| it.deed == Deed::Bought;
        let parcels = people.iter_mut().flat_map(|buyer| {
            let orders = buyer.orders.iter_mut().filter(is_bought);
            orders.map(|order| (&buyer.caller, order))
        });
        some_at_a_time(
            AT_A_TIME,
            parcels.enumerate().collect(),
            |(number, (buyer, parcel))| self.sends(number, buyer, parcel),
        );
    }

    fn sends(&self, number: usize, buyer: &Caller, parcel: &mut Remembered) {
        let (staff, order) = (&self.sally.caller, &parcel.order);
        let fate = number % 6;
        if fate == 0 {
            return;
        }
        let label = format!("RR{number}");
        staff.ship(order, "Korea Post", &label).is(200);
        if fate == 1 {
            return;
        }
        staff.deliver(order).is(200);
        if fate < 4 {
            return;
        }
        buyer.send_back(order, "too bright").is(202);
        if fate == 5 {
            staff.accept_return(order).is(200);
        }
        parcel.deed = Deed::SentBack;
    }

    /// Waits for what is still under way, and until the lists know of it.
    fn settles(&self) {
        self.shop.catches_up();
        let is_open = |order: &Value| {
            let state = text(order, "state");
            let attempts = order["payments"].as_array().expect("attempts");
            matches!(
                state.as_str(),
                "held" | "paying" | "cancel_requested" | "refunding"
            ) || attempts.iter().any(|it| it["refund"] == "due")
        };
        eventually("every refund is done", || {
            let orders = self.sally.caller.all("/v1/admin/orders");
            (!orders.iter().any(is_open)).then_some(())
        });
        self.shop.catches_up();
    }

    fn ends(&self, people: &[Buyer]) {
        let explained = some_at_a_time(AT_A_TIME, people.iter().collect(), explain);
        for orders in &explained {
            books::within_the_limit(orders, &self.goods.lamp);
        }
        let orders: Vec<Explained> = explained.into_iter().flatten().collect();
        self.money_agrees(&orders);
        self.units_agree(&orders);
        self.lists_agree(&orders);
        self.acts_are_noted(&orders);
        let taken_up: usize = people.iter().map(|it| it.taken_up).sum();
        assert!(taken_up > 0, "the waitlist has moved");
        let binary = named_binary().unwrap_or_else(|| "the program built with the tests".into());
        let crowd = people.len();
        eprintln!("{crowd} buyers came to {binary} and took up {taken_up} offers; orders:");
        for (state, money, count) in census(&orders) {
            eprintln!("{count:5} {state}, money {money:?}");
        }
    }

    // -- the books -----------------------------------------------------------------------------------------------

    fn money_agrees(&self, orders: &[Explained]) {
        let kept = orders.iter().filter(|it| it.money == Money::Kept);
        let of_buyers: i64 = kept.map(|it| amount(&it.order)).sum();
        let of_shop = earned(self.ada.caller.all("/v1/admin/orders").iter());
        let of_stripe = self.stripe.money();
        assert!(of_buyers > 0);
        assert_eq!((of_shop, of_stripe), (of_buyers, of_buyers));
        books::stripe_says_the_same(&self.stripe.books(), orders);
    }

    fn units_agree(&self, orders: &[Explained]) {
        let count = |product: &str, wanted: &dyn Fn(&Explained) -> bool| -> u64 {
            let orders = orders.iter().filter(|it| wanted(it));
            orders.map(|it| u64::from(units(&it.order, product))).sum()
        };
        for product in [&self.goods.lamp, &self.goods.desk] {
            let sold = count(product, &|it| it.money == Money::Kept);
            let returning = count(product, &|it| it.state == "returned");
            assert_eq!(self.shop.units(product).1, 0, "nobody holds any more");
            let sale = self.sale(product);
            let seen = ["sold", "returning", "offered", "withdrawal_pending"];
            let seen = seen.map(|it| sale[it].as_u64());
            assert_eq!(seen, [sold, returning, 0, 0].map(Some), "{sale}");
        }
        let in_the_sale = self.units("total") - self.units("withdrawn");
        assert_eq!(in_the_sale, self.stock_at_the_end());
    }

    /// The list of the shop and the file of the sale have each order once, as its buyer sees it.
    fn lists_agree(&self, orders: &[Explained]) {
        let seen = |order: &Value| (text(order, "id"), text(order, "state"));
        let all: BTreeMap<_, _> = orders.iter().map(|it| seen(&it.order)).collect();
        let listed = self.ada.caller.all("/v1/admin/orders");
        assert_eq!(listed.len(), orders.len());
        assert_eq!(listed.iter().map(seen).collect::<BTreeMap<_, _>>(), all);

        let file = self.ada.caller.get(&self.path("/sale/orders.csv"));
        assert_eq!(file.status, 200, "{file}");
        let mut rows = csv::Reader::from_reader(file.body.as_slice());
        let rows = rows.deserialize().map(|row| row.expect("a row"));
        let rows: Vec<(String, String)> = rows
            .map(|mut row: BTreeMap<String, String>| {
                let mut cell = |name| row.remove(name).expect("a cell");
                (cell("order_id"), cell("state"))
            })
            .collect();
        let of_lamp = orders
            .iter()
            .filter(|it| units(&it.order, &self.goods.lamp) > 0);
        let of_lamp: BTreeMap<_, _> = of_lamp.map(|it| seen(&it.order)).collect();
        assert_eq!(rows.len(), of_lamp.len());
        assert_eq!(rows.into_iter().collect::<BTreeMap<_, _>>(), of_lamp);
    }

    fn acts_are_noted(&self, orders: &[Explained]) {
        let count = |states: &[&str]| {
            let those = orders.iter().filter(|it| states.contains(&it.state));
            those.count()
        };
        let sent_back = ["return_requested", "returned"];
        let arrived = count(&sent_back) + count(&["delivered"]);
        let expected = [
            (&self.ada, "registered", 2),
            (&self.ada, "window_schedule", 2),
            (&self.ada, "window_open", 1),
            (&self.ada, "window_pause", 1),
            (&self.ada, "window_resume", 1),
            (&self.ada, "window_close", 1),
            (&self.ada, "edited", 1),
            (&self.ada, "stock_set", 2),
            (&self.ada, "orders_exported", 1),
            (&self.sally, "order_shipped", arrived + count(&["shipped"])),
            (&self.sally, "order_delivered", arrived),
            (&self.sally, "return_accepted", count(&["returned"])),
        ];
        self.shop.catches_up();
        let log = self.ada.caller.all("/v1/admin/audit");
        for (who, act, times) in expected {
            let noted = log.iter().filter(|it| it["act"] == act);
            let by: Vec<&Value> = noted.map(|it| &it["actor"]).collect();
            assert_eq!(by, vec![&json!(who.id()); times], "{act}");
        }
    }

    // -- what a shop is asked ------------------------------------------------------------------------------------

    /// Somebody who has nothing here: no order, no place on the waitlist, no offer.
    fn passer_by(&self) -> Caller {
        self.shop.buyer().sharing(&self.line)
    }

    fn stock_at_the_end(&self) -> u64 {
        self.stock + self.stock / 10
    }

    /// Of the lamp.
    fn path(&self, of: &str) -> String {
        format!("/v1/admin/products/{}{of}", self.goods.lamp)
    }

    fn ada_does(&self, method: Method, path: &str, body: Option<Value>) {
        let answer = self.ada.caller.send(&method, path, None, body.as_ref());
        assert!(matches!(answer.status, 200 | 202), "{answer}");
    }

    fn sale(&self, product: &str) -> Value {
        let path = format!("/v1/admin/products/{product}/sale");
        self.sally.caller.get(&path).is(200)
    }

    /// A number of the lamp's sale.
    fn units(&self, name: &str) -> u64 {
        let sale = self.sale(&self.goods.lamp);
        sale[name].as_u64().unwrap_or_else(|| panic!("{sale}"))
    }
}

fn crowd_at(store: Store) -> usize {
    let is_optimised = cfg!(not(debug_assertions)) || named_binary().is_some();
    match store {
        Store::MariaDb if is_optimised => 2_000,
        Store::MariaDb | Store::Sqlite => 200,
    }
}

/// Opens when it is told to, long before its time.
fn lamps(stock: u64) -> Sale {
    Sale {
        stock,
        limit: Some(LIMIT),
        hold_seconds: 3,
        opens_in_ms: 3_600_000,
        ..Sale::default()
    }
}

fn desks(crowd: usize) -> Sale {
    Sale {
        stock: crowd as u64,
        price: 120_000,
        hold_seconds: 3,
        ..Sale::default()
    }
}

#[track_caller]
fn register(admin: &Member, sale: Sale) -> String {
    let created = admin.caller.post_with("/v1/admin/products", &sale.form());
    let product = text(&created.is(201), "id");
    let path = format!("/v1/admin/products/{product}/window");
    let window = sale.window();
    let scheduled = admin.caller.send(&Method::PUT, &path, None, Some(&window));
    scheduled.is(200);
    product
}

/// By a letter that the mail server has taken.
#[track_caller]
fn joins(visitor: &Caller, mail: &MailServer, name: &str) -> Member {
    let person = Person::new(name);
    person.joins(visitor, mail);
    person.signs_in(visitor)
}
