//! `/v1/admin/audit`: what was done, to products, orders and accounts, the latest first. For admins alone.
//!
//! The two logs are kept apart, one by the journal and one by SQL. A page is merged from both by time, and its cursor says how
//! far each of them has been read.

use actix_web::web::{Data, Json, Query};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::http::extract::Admin;
use crate::http::problem::Problem;
use crate::http::routes::{Declaration, routes};
use crate::http::wire::{Page, PageQuery};
use crate::http::words::{rfc3339, uuid_of};
use crate::persistence::database::{AuditEntry, Database, KeptEvent};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuery {
    /// 1 to 100.
    #[serde(default = "AuditQuery::limit_default")]
    limit: u32,
    /// The `next` of the page before.
    after: Option<String>,
}

impl AuditQuery {
    const fn limit_default() -> u32 {
        20
    }
}

/// Something that was done. What it was done to is an account, a product or an order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditView {
    at: String,
    #[schema(example = "signed_in")]
    act: String,
    /// Who did it, if that is known.
    actor: Option<Uuid>,
    account: Option<Uuid>,
    product: Option<Uuid>,
    order: Option<Uuid>,
    detail: Option<String>,
    /// Equal for equal clients; the address cannot be told from it.
    client: Option<String>,
    request_id: Option<Uuid>,
    #[schema(value_type = Option<Object>)]
    before: Option<Box<RawValue>>,
    #[schema(value_type = Option<Object>)]
    after: Option<Box<RawValue>>,
}

/// How far each log has been read: the number of the last entry shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    events: u64,
    acts: u64,
}

pub(crate) const ROUTES: &[Declaration] = routes![list];

/// What was done, the latest first.
#[utoipa::path(
    get, path = "/v1/admin/audit", tag = "admin", params(AuditQuery),
    responses((status = 200, body = Page<AuditView>)), security(("bearer" = []))
)]
async fn list(
    _: Admin,
    query: Query<AuditQuery>,
    database: Data<Database>,
) -> Result<Json<Page<AuditView>>, Problem> {
    let AuditQuery { limit, after } = query.into_inner();
    let PageQuery { limit, .. } = PageQuery { limit, after: None }.checked()?;
    let cursor = match after {
        Some(text) => Cursor::parse(&text)
            .ok_or_else(|| Problem::field("after", "it is not the `next` of a page"))?,
        None => Cursor::START,
    };
    let events = database.account_events(cursor.events, limit + 1).await?;
    let acts = database.audit(cursor.acts, limit + 1).await?;
    Ok(Json(merge(events, acts, cursor, limit)))
}

/// Takes the later of the two at the head, until the page is full.
fn merge(
    events: Vec<KeptEvent>,
    acts: Vec<AuditEntry>,
    mut cursor: Cursor,
    limit: u32,
) -> Page<AuditView> {
    let mut events = events.into_iter().peekable();
    let mut acts = acts.into_iter().peekable();
    let mut items = Vec::new();
    for _ in 0..limit {
        let event_is_next = match (events.peek(), acts.peek()) {
            (None, None) => break,
            (Some(event), Some(act)) => event.at >= act.at,
            (event, _) => event.is_some(),
        };
        if event_is_next {
            items.extend(events.next().map(|event| {
                cursor.events = event.sequence;
                AuditView::of_event(event)
            }));
        } else {
            items.extend(acts.next().map(|act| {
                cursor.acts = act.position.get();
                AuditView::of_act(act)
            }));
        }
    }
    let more = events.peek().is_some() || acts.peek().is_some();
    Page {
        items,
        next: more.then(|| cursor.to_string()),
    }
}

impl Cursor {
    const START: Self = Self {
        events: u64::MAX,
        acts: u64::MAX,
    };

    fn parse(text: &str) -> Option<Self> {
        let (events, acts) = text.split_once('-')?;
        Some(Self {
            events: events.parse().ok()?,
            acts: acts.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}-{}", self.events, self.acts)
    }
}

impl AuditView {
    fn of_event(event: KeptEvent) -> Self {
        Self {
            at: rfc3339(event.at),
            act: event.act.into(),
            actor: event.actor.map(|id| uuid_of(id.get())),
            account: event.account.map(|id| uuid_of(id.get())),
            product: None,
            order: None,
            detail: event.detail.map(Into::into),
            client: event.client.map(|client| format!("{client:032x}")),
            request_id: event.request.map(|id| uuid_of(id.get())),
            before: None,
            after: None,
        }
    }

    fn of_act(act: AuditEntry) -> Self {
        let json = |text: Option<Box<str>>| RawValue::from_string(text?.into()).ok();
        Self {
            at: rfc3339(act.at),
            act: act.act.into(),
            actor: Some(uuid_of(act.mark.admin.get())),
            account: None,
            product: act.product.map(|id| uuid_of(id.get())),
            order: act.order.map(|id| uuid_of(id.get())),
            detail: None,
            client: None,
            request_id: Some(uuid_of(act.mark.request.get())),
            before: json(act.before),
            after: json(act.after),
        }
    }
}
