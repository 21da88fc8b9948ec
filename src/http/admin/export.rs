//! `/v1/admin/products/{id}/sale/orders.csv`: every order of a sale in a file.
//!
//! The file is made while it is sent, a page of orders at a time, so that a sale of any size takes the memory of a page.
//!
//! **Invariant:** a file that could not be made to its end is broken off, never ended as if it were whole.

use std::borrow::Cow;
use std::sync::Arc;

use actix_web::http::{Method, header};
use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::accounts::token::Role;
use crate::accounts::{self, Accounts, AddressDraft, Contact};
use crate::actors::Engine;
use crate::domain::{Aftermath, Attempt, AttemptState, Line, Order, ProductId, Timestamp};
use crate::http::auth::origin;
use crate::http::extract::Staff;
use crate::http::ids;
use crate::http::problem::Problem;
use crate::http::routes::{Declaration, routes};
use crate::http::words::{refund_word, rfc3339, state_word, uuid_of};
use crate::persistence::database::{self, Database};

/// Files that are made at once; the next is told to come again.
const AT_ONCE_MAX: usize = 4;
/// Orders of one step.
const PAGE_ORDERS: u32 = 200;

const COLUMNS: [&str; 22] = [
    "order_id",
    "sequence",
    "state",
    "placed_at",
    "changed_at",
    "buyer_id",
    "quantity",
    "unit_amount",
    "amount",
    "order_total",
    "currency",
    "payment_method",
    "refund",
    "carrier",
    "tracking_number",
    "shipped_at",
    "delivered_at",
    "return_until",
    "return_requested_at",
    "return_reason",
    "restock_at",
    "restocked",
];

/// For admins alone.
const PERSONAL_COLUMNS: [&str; 7] = [
    "email",
    "recipient",
    "phone",
    "country",
    "postal_code",
    "line1",
    "line2",
];

/// How many files may still be made.
#[derive(Debug, Clone)]
pub(crate) struct Exports(Arc<Semaphore>);

impl Default for Exports {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE_MAX)))
    }
}

/// A file on its way.
struct Export {
    database: Database,
    /// Who opens what is personal, if it is to be in the file.
    accounts: Option<Accounts>,
    product: ProductId,
    /// The sequence of the last order in the file.
    after: u64,
    is_done: bool,
    _permit: OwnedSemaphorePermit,
}

/// Why a file is broken off.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Database(#[from] database::Error),
    #[error("personal data cannot be read")]
    Accounts(accounts::AccountRefusal),
    #[error(transparent)]
    Csv(#[from] csv::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

pub(crate) const ROUTES: &[Declaration] = routes![sale_orders];

/// Every order with a line of the product, the oldest first, a row each. Admins also get where they go, which is noted.
#[utoipa::path(
    get, path = "/v1/admin/products/{id}/sale/orders.csv", tag = "admin", params(("id" = Uuid, Path)),
    responses((status = 200, content_type = "text/csv", body = String), (status = 404), (status = 503, description = "busy")),
    security(("bearer" = []))
)]
async fn sale_orders(
    staff: Staff,
    id: Path<String>,
    request: HttpRequest,
    engine: Data<Engine>,
    database: Data<Database>,
    accounts: Data<Accounts>,
    exports: Data<Exports>,
) -> Result<HttpResponse, Problem> {
    let product = ProductId::new(ids::parse(&id, "product")?);
    if engine.board().snapshot(product).is_none() {
        return Err(Problem::not_found("product"));
    }
    let name = format!(
        "attachment; filename=\"orders-{}.csv\"",
        uuid_of(product.get())
    );
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/csv; charset=utf-8")
        .insert_header((header::CONTENT_DISPOSITION, name));
    if request.method() == Method::HEAD {
        return Ok(response.streaming(stream::empty::<Result<Bytes, Fault>>()));
    }
    let accounts = match staff.role {
        Role::Admin => Some(Accounts::clone(&accounts)),
        Role::Buyer | Role::Seller => None,
    };
    let mut export = Export::begin(&exports, &database, accounts, product)?;
    export.note(staff, &request).await?;
    // What fails at once is still told with a status.
    let first = export.first_page().await?;
    Ok(response.streaming(rest_of(export, first)))
}

/// An error in here ends the connection in the middle of the body.
fn rest_of(export: Export, first: Bytes) -> impl Stream<Item = Result<Bytes, Fault>> {
    let pages = stream::try_unfold(export, |mut export| async move {
        match export.next_page().await {
            Ok(page) => Ok(page.map(|page| (page, export))),
            Err(fault) => {
                tracing::error!(
                    product.id = %export.product, error = %fault,
                    "the file of a sale's orders broke off"
                );
                Err(fault)
            }
        }
    });
    stream::once(async { Ok(first) }).chain(pages)
}

/// A file is written into memory, where nothing but a bug of ours is in its way.
impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Database(error) => error.into(),
            Fault::Accounts(refusal) => refusal.into(),
            Fault::Csv(_) | Fault::Io(_) => Self::internal(&fault),
        }
    }
}

impl Export {
    /// With what is personal if there are `accounts` to open it.
    fn begin(
        exports: &Exports,
        database: &Database,
        accounts: Option<Accounts>,
        product: ProductId,
    ) -> Result<Self, Problem> {
        let permit = Arc::clone(&exports.0).try_acquire_owned();
        Ok(Self {
            database: database.clone(),
            accounts,
            product,
            after: 0,
            is_done: false,
            _permit: permit.map_err(|_none_left| Problem::busy())?,
        })
    }

    /// Nothing personal leaves before it is written that it does.
    async fn note(&self, staff: Staff, request: &HttpRequest) -> Result<(), Problem> {
        let Some(accounts) = &self.accounts else {
            return Ok(());
        };
        let noted = accounts.note_export(staff.id, self.product, origin(request)?);
        Ok(noted.await?)
    }

    async fn first_page(&mut self) -> Result<Bytes, Problem> {
        let mut file = file();
        let personal = PERSONAL_COLUMNS.iter().filter(|_| self.accounts.is_some());
        let page = match file.write_record(COLUMNS.iter().chain(personal)) {
            Ok(()) => self.write_page(&mut file).await,
            Err(error) => Err(error.into()),
        };
        Ok(page.and_then(|()| finished(file))?)
    }

    async fn next_page(&mut self) -> Result<Option<Bytes>, Fault> {
        if self.is_done {
            return Ok(None);
        }
        let mut file = file();
        self.write_page(&mut file).await?;
        finished(file).map(Some)
    }

    async fn write_page(&mut self, file: &mut csv::Writer<Vec<u8>>) -> Result<(), Fault> {
        let page = self
            .database
            .orders_with(self.product, self.after, PAGE_ORDERS);
        let orders = page.await?;
        self.is_done = orders.len() < PAGE_ORDERS as usize;
        self.after = orders.last().map_or(self.after, |order| order.sequence);
        let contacts = match &self.accounts {
            Some(accounts) => Some(accounts.contacts(&orders).await.map_err(Fault::Accounts)?),
            None => None,
        };
        for (index, order) in orders.iter().enumerate() {
            let contact = contacts.as_ref().and_then(|all| all.get(index));
            let cells = cells(order, self.product).into_iter();
            let cells = cells.chain(contact.into_iter().flat_map(personal_cells));
            file.write_record(cells.map(|it| harmless(&it).into_owned()))?;
        }
        Ok(())
    }
}

fn file() -> csv::Writer<Vec<u8>> {
    csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new())
}

fn finished(file: csv::Writer<Vec<u8>>) -> Result<Bytes, Fault> {
    match file.into_inner() {
        Ok(page) => Ok(page.into()),
        Err(unwritten) => Err(unwritten.into_error().into()),
    }
}

/// Programs that open such files take some cells for formulas; a leading apostrophe makes them text.
fn harmless(cell: &str) -> Cow<'_, str> {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        return format!("'{cell}").into();
    }
    cell.into()
}

fn cells(order: &Order, product: ProductId) -> [String; COLUMNS.len()] {
    let lines = order.lines.iter().filter(|line| line.product == product);
    let line = lines.clone().next();
    let quantity: u64 = lines
        .clone()
        .map(|line| u64::from(line.quantity.get()))
        .sum();
    let total = order.money();
    let paid_by = order
        .attempts
        .iter()
        .find(|it| it.state == AttemptState::Captured);
    let after = order.aftermath.as_deref();
    let time = |it: Option<Timestamp>| it.map(rfc3339).unwrap_or_default();
    let text = |it: fn(&Aftermath) -> &str| after.map(it).unwrap_or_default().to_owned();
    [
        uuid_of(order.id.get()).to_string(),
        order.sequence.to_string(),
        state_word(order.state).to_owned(),
        rfc3339(order.placed_at),
        rfc3339(order.changed_at),
        uuid_of(order.buyer.get()).to_string(),
        quantity.to_string(),
        line.map_or(0, |line| line.unit_price.amount).to_string(),
        lines.map(Line::amount).sum::<i64>().to_string(),
        total.amount.to_string(),
        total.currency.as_str().to_owned(),
        paid_by.map(|it| it.method.to_string()).unwrap_or_default(),
        paid_by.map_or("", refund_of).to_owned(),
        text(|it| &it.carrier),
        text(|it| &it.tracking_number),
        time(after.map(|it| it.shipped_at)),
        time(after.and_then(|it| it.delivered_at)),
        time(after.and_then(|it| it.return_until)),
        time(after.and_then(|it| it.return_requested_at)),
        text(|it| &it.return_reason),
        time(after.and_then(|it| it.restock_at)),
        after
            .filter(|it| it.return_requested_at.is_some())
            .map(|it| it.restocked.to_string())
            .unwrap_or_default(),
    ]
}

fn refund_of(attempt: &Attempt) -> &'static str {
    refund_word(attempt.refund)
}

fn personal_cells(contact: &Contact) -> [String; PERSONAL_COLUMNS.len()] {
    let email = contact.email.as_deref().cloned().unwrap_or_default();
    let of = |part: fn(&AddressDraft) -> &str| {
        let part = contact.address.as_ref().map(part);
        part.unwrap_or_default().to_owned()
    };
    [
        email,
        of(|it| &it.recipient),
        of(|it| &it.phone),
        of(|it| &it.country),
        of(|it| &it.postal_code),
        of(|it| &it.line1),
        of(|it| it.line2.as_deref().unwrap_or_default()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for (cell, shown) in [
            ("=1+1", "'=1+1"),
            ("+82 10-1234-5678", "'+82 10-1234-5678"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "'\r=1"),
            ("\n=1", "'\n=1"),
            ("1=1", "1=1"),
            ("'=1", "'=1"),
            ("", ""),
        ] {
            assert_eq!(harmless(cell), shown);
        }
    }
}
