//! The engine without HTTP: durable holds a second, memory an open hold, restart with open holds and with finished orders
//! behind, how exactly holds expire, and how soon the head of a waitlist is offered what they give back.
//!
//! `cargo bench --profile dist --bench engine -- [holds=N] [in_flight=N] [waiting=N] [finished=N] [only=restarts]`. Everything is
//! real: journal files, fdatasync, SQLite, all rules. Run it on a disk, not on a tmpfs: ten million finished orders take about
//! 8 GB of it.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures are rounded anyway"
)]

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};
use layby::actors::message::{PlaceOrder, ProductAct};
use layby::actors::{Engine, EngineLink};
use layby::clock::{Clock, SystemClock};
use layby::config::{ServeOptions, ServeSettings, StoreOptions, Switch};
use layby::domain::{
    AdminMark, BuyerId, Currency, Details, Fingerprint, KeyHash, Money, OrderId, ProductId,
    Quantity, RequestId, RestockTo, Span, Timestamp, Window, WindowAct,
};
use layby::persistence::journal::{Batch, FileJournal, Journal, Options, RealDisk};
use layby::startup::Service;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Plan {
    holds: u64,
    in_flight: usize,
    waiting: u64,
    /// Finished orders behind the last of the restarts.
    finished: u64,
}

const ONE: Plan = Plan {
    holds: 1,
    in_flight: 1,
    waiting: 0,
    finished: 0,
};

fn main() -> anyhow::Result<()> {
    let plan = Plan {
        holds: argument("holds").unwrap_or(1_000_000),
        in_flight: usize::try_from(argument("in_flight").unwrap_or(1_024))?,
        waiting: argument("waiting").unwrap_or(10_000),
        finished: argument("finished").unwrap_or(1_000_000),
    };
    let directory = tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    if std::env::args().any(|it| it == "only=restarts") {
        return actix_web::rt::System::new().block_on(restarts(directory.path(), &plan));
    }
    journal_alone(directory.path(), &plan)?;
    actix_web::rt::System::new().block_on(open_holds(directory.path(), &plan))?;
    actix_web::rt::System::new().block_on(expiry(directory.path(), &plan))?;
    actix_web::rt::System::new().block_on(resale(directory.path(), &plan))?;
    actix_web::rt::System::new().block_on(restarts(directory.path(), &plan))
}

/// Records as large as an order's, as many a batch as are in flight, and nothing else.
fn journal_alone(directory: &Path, plan: &Plan) -> anyhow::Result<()> {
    let disk = RealDisk::create(directory.join("journal-alone"))?;
    let (mut journal, _) = FileJournal::open(disk, Options::default())?;
    let record = [7_u8; 170];
    let batches = (plan.holds / u64::try_from(plan.in_flight)?).max(1);
    let begin = Instant::now();
    let mut batch = Batch::new();
    for _ in 0..batches {
        batch.clear();
        for _ in 0..plan.in_flight {
            batch.push(&record)?;
        }
        journal.append(&batch)?;
    }
    let records = batches * u64::try_from(plan.in_flight)?;
    report("journal alone, records/s", rate(records, begin.elapsed()));
    Ok(())
}

/// Many holds on one hot product, then a restart with all of them open.
async fn open_holds(directory: &Path, plan: &Plan) -> anyhow::Result<()> {
    let settings = settings(&directory.join("open-holds"))?;
    let service = Service::start(&settings).await?;
    let engine = service.link().connect();
    let product = register(&engine, plan.holds, 1_800).await?;
    let memory_before = resident_bytes()?;
    let begin = Instant::now();
    place(&engine, product, plan).await?;
    report("engine, durable holds/s", rate(plan.holds, begin.elapsed()));
    wait_for_sql(&service).await?;
    let in_sql = begin.elapsed();
    // What SQL has and nobody needs in memory leaves it within two rounds of chores.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let grown = resident_bytes()?.saturating_sub(memory_before);
    report(
        "memory an open hold, bytes",
        grown as f64 / plan.holds as f64,
    );
    report(
        "holds into SQL, a second, from the first hold to the last row",
        rate(plan.holds, in_sql),
    );
    drop(engine);
    service.close().await?;
    report("restart to the first answer, s", restart(&settings).await?);
    Ok(())
}

/// Seconds until a hold was answered.
async fn restart(settings: &ServeSettings) -> anyhow::Result<f64> {
    let begin = Instant::now();
    let service = Service::start(settings).await?;
    let engine = service.link().connect();
    let register_one = register(&engine, 1, 60).await?;
    place(&engine, register_one, &ONE).await?;
    let seconds = begin.elapsed().as_secs_f64();
    drop(engine);
    service.close().await?;
    Ok(seconds)
}

/// How long a start takes with ever more orders behind that are over: nothing, a tenth, and all that were asked for.
async fn restarts(directory: &Path, plan: &Plan) -> anyhow::Result<()> {
    let data_dir = directory.join("restarts");
    let settings = settings(&data_dir)?;
    let service = Service::start(&settings).await?;
    let engine = service.link().connect();
    let over = register(&engine, 1, 60).await?;
    let always = register(&engine, 1, 60).await?;
    wait_for_sql(&service).await?;
    drop(engine);
    service.close().await?;
    let mut behind = 0;
    for finished in [0, plan.finished / 10, plan.finished] {
        finish(&data_dir, [over, always], behind..finished).await?;
        behind = finished;
        // The first start after so many new rows pays for what was left in the log of SQLite.
        restart(&settings).await?;
        let what = format!("restart with {finished} finished orders behind, s");
        report(&what, restart(&settings).await?);
    }
    Ok(())
}

/// Writes orders into SQL that were delivered long ago, each of another buyer: half of them of a sale with a limit that is
/// over, half of a product that is always on sale without one.
async fn finish(
    data_dir: &Path,
    products: [ProductId; 2],
    numbers: Range<u64>,
) -> anyhow::Result<()> {
    const AT_ONCE: u64 = 250_000;
    let options = SqliteConnectOptions::new()
        .filename(data_dir.join("layby.db"))
        .synchronous(SqliteSynchronous::Off);
    let mut sqlite = options.connect().await?;
    for product in products {
        let sold = i64::try_from(numbers.end / 2)?;
        let of_product = "UPDATE products SET stock_sold = ?, stock_available = 0 WHERE id = ?";
        let update = sqlx::query(of_product).bind(sold);
        let id = product.to_bytes().to_vec();
        update.bind(id).execute(&mut sqlite).await?;
    }
    let over = "UPDATE products
                SET window_per_person_limit = 1, window_opens_at = 0, window_closes_at = 1
                WHERE id = ?";
    let id = products[0].to_bytes().to_vec();
    sqlx::query(over).bind(id).execute(&mut sqlite).await?;
    for begin in numbers.clone().step_by(usize::try_from(AT_ONCE)?) {
        let end = numbers.end.min(begin + AT_ONCE);
        for statement in FINISHED {
            let statement = format!(
                "WITH RECURSIVE numbers (n, product) AS (
                     SELECT ?1, ?3
                     UNION ALL
                     SELECT n + 1, CASE (n + 1) % 2 WHEN 0 THEN ?3 ELSE ?4 END
                     FROM numbers
                     WHERE n + 1 < ?2
                 )
                 {statement}
                 FROM numbers"
            );
            sqlx::query(sqlx::AssertSqlSafe(statement))
                .bind(i64::try_from(begin)?)
                .bind(i64::try_from(end)?)
                .bind(products[0].to_bytes().to_vec())
                .bind(products[1].to_bytes().to_vec())
                .execute(&mut sqlite)
                .await?;
        }
    }
    Ok(sqlite.close().await?)
}

/// Sequences far behind those that the journal will give. Times are a microsecond apart and long ago.
const FINISHED: [&str; 4] = [
    "INSERT INTO orders
     SELECT (1 << 40) + n, unhex(printf('01%030x', n)), unhex(printf('02%030x', n)), unhex(printf('03%030x', n)), n,
            NULL, 'completed', 2, n, n, n, n, 'KRW', 1, 'Hanjin', '1234', n, n, n, NULL, NULL, NULL, 0",
    "INSERT INTO order_lines
     SELECT (1 << 40) + n, 0, product, 1, 1, 'KRW'",
    "INSERT INTO payment_attempts
     SELECT (1 << 40) + n, 0, unhex(printf('04%030x', n)), unhex(printf('05%030x', n)), n, 'card', n, 'captured', 'paid',
            'not_due'",
    "INSERT INTO in_hand
     SELECT product, unhex(printf('02%030x', n)), 1",
];

/// How late the engine ends holds while many others stay open.
async fn expiry(directory: &Path, plan: &Plan) -> anyhow::Result<()> {
    const SHORT_HOLDS: u64 = 200;
    let settings = settings(&directory.join("open-holds"))?;
    let service = Service::start(&settings).await?;
    let link = service.link();
    let engine = link.connect();
    let mut freed = FuturesUnordered::new();
    for _ in 0..SHORT_HOLDS {
        let product = register(&engine, 1, 1).await?;
        place(&engine, product, &ONE).await?;
        let snapshot = link.board().snapshot(product);
        let deadline = snapshot.and_then(|it| it.earliest_deadline);
        let deadline = deadline.ok_or_else(|| anyhow::anyhow!("a hold has a deadline"))?;
        freed.push(late_ms(&link, product, deadline));
    }
    let mut errors = Vec::new();
    while let Some(error) = freed.next().await {
        errors.push(error);
    }
    errors.sort_by(f64::total_cmp);
    report("open holds beside", plan.holds as f64);
    report("deadline to free unit, p50 ms", percentile(&errors, 0.5));
    report("deadline to free unit, p99 ms", percentile(&errors, 0.99));
    drop(engine);
    service.close().await
}

/// How long after the deadline of its hold the unit of a product was free on the board; looks each millisecond.
async fn late_ms(link: &EngineLink, product: ProductId, deadline: Timestamp) -> f64 {
    loop {
        let snapshot = link.board().snapshot(product);
        if snapshot.is_some_and(|it| it.stock.available == 1) {
            return SystemClock.now().since(deadline).as_micros() as f64 / 1_000.0;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// From the end of a hold to the offer of its unit, on a product for which many wait.
async fn resale(directory: &Path, plan: &Plan) -> anyhow::Result<()> {
    const HOLDS: u64 = 500;
    let settings = settings(&directory.join("resale"))?;
    let service = Service::start(&settings).await?;
    let link = service.link();
    let engine = link.connect();
    let product = register(&engine, HOLDS, 10).await?;
    let mut deadlines = Vec::new();
    for _ in 0..HOLDS {
        let held = engine.place_order(order(product)?).await;
        let held = held.map_err(|refusal| anyhow::anyhow!("a hold was refused: {refusal:?}"))?;
        deadlines.push(held.deadline);
        // So that the holds end one by one.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    join(&engine, product, plan).await?;
    let mut errors = Vec::new();
    for (offers, deadline) in (1..).zip(deadlines) {
        errors.push(offered_ms(&link, product, offers, deadline).await);
    }
    errors.sort_by(f64::total_cmp);
    report("people who wait", plan.waiting as f64);
    report("deadline to offer, p50 ms", percentile(&errors, 0.5));
    report("deadline to offer, p99 ms", percentile(&errors, 0.99));
    drop(engine);
    service.close().await
}

async fn join(engine: &Engine, product: ProductId, plan: &Plan) -> anyhow::Result<()> {
    let one = Quantity::new(1).ok_or_else(|| anyhow::anyhow!("one is a quantity"))?;
    let mut joining = FuturesUnordered::new();
    let mut joined = 0;
    while joined < plan.waiting || !joining.is_empty() {
        while joined < plan.waiting && joining.len() < plan.in_flight {
            let buyer = BuyerId::new(Uuid::now_v7().as_u128());
            joining.push(engine.join_waitlist(product, buyer, one));
            joined += 1;
        }
        if let Some(answer) = joining.next().await {
            answer.map_err(|refusal| anyhow::anyhow!("no place was given: {refusal:?}"))?;
        }
    }
    Ok(())
}

/// How long after a deadline so many offers had been made; looks each millisecond.
async fn offered_ms(
    link: &EngineLink,
    product: ProductId,
    offers: u64,
    deadline: Timestamp,
) -> f64 {
    loop {
        let snapshot = link.board().snapshot(product);
        if snapshot.is_some_and(|it| it.offers >= offers) {
            return SystemClock.now().since(deadline).as_micros() as f64 / 1_000.0;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn place(engine: &Engine, product: ProductId, plan: &Plan) -> anyhow::Result<()> {
    let mut waiting = FuturesUnordered::new();
    let mut placed = 0;
    while placed < plan.holds || !waiting.is_empty() {
        while placed < plan.holds && waiting.len() < plan.in_flight {
            waiting.push(engine.place_order(order(product)?));
            placed += 1;
        }
        if let Some(answer) = waiting.next().await {
            answer.map_err(|refusal| anyhow::anyhow!("a hold was refused: {refusal:?}"))?;
        }
    }
    Ok(())
}

fn order(product: ProductId) -> anyhow::Result<PlaceOrder> {
    let unique = || Uuid::now_v7().as_u128();
    let buyer = BuyerId::new(unique());
    let one = Quantity::new(1).ok_or_else(|| anyhow::anyhow!("one is a quantity"))?;
    Ok(PlaceOrder {
        order: OrderId::for_buyer(unique(), buyer),
        buyer,
        key: KeyHash::new(unique()),
        fingerprint: Fingerprint(0),
        address: None,
        lines: vec![(product, one)],
    })
}

async fn register(engine: &Engine, units: u64, hold_secs: u32) -> anyhow::Result<ProductId> {
    let product = ProductId::new(Uuid::now_v7().as_u128());
    let currency = Currency::parse("KRW").ok_or_else(|| anyhow::anyhow!("a currency"))?;
    let register = ProductAct::Register {
        details: Details {
            name: "Bench".into(),
            description: "".into(),
            image_url: None,
            price: Money {
                amount: 1,
                currency,
            },
        },
        restock_to: RestockTo::Available,
        total: units,
    };
    let window = Window {
        hold_ttl: Span::from_secs(hold_secs),
        ..Window::open_from(engine.now())
    };
    for act in [
        register,
        ProductAct::Window(WindowAct::Schedule, Some(window)),
    ] {
        let mark = AdminMark {
            admin: BuyerId::new(1),
            request: RequestId::new(1),
        };
        let changed = engine.change_product(product, mark, act).await;
        changed.map_err(|refusal| anyhow::anyhow!("the product was refused: {refusal:?}"))?;
    }
    Ok(product)
}

async fn wait_for_sql(service: &Service) -> anyhow::Result<()> {
    let link = service.link();
    let records = &link.counters().records;
    let mut last = records.load(std::sync::atomic::Ordering::Relaxed);
    while service.progress().position().get() < last {
        tokio::time::sleep(Duration::from_millis(20)).await;
        last = records.load(std::sync::atomic::Ordering::Relaxed);
    }
    Ok(())
}

fn settings(data_dir: &Path) -> anyhow::Result<ServeSettings> {
    let store = StoreOptions {
        data_dir: Some(data_dir.into()),
        ..StoreOptions::default()
    };
    let serve = ServeOptions {
        // Nobody writes them here, and the journal would be kept for whoever does.
        order_letters: Some(Switch::Off),
        open_orders_max: Some(0),
        ended_holds_max: Some(0),
        ..ServeOptions::default()
    };
    ServeSettings::resolve(store, serve)
}

fn resident_bytes() -> anyhow::Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).unwrap_or("0").parse()?;
    Ok(pages * 4_096)
}

fn argument(name: &str) -> Option<u64> {
    std::env::args().find_map(|it| it.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

fn rate(count: u64, within: Duration) -> f64 {
    count as f64 / within.as_secs_f64()
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or_default()
}

fn report(what: &str, value: f64) {
    println!("{what:<64} {value:>14.2}");
}
