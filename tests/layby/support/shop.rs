//! A shop: a running `layby`, its data directory and its tables, through any number of lives of its process.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use layby::accounts::token::{Role, TokenIssuer};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::http::Method;
use uuid::Uuid;

use super::client::text;
use super::store::{Tables, TablesLock};
use super::{Caller, Process, Store, eventually, setting};

const STARTS_WITHIN: Duration = Duration::from_secs(30);
const STOPS_WITHIN: Duration = Duration::from_secs(10);
/// Longer than any clock is set ahead.
const TOKEN_TTL_SECS: u64 = 86_400;

pub(crate) struct Shop {
    /// After the process, which must be gone before its files.
    process: Option<Process>,
    url: String,
    options: Vec<String>,
    announced: Vec<String>,
    /// Whether closing the shop also proves its books.
    proves_books: bool,
    tables: Tables,
    data_dir: PathBuf,
    directory: TempDir,
}

/// How a product is sold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sale {
    pub(crate) stock: u64,
    pub(crate) price: i64,
    pub(crate) limit: Option<u32>,
    pub(crate) hold_seconds: u32,
    /// From now; negative: it has opened.
    pub(crate) opens_in_ms: i64,
    pub(crate) closes_in_ms: Option<i64>,
}

/// The provider's side of every payment: word, attempt, order.
#[derive(Debug)]
pub(crate) struct ProviderBooks {
    entries: Vec<(String, String, String)>,
}

impl ProviderBooks {
    /// The orders whose money was taken, once for each time.
    pub(crate) fn captured(&self) -> Vec<&str> {
        self.orders("captured")
    }

    /// The orders whose money was given back, once for each time.
    pub(crate) fn refunded(&self) -> Vec<&str> {
        self.orders("refunded")
    }

    fn orders(&self, word: &str) -> Vec<&str> {
        let wanted = self.entries.iter().filter(|(it, ..)| it == word);
        wanted.map(|(_, _, order)| order.as_str()).collect()
    }
}

impl Default for Sale {
    fn default() -> Self {
        Self {
            stock: 10,
            price: 39_000,
            limit: None,
            hold_seconds: 300,
            opens_in_ms: -1_000,
            closes_in_ms: None,
        }
    }
}

impl Sale {
    pub(crate) fn of(stock: u64) -> Self {
        Self {
            stock,
            ..Self::default()
        }
    }

    /// What a product is registered with.
    pub(crate) fn form(&self) -> Value {
        json!({
            "name": "Desk lamp",
            "description": "Lights a desk.",
            "price": {"amount": self.price, "currency": "KRW"},
            "stock": self.stock,
        })
    }

    pub(crate) fn window(&self) -> Value {
        json!({
            "opens_at": from_now(self.opens_in_ms),
            "closes_at": self.closes_in_ms.map(from_now),
            "per_person_limit": self.limit,
            "hold_seconds": self.hold_seconds,
        })
    }
}

impl Shop {
    pub(crate) fn open(store: Store) -> Self {
        Self::open_with(store, &[])
    }

    /// With options of `layby serve` on top.
    pub(crate) fn open_with(store: Store, options: &[&str]) -> Self {
        let mut shop = Self::closed(store, options);
        shop.start();
        shop
    }

    /// Not started yet.
    pub(crate) fn closed(store: Store, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let tables = store.tables(directory.path());
        Self::with_tables(directory, tables, options)
    }

    /// On a database that the test itself runs.
    pub(crate) fn closed_at(database_url: String, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self::with_tables(directory, Tables::lent(database_url), options)
    }

    fn with_tables(directory: TempDir, tables: Tables, options: &[&str]) -> Self {
        Self {
            process: None,
            url: String::new(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            announced: Vec::new(),
            proves_books: true,
            tables,
            data_dir: directory.path().join("data"),
            directory,
        }
    }

    /// Before the first start.
    pub(crate) fn move_data_dir(&mut self, path: PathBuf) {
        self.data_dir = path;
    }

    // -- the process ---------------------------------------------------------------------------------------------

    /// `layby serve` on a free port, with small journal segments.
    pub(crate) fn serve_command(&self) -> Command {
        let mut command = self.command("serve");
        command
            .args(["--listen", "127.0.0.1:0", "--journal-segment-mib", "1"])
            .args(["--workers", "2"])
            .args(&self.options);
        command
    }

    /// Any command of `layby` on the data of this shop.
    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = layby(words);
        command
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(["--database-url", self.tables.url()]);
        command
    }

    #[track_caller]
    pub(crate) fn start(&mut self) {
        let command = self.serve_command();
        self.start_by(command);
    }

    /// Starts by another command, which ends up as the same server.
    #[track_caller]
    pub(crate) fn start_by(&mut self, command: Command) {
        assert!(self.process.is_none(), "it runs already");
        let process = Process::start(command);
        let heard = process
            .stdout
            .wait_for(STARTS_WITHIN, |line| line.starts_with("listening on "));
        let Some(line) = heard else {
            panic!("no server came up; it said:\n{}", process.stderr.tail());
        };
        self.url = line.trim_start_matches("listening on ").to_owned();
        self.process = Some(process);
    }

    /// Starts in vain. Gives the exit code and what was said.
    #[track_caller]
    pub(crate) fn fails_to_start(&mut self) -> (Option<i32>, String) {
        let mut process = Process::start(self.serve_command());
        let status = process.ends_within(STARTS_WITHIN);
        let said = process.stderr.all().join("\n");
        assert!(!said.contains("panicked at"), "{said}");
        (status.code(), said)
    }

    /// As by `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
            self.check_log(&process);
        }
    }

    #[track_caller]
    pub(crate) fn kill_and_start(&mut self) {
        self.kill();
        self.start();
    }

    /// By SIGTERM; it must end in good order.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        let Some(process) = &self.process else { return };
        process.signal(Signal::TERM);
        assert_eq!(self.ends(), Some(0), "the exit code after SIGTERM");
    }

    /// Stops it in good order and shows everything that it said.
    #[track_caller]
    pub(crate) fn stop_and_hear(&mut self, hear: impl FnOnce(&str)) {
        let process = self.process();
        let streams = [process.stdout.clone(), process.stderr.clone()];
        self.stop();
        hear(&streams.map(|it| it.all().join("\n")).join("\n"));
    }

    /// Waits for the end of the process. Gives its exit code.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> Option<i32> {
        let mut process = self.process.take().expect("it runs");
        let status = process.ends_within(STOPS_WITHIN);
        self.check_log(&process);
        status.code()
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it runs")
    }

    /// The test is about an error: lines of the log with these words are no surprise.
    pub(crate) fn announce(&mut self, words: &str) {
        self.announced.push(words.to_owned());
    }

    /// The test has broken the books on purpose.
    pub(crate) fn leave_books_unproved(&mut self) {
        self.proves_books = false;
    }

    // -- what it is made of --------------------------------------------------------------------------------------

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.data_dir.clone()
    }

    pub(crate) fn journal_dir(&self) -> PathBuf {
        self.data_dir().join("journal")
    }

    /// Before the start: a file among the secrets, which only its owner may read.
    pub(crate) fn write_secret(&self, name: &str, text: &str) {
        let path = super::webhook::secret_path(self, name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        std::fs::write(&path, format!("{text}\n")).expect("written");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a mode");
    }

    /// For files beside the data.
    pub(crate) fn scratch(&self) -> &Path {
        self.directory.path()
    }

    // -- people --------------------------------------------------------------------------------------------------

    /// Somebody new.
    pub(crate) fn buyer(&self) -> Caller {
        self.person(Role::Buyer)
    }

    pub(crate) fn buyers(&self, count: usize) -> Vec<Caller> {
        (0..count).map(|_| self.buyer()).collect()
    }

    pub(crate) fn admin(&self) -> Caller {
        self.person(Role::Admin)
    }

    pub(crate) fn visitor(&self) -> Caller {
        Caller::new(&self.url, Uuid::nil(), None)
    }

    fn person(&self, role: Role) -> Caller {
        let id = Uuid::now_v7();
        let issuer = TokenIssuer::from_data_dir(&self.data_dir()).expect("the token key");
        let token = issuer
            .issue_plain(id, role, TOKEN_TTL_SECS)
            .expect("a token");
        Caller::new(&self.url, id, Some(token))
    }

    // -- products ------------------------------------------------------------------------------------------------

    /// A new product on sale. Gives its id.
    #[track_caller]
    pub(crate) fn product(&self, sale: Sale) -> String {
        let product = self.unscheduled_product(sale);
        self.set_window(&product, &sale.window()).is(200);
        product
    }

    /// A new product without a window.
    #[track_caller]
    pub(crate) fn unscheduled_product(&self, sale: Sale) -> String {
        let created = self.admin().post_with("/v1/admin/products", &sale.form());
        text(&created.is(201), "id")
    }

    #[track_caller]
    pub(crate) fn set_window(&self, product: &str, window: &Value) -> super::Answer {
        let path = format!("/v1/admin/products/{product}/window");
        self.admin().send(&Method::PUT, &path, None, Some(window))
    }

    /// `open`, `pause`, `resume` or `close`.
    #[track_caller]
    pub(crate) fn window_act(&self, product: &str, act: &str) -> super::Answer {
        self.admin()
            .post(&format!("/v1/admin/products/{product}/window/{act}"))
    }

    #[track_caller]
    pub(crate) fn set_stock(&self, product: &str, total: u64) -> super::Answer {
        let path = format!("/v1/admin/products/{product}/stock");
        let body = json!({"total": total});
        self.admin().send(&Method::PUT, &path, None, Some(&body))
    }

    #[track_caller]
    pub(crate) fn edit(&self, product: &str, patch: &Value) -> super::Answer {
        let path = format!("/v1/admin/products/{product}");
        self.admin().send(&Method::PATCH, &path, None, Some(patch))
    }

    /// Where its units are.
    #[track_caller]
    pub(crate) fn sale(&self, product: &str) -> Value {
        self.admin()
            .get(&format!("/v1/admin/products/{product}/sale"))
            .is(200)
    }

    /// Available, held and sold units.
    #[track_caller]
    pub(crate) fn units(&self, product: &str) -> (u64, u64, u64) {
        let sale = self.sale(product);
        let bucket = |name: &str| sale[name].as_u64().unwrap_or_else(|| panic!("{sale}"));
        let buckets = [
            "available",
            "held",
            "offered",
            "sold",
            "returning",
            "withdrawn",
        ];
        let sum: u64 = buckets.iter().map(|name| bucket(name)).sum();
        assert_eq!(bucket("total"), sum, "{sale}");
        (bucket("available"), bucket("held"), bucket("sold"))
    }

    // -- orders --------------------------------------------------------------------------------------------------

    /// One unit, paid.
    #[track_caller]
    pub(crate) fn bought(&self, buyer: &Caller, product: &str) -> Value {
        let order = buyer.hold(product, 1);
        buyer.pay(&order, "card_ok").is(201);
        order
    }

    /// One unit, paid, shipped and there.
    #[track_caller]
    pub(crate) fn delivered(&self, buyer: &Caller, product: &str) -> Value {
        let (order, admin) = (self.bought(buyer, product), self.admin());
        admin.ship(&order, "Korea Post", "RR1").is(200);
        admin.deliver(&order).is(200);
        order
    }

    /// Units on their way back.
    #[track_caller]
    pub(crate) fn returning(&self, product: &str) -> u64 {
        let sale = self.sale(product);
        sale["returning"]
            .as_u64()
            .unwrap_or_else(|| panic!("{sale}"))
    }

    // -- the books -----------------------------------------------------------------------------------------------

    /// `layby verify --json`: its exit code and its report.
    #[track_caller]
    pub(crate) fn verify(&self) -> (Option<i32>, Value) {
        let output = run(self.command("verify").arg("--json"));
        let report = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code(), report)
    }

    #[track_caller]
    pub(crate) fn prove_books(&self) -> Value {
        let (code, report) = self.verify();
        assert_eq!(
            (code, &report["verdict"]),
            (Some(0), &json!("ok")),
            "{report:#}"
        );
        report
    }

    /// Waits until the tables have everything that the journal has.
    #[track_caller]
    pub(crate) fn catches_up(&self) {
        eventually("the tables have what the journal has", || {
            let report = self.prove_books();
            (report["journal"]["last"] == report["database_position"]).then_some(())
        });
    }

    /// What the payment provider has done.
    pub(crate) fn provider_books(&self) -> ProviderBooks {
        let path = self.data_dir().join("sandbox-books.log");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let words = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            Some((words.next()?, words.next()?, words.next()?))
        };
        ProviderBooks {
            entries: text.lines().filter_map(words).collect(),
        }
    }

    /// All tables are gone.
    pub(crate) fn lose_tables(&self) {
        self.tables.lose();
    }

    /// Remembers the tables that follow the journal, under a name.
    pub(crate) fn back_up_tables(&self, name: &str) {
        self.tables.back_up(name);
    }

    /// Brings them back, beside a running server too.
    pub(crate) fn restore_tables(&self, name: &str) {
        self.tables.restore(name);
    }

    /// Nothing can be written into those tables until it is dropped.
    pub(crate) fn lock_tables(&self) -> TablesLock {
        TablesLock::take(self.tables.url())
    }

    /// A statement on the tables, past everything that guards them.
    pub(crate) fn sql(&self, statement: &str) {
        super::store::execute(self.tables.url(), statement.to_owned());
    }

    /// What a query gives, every value as text; `NULL` for nothing. Bytes must be asked for by `HEX()`.
    pub(crate) fn rows(&self, query: &str) -> Vec<Vec<String>> {
        super::store::fetch(self.tables.url(), query.to_owned())
    }

    /// Where its tables are.
    pub(crate) fn database_url(&self) -> &str {
        self.tables.url()
    }

    fn check_log(&self, process: &Process) {
        if std::thread::panicking() {
            return;
        }
        let is_fault = |line: &&String| line.contains(" ERROR ") || line.contains("panicked at");
        let is_announced = |line: &str| self.announced.iter().any(|words| line.contains(words));
        let lines = process.stderr.all();
        let surprises: Vec<&String> = lines
            .iter()
            .filter(is_fault)
            .filter(|line| !is_announced(line))
            .collect();
        assert!(surprises.is_empty(), "the log has errors: {surprises:#?}");
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if let Some(process) = &self.process {
                eprintln!("the log of the server:\n{}", process.stderr.tail());
            }
            return;
        }
        self.stop();
        if self.proves_books && self.journal_dir().exists() {
            self.prove_books();
        }
    }
}

/// The program, if it is not to be the one that was built along with the tests.
pub(crate) fn named_binary() -> Option<String> {
    setting("LAYBY_TEST_BINARY")
}

/// The program, without anything of this machine's settings.
pub(crate) fn layby(words: &str) -> Command {
    let binary = named_binary();
    let binary = binary.as_deref().unwrap_or(env!("CARGO_BIN_EXE_layby"));
    let mut command = Command::new(binary);
    command.args(words.split_whitespace());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LAYBY_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs it to its end.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Output {
    let began = Instant::now();
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(
        began.elapsed() < STARTS_WITHIN,
        "{command:?} took {:?}",
        began.elapsed()
    );
    output
}

fn from_now(milliseconds: i64) -> String {
    (Timestamp::now() + SignedDuration::from_millis(milliseconds)).to_string()
}
