//! `/v1/admin/users`: what accounts may do. For admins alone.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json, Path};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::accounts::Accounts;
use crate::accounts::token::Role;
use crate::domain::BuyerId;
use crate::http::auth::Asked;
use crate::http::extract::{Admin, JsonBody};
use crate::http::ids;
use crate::http::problem::Problem;
use crate::http::routes::{Declaration, routes};
use crate::http::words::uuid_of;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoleBody {
    /// `buyer`, `seller` or `admin`.
    #[schema(value_type = String, example = "seller")]
    role: Role,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RoleView {
    user_id: Uuid,
    #[schema(example = "seller")]
    role: &'static str,
}

pub(crate) const ROUTES: &[Declaration] = routes![role, set_role, suspend, reinstate];

/// The role of an account.
#[utoipa::path(
    get, path = "/v1/admin/users/{id}/role", tag = "admin", params(("id" = Uuid, Path)),
    responses((status = 200, body = RoleView), (status = 404)), security(("bearer" = []))
)]
async fn role(
    _: Admin,
    id: Path<String>,
    accounts: Data<Accounts>,
) -> Result<Json<RoleView>, Problem> {
    let id = account_id(&id)?;
    let role = accounts.role_of(id).await?;
    Ok(Json(RoleView::of(id, role)))
}

/// Gives an account another role. Its access tokens are good no longer; a refresh gives one with the new role.
#[utoipa::path(
    post, path = "/v1/admin/users/{id}/role", tag = "admin", params(("id" = Uuid, Path)), request_body = RoleBody,
    responses((status = 200, body = RoleView), (status = 404), (status = 409, description = "last_admin"), (status = 422)),
    security(("bearer" = []))
)]
async fn set_role(
    admin: Admin,
    asked: Asked,
    id: Path<String>,
    body: JsonBody<RoleBody>,
    accounts: Data<Accounts>,
) -> Result<Json<RoleView>, Problem> {
    let id = account_id(&id)?;
    let role = body.0.role;
    accounts.set_role(admin.id, id, role, asked.0).await?;
    Ok(Json(RoleView::of(id, role)))
}

/// Ends the access of an account until it is reinstated.
#[utoipa::path(
    post, path = "/v1/admin/users/{id}/suspend", tag = "admin", params(("id" = Uuid, Path)),
    responses((status = 204), (status = 404), (status = 409, description = "last_admin")), security(("bearer" = []))
)]
async fn suspend(
    admin: Admin,
    asked: Asked,
    id: Path<String>,
    accounts: Data<Accounts>,
) -> Result<HttpResponse, Problem> {
    accounts
        .suspend(admin.id, account_id(&id)?, asked.0)
        .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Lets an account sign in again.
#[utoipa::path(
    post, path = "/v1/admin/users/{id}/reinstate", tag = "admin", params(("id" = Uuid, Path)),
    responses((status = 204), (status = 404)), security(("bearer" = []))
)]
async fn reinstate(
    admin: Admin,
    asked: Asked,
    id: Path<String>,
    accounts: Data<Accounts>,
) -> Result<HttpResponse, Problem> {
    accounts
        .reinstate(admin.id, account_id(&id)?, asked.0)
        .await?;
    Ok(HttpResponse::NoContent().finish())
}

impl RoleView {
    fn of(id: BuyerId, role: Role) -> Self {
        Self {
            user_id: uuid_of(id.get()),
            role: role.as_str(),
        }
    }
}

fn account_id(text: &str) -> Result<BuyerId, Problem> {
    ids::parse(text, "account").map(BuyerId::new)
}
