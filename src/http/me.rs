//! `/v1/me`: what one sees and changes of oneself.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::auth::Asked;
use super::extract::{Caller, JsonBody};
use super::problem::{Fields, Problem};
use super::routes::{Declaration, routes};
use super::words::{rfc3339, uuid_of};
use crate::accounts::fields::{PersonName, Phone};
use crate::accounts::passwords::Password;
use crate::accounts::{AccountRefusal, Accounts, Profile, ProfileChange};
use crate::mail::Language;

/// Fields that are left out stay as they are.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfileBody {
    name: Option<String>,
    phone: Option<String>,
    /// `en` or `ko`: in what language letters are written.
    language: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordBody {
    #[schema(value_type = String)]
    current_password: Zeroizing<String>,
    #[schema(value_type = String)]
    new_password: Zeroizing<String>,
}

/// `null` where nothing is known, as of accounts that an operator made.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProfileView {
    id: Uuid,
    #[schema(value_type = Option<String>)]
    username: Option<Zeroizing<String>>,
    #[schema(value_type = Option<String>)]
    email: Option<Zeroizing<String>>,
    #[schema(value_type = Option<String>)]
    name: Option<Zeroizing<String>>,
    #[schema(value_type = Option<String>)]
    phone: Option<Zeroizing<String>>,
    #[schema(example = "buyer")]
    role: &'static str,
    #[schema(example = "ko")]
    language: &'static str,
    created_at: String,
}

super::hide_in_logs!(ProfileBody, PasswordBody, ProfileView);

pub(crate) const ROUTES: &[Declaration] = routes![read, edit, erase, change_password];

/// What is known about the caller.
#[utoipa::path(
    get, path = "/v1/me", tag = "me",
    responses((status = 200, body = ProfileView)), security(("bearer" = []))
)]
async fn read(caller: Caller, accounts: Data<Accounts>) -> Result<Json<ProfileView>, Problem> {
    Ok(Json(accounts.profile(caller.id).await?.into()))
}

/// Changes the name, the phone number or the language of letters.
#[utoipa::path(
    patch, path = "/v1/me", tag = "me", request_body = ProfileBody,
    responses((status = 200, body = ProfileView), (status = 422)), security(("bearer" = []))
)]
async fn edit(
    caller: Caller,
    body: JsonBody<ProfileBody>,
    accounts: Data<Accounts>,
) -> Result<Json<ProfileView>, Problem> {
    let change = body.0.into_change()?;
    Ok(Json(
        accounts.change_profile(caller.id, change).await?.into(),
    ))
}

/// Sets a new password, ends all other sessions, and tells the address.
#[utoipa::path(
    post, path = "/v1/me/password", tag = "me", request_body = PasswordBody,
    responses((status = 204), (status = 403, description = "wrong_password"), (status = 422), (status = 429)),
    security(("bearer" = []))
)]
async fn change_password(
    caller: Caller,
    asked: Asked,
    body: JsonBody<PasswordBody>,
    accounts: Data<Accounts>,
) -> Result<HttpResponse, Problem> {
    let new = &body.0.new_password;
    let profile = accounts.profile(caller.id).await?;
    let about = [profile.username.as_deref(), profile.email.as_deref()];
    let about: Vec<&str> = about.into_iter().flatten().map(String::as_str).collect();
    let mut fields = Fields::default();
    let new = Password::new_choice(new, &about).map_err(|weak| weak.to_string());
    let new = fields.take("new_password", new);
    let new = fields.done(new)?;
    // What cannot be a password is not the right one.
    let current = Password::for_sign_in(&body.0.current_password);
    let current = current.map_err(|_impossible| AccountRefusal::WrongPassword)?;
    accounts
        .change_password(caller.bearer, current, new, asked.0)
        .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Erases what is known about the caller. Orders stay in the books under an id that names nobody any more.
#[utoipa::path(
    delete, path = "/v1/me", tag = "me",
    responses((status = 204), (status = 409, description = "last_admin")), security(("bearer" = []))
)]
async fn erase(
    caller: Caller,
    asked: Asked,
    accounts: Data<Accounts>,
) -> Result<HttpResponse, Problem> {
    accounts.erase(caller.id, asked.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

impl ProfileBody {
    fn into_change(self) -> Result<ProfileChange, Problem> {
        let mut fields = Fields::default();
        let change = ProfileChange {
            name: self
                .name
                .and_then(|name| fields.take("name", PersonName::parse(&name))),
            phone: self
                .phone
                .and_then(|phone| fields.take("phone", Phone::parse(&phone))),
            language: self
                .language
                .and_then(|language| fields.take("language", parse_language(&language))),
        };
        fields.done(Some(change))
    }
}

fn parse_language(text: &str) -> Result<Language, String> {
    Language::parse(text).ok_or_else(|| "it is neither `en` nor `ko`".into())
}

impl From<Profile> for ProfileView {
    fn from(profile: Profile) -> Self {
        Self {
            id: uuid_of(profile.id.get()),
            username: profile.username,
            email: profile.email,
            name: profile.name,
            phone: profile.phone,
            role: profile.role.as_str(),
            language: profile.language.as_str(),
            created_at: rfc3339(profile.created_at),
        }
    }
}
