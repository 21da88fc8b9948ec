//! `/v1/me/addresses`: the address book.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json, Path, Query};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::extract::{Caller, JsonBody};
use super::ids;
use super::problem::{FieldError, Problem};
use super::routes::{Declaration, routes};
use super::wire::{Page, PageQuery};
use super::words::{rfc3339, uuid_of};
use crate::accounts::{Accounts, Address, AddressDraft, AddressPatch};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAddress {
    recipient: String,
    phone: String,
    /// ISO 3166 alpha-2; `KR` if left out.
    country: Option<String>,
    postal_code: String,
    line1: String,
    line2: Option<String>,
    /// The first address is the default anyhow.
    #[serde(default)]
    default: bool,
}

/// Fields that are left out stay as they are.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddressBody {
    recipient: Option<String>,
    phone: Option<String>,
    country: Option<String>,
    postal_code: Option<String>,
    line1: Option<String>,
    /// `null` takes it away.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    line2: Option<Option<String>>,
    /// `true` makes it the default; another address takes that away, `false` does not.
    #[serde(default)]
    default: bool,
}

#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct AddressView {
    pub(crate) id: Uuid,
    pub(crate) recipient: String,
    pub(crate) phone: String,
    #[schema(example = "KR")]
    pub(crate) country: String,
    pub(crate) postal_code: String,
    pub(crate) line1: String,
    pub(crate) line2: Option<String>,
    pub(crate) is_default: bool,
    pub(crate) created_at: String,
}

super::hide_in_logs!(NewAddress, AddressBody, AddressView);

pub(crate) const ROUTES: &[Declaration] = routes![create, list, edit, remove];

/// The caller's addresses, oldest first.
#[utoipa::path(
    get, path = "/v1/me/addresses", tag = "me", params(PageQuery),
    responses((status = 200, body = Page<AddressView>)), security(("bearer" = []))
)]
async fn list(
    caller: Caller,
    page: Query<PageQuery>,
    accounts: Data<Accounts>,
) -> Result<Json<Page<AddressView>>, Problem> {
    let page = page.into_inner().checked()?;
    let addresses = accounts.addresses(caller.id).await?;
    let after = page.after.map(|id| id.as_u128());
    let views = addresses
        .into_iter()
        .filter(|address| after.is_none_or(|after| address.id > after))
        .map(AddressView::from)
        .collect();
    Ok(Json(Page::cut(views, page.limit, |view| view.id)))
}

/// Adds an address.
#[utoipa::path(
    post, path = "/v1/me/addresses", tag = "me", request_body = NewAddress,
    responses((status = 201, body = AddressView), (status = 409, description = "too_many_addresses"), (status = 422)),
    security(("bearer" = []))
)]
async fn create(
    caller: Caller,
    body: JsonBody<NewAddress>,
    accounts: Data<Accounts>,
) -> Result<HttpResponse, Problem> {
    let default = body.0.default;
    let draft = AddressDraft::parse(body.0.into()).map_err(faulty)?;
    let address = accounts.add_address(caller.id, draft, default).await?;
    let view = AddressView::from(address);
    Ok(HttpResponse::Created()
        .insert_header(("Location", format!("/v1/me/addresses/{}", view.id)))
        .json(view))
}

/// Changes an address. Orders keep the one they were placed with.
#[utoipa::path(
    patch, path = "/v1/me/addresses/{id}", tag = "me", params(("id" = Uuid, Path)), request_body = AddressBody,
    responses((status = 200, body = AddressView), (status = 404), (status = 422)), security(("bearer" = []))
)]
async fn edit(
    caller: Caller,
    id: Path<String>,
    body: JsonBody<AddressBody>,
    accounts: Data<Accounts>,
) -> Result<Json<AddressView>, Problem> {
    let id = ids::parse(&id, "address")?;
    let default = body.0.default;
    let patch = body.0.into();
    let changed = accounts.change_address(caller.id, id, default, |address| address.changed(patch));
    let address = changed.await?.map_err(faulty)?;
    Ok(Json(address.into()))
}

/// Removes an address. Orders keep it.
#[utoipa::path(
    delete, path = "/v1/me/addresses/{id}", tag = "me", params(("id" = Uuid, Path)),
    responses((status = 204), (status = 404)), security(("bearer" = []))
)]
async fn remove(
    caller: Caller,
    id: Path<String>,
    accounts: Data<Accounts>,
) -> Result<HttpResponse, Problem> {
    let id = ids::parse(&id, "address")?;
    accounts.remove_address(caller.id, id).await?;
    Ok(HttpResponse::NoContent().finish())
}

impl From<NewAddress> for AddressPatch {
    fn from(body: NewAddress) -> Self {
        Self {
            recipient: Some(body.recipient),
            phone: Some(body.phone),
            country: body.country,
            postal_code: Some(body.postal_code),
            line1: Some(body.line1),
            line2: body.line2.map(Some),
        }
    }
}

impl From<AddressBody> for AddressPatch {
    fn from(body: AddressBody) -> Self {
        Self {
            recipient: body.recipient,
            phone: body.phone,
            country: body.country,
            postal_code: body.postal_code,
            line1: body.line1,
            line2: body.line2,
        }
    }
}

impl From<Address> for AddressView {
    fn from(address: Address) -> Self {
        let content = address.content;
        Self {
            id: uuid_of(address.id),
            recipient: content.recipient,
            phone: content.phone,
            country: content.country,
            postal_code: content.postal_code,
            line1: content.line1,
            line2: content.line2,
            is_default: address.is_default,
            created_at: rfc3339(address.created_at),
        }
    }
}

fn faulty(faults: Vec<(&'static str, String)>) -> Problem {
    let errors = faults.into_iter().map(|(field, detail)| FieldError {
        field: field.into(),
        detail,
    });
    Problem::invalid(errors.collect())
}

/// Tells a `null` from a field that is not there.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(value).map(Some)
}
