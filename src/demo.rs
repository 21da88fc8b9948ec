//! A demo shop: products in an open, a scheduled and a sold-out window, an admin and a buyer, with ready tokens.
//!
//! It is made through the engine like everything else. A second start keeps the products and renews the tokens.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, anyhow};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::accounts::fields::{Email, PersonName, Phone, Username};
use crate::accounts::passwords::Password;
use crate::accounts::token::Role;
use crate::accounts::{self, Accounts, NewPerson};
use crate::actors::Engine;
use crate::actors::message::{PlaceOrder, ProductAct, Refusal, StartPayment};
use crate::domain::{
    AdminMark, AttemptId, BuyerId, Currency, Details, Fingerprint, KeyHash, Money, OrderId,
    ProductId, Quantity, RequestId, RestockTo, Span, Window, WindowAct,
};

const TOKEN_TTL_SECS: u64 = 86_400;
const FILE: &str = "demo.json";

#[derive(Debug, Serialize, Deserialize)]
struct Demo {
    url: String,
    admin: Person,
    buyer: Person,
    products: Products,
}

#[derive(Debug, Serialize, Deserialize)]
struct Person {
    id: Uuid,
    username: String,
    password: String,
    token: String,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Products {
    open: Uuid,
    scheduled: Uuid,
    sold_out: Uuid,
}

/// Makes or renews the demo, writes `demo.json` and prints what a visitor needs.
pub(crate) async fn set_up(
    engine: &Engine,
    accounts: &Accounts,
    data_dir: &Path,
    url: &str,
) -> anyhow::Result<()> {
    let path = data_dir.join(FILE);
    let known: Option<Demo> = std::fs::read(&path)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok());
    let mut demo = match known {
        Some(demo)
            if engine
                .board()
                .listing(product(demo.products.open))
                .is_some() =>
        {
            demo
        }
        _ => make(engine, accounts).await?,
    };
    demo.url = url.into();
    for person in [&mut demo.admin, &mut demo.buyer] {
        person.token = token(accounts, person.id).await;
    }
    write(&path, &demo).with_context(|| format!("cannot write `{}`", path.display()))?;
    print(&demo, &path);
    Ok(())
}

/// Empty for somebody who was erased or suspended since: the rest of the demo goes on.
async fn token(accounts: &Accounts, id: Uuid) -> String {
    let token = accounts.plain_token(user(id), TOKEN_TTL_SECS).await;
    token.unwrap_or_else(|error| {
        tracing::warn!(%error, account.id = %id, "somebody of the demo has no token any more");
        String::new()
    })
}

async fn make(engine: &Engine, accounts: &Accounts) -> anyhow::Result<Demo> {
    let admin = person(accounts, "admin", Role::Admin).await?;
    let buyer = person(accounts, "buyer", Role::Buyer).await?;
    let shop = Shop {
        engine,
        admin: user(admin.id),
    };
    let now = engine.now();
    let open = shop
        .register("Desk lamp", 39_000, 100, Window::open_from(now))
        .await?;
    let in_an_hour = Window {
        per_person_limit: Some(2),
        ..Window::open_from(now.plus(Span::from_secs(3_600)))
    };
    let scheduled = shop
        .register("Drop at the hour", 129_000, 50, in_an_hour)
        .await?;
    let sold_out = shop
        .register("Last of its kind", 990_000, 1, Window::open_from(now))
        .await?;
    shop.sell_one(sold_out, user(Uuid::now_v7())).await?;
    Ok(Demo {
        url: String::new(),
        admin,
        buyer,
        products: Products {
            open,
            scheduled,
            sold_out,
        },
    })
}

/// What the demo does in the shop.
struct Shop<'a> {
    engine: &'a Engine,
    admin: BuyerId,
}

impl Shop<'_> {
    async fn register(
        &self,
        name: &str,
        price: i64,
        stock: u64,
        window: Window,
    ) -> anyhow::Result<Uuid> {
        let id = Uuid::now_v7();
        let details = Details {
            name: name.into(),
            description: "A product of the demo shop.".into(),
            image_url: None,
            price: Money {
                amount: price,
                currency: Currency::parse("KRW").context("KRW is a currency")?,
            },
        };
        let register = ProductAct::Register {
            details,
            restock_to: RestockTo::Available,
            total: stock,
        };
        self.change(id, register).await?;
        let schedule = ProductAct::Window(WindowAct::Schedule, Some(window));
        self.change(id, schedule).await?;
        Ok(id)
    }

    async fn change(&self, id: Uuid, act: ProductAct) -> anyhow::Result<()> {
        let mark = AdminMark {
            admin: self.admin,
            request: RequestId::new(Uuid::now_v7().as_u128()),
        };
        let changed = self.engine.change_product(product(id), mark, act).await;
        changed.map(|_| ()).map_err(refused)
    }

    async fn sell_one(&self, id: Uuid, buyer: BuyerId) -> anyhow::Result<()> {
        let unique = || Uuid::now_v7().as_u128();
        let place = PlaceOrder {
            order: OrderId::for_buyer(unique(), buyer),
            buyer,
            key: KeyHash::new(unique()),
            fingerprint: Fingerprint(0),
            address: None,
            lines: vec![(product(id), Quantity::new(1).context("one is a quantity")?)],
        };
        let order = self.engine.place_order(place).await.map_err(refused)?;
        let pay = StartPayment {
            order: order.id,
            buyer,
            attempt: AttemptId::new(unique()),
            key: KeyHash::new(unique()),
            fingerprint: Fingerprint(0),
            method: "card_ok".into(),
        };
        let paid = self.engine.start_payment(pay).await;
        paid.map(|_| ()).map_err(refused)
    }
}

/// Somebody who can sign in. If the name is taken, as by a demo whose file is gone, a number makes it another.
async fn person(accounts: &Accounts, name: &str, role: Role) -> anyhow::Result<Person> {
    let id = Uuid::now_v7();
    let password = format!("{:032x}", rand::random::<u128>());
    let numbered = format!("{name}-{:06}", rand::rng().random_range(0..1_000_000_u32));
    for username in [name, &numbered] {
        let person = demo_person(username, &password).map_err(|fault| anyhow!(fault))?;
        match accounts.vouch_for(user(id), role, person).await {
            Err(accounts::AccountRefusal::UsernameTaken) => {}
            other => {
                other?;
                return Ok(Person {
                    id,
                    username: username.into(),
                    password,
                    token: String::new(),
                });
            }
        }
    }
    Err(anyhow!("the names {name} and {numbered} are taken"))
}

fn demo_person(username: &str, password: &str) -> Result<NewPerson, String> {
    Ok(NewPerson {
        username: Username::parse(username)?,
        password: Password::new_choice(password, &[]).map_err(|weak| weak.to_string())?,
        email: Email::parse(&format!("{username}@demo.example"))?,
        name: PersonName::parse(username)?,
        phone: Phone::parse("010-0000-0000")?,
    })
}

/// Whole or not at all: a load test may read it at any moment.
fn write(path: &Path, demo: &Demo) -> anyhow::Result<()> {
    let unfinished = path.with_extension("json.part");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(&serde_json::to_vec_pretty(demo)?)?;
    std::fs::rename(&unfinished, path)?;
    Ok(())
}

fn print(demo: &Demo, path: &Path) {
    println!("demo shop: {}", demo.url);
    println!("  open product      {}", demo.products.open);
    println!("  scheduled product {}", demo.products.scheduled);
    println!("  sold-out product  {}", demo.products.sold_out);
    println!(
        "  admin             {} / {}",
        demo.admin.username, demo.admin.password
    );
    println!("  admin token       {}", demo.admin.token);
    println!(
        "  buyer             {} / {}",
        demo.buyer.username, demo.buyer.password
    );
    println!("  buyer token       {}", demo.buyer.token);
    println!("  all of it in      {}", path.display());
}

fn product(id: Uuid) -> ProductId {
    ProductId::new(id.as_u128())
}

fn user(id: Uuid) -> BuyerId {
    BuyerId::new(id.as_u128())
}

fn refused(refusal: Refusal) -> anyhow::Error {
    anyhow!("the demo shop could not be set up: {refusal:?}")
}
