//! `/v1/auth`: signing up, in and out, and what is done by a mailed code. The only routes that take a password or a code.

use actix_web::web::{Data, Json, Query};
use actix_web::{FromRequest, HttpRequest, HttpResponse, dev::Payload};
use serde::{Deserialize, Serialize};
use std::future::{Ready, ready};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::client_address::ClientAddress;
use super::extract::JsonBody;
use super::problem::{Fields, Problem};
use super::routes::{Declaration, routes};
use crate::accounts::events::Origin;
use crate::accounts::fields::{Email, PersonName, Phone, Username};
use crate::accounts::passwords::Password;
use crate::accounts::{AccountRefusal, Accounts, NewPerson, SignedIn};
use crate::mail::Language;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignUpBody {
    /// 3 to 32 letters, digits, `.`, `_` and `-`. Capitals do not count.
    username: String,
    /// 8 characters at least, 1,024 bytes at most; none that everybody tries first.
    #[schema(value_type = String)]
    password: Zeroizing<String>,
    email: String,
    name: String,
    phone: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CodeBody {
    email: String,
    /// The six digits of the newest letter; good for ten minutes and five tries.
    code: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmailBody {
    email: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignInBody {
    username: String,
    #[schema(value_type = String)]
    password: Zeroizing<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefreshBody {
    #[schema(value_type = String)]
    refresh_token: Zeroizing<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignOutBody {
    #[schema(value_type = String)]
    refresh_token: Zeroizing<String>,
    /// All sessions of the account, and all its access tokens.
    #[serde(default)]
    everywhere: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResetBody {
    email: String,
    code: String,
    #[schema(value_type = String)]
    new_password: Zeroizing<String>,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsernameQuery {
    username: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AvailableView {
    available: bool,
}

/// What was asked for is under way.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AcceptedView {
    detail: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokensView {
    /// Send it as `Authorization: Bearer <access_token>`.
    access_token: String,
    /// Good once; the answer has the next one.
    #[schema(value_type = String)]
    refresh_token: Zeroizing<String>,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds that the access token is good for.
    expires_in: u64,
}

super::hide_in_logs!(
    SignUpBody,
    CodeBody,
    EmailBody,
    SignInBody,
    RefreshBody,
    SignOutBody,
    ResetBody
);

pub(crate) const ROUTES: &[Declaration] = routes![
    username_available,
    sign_up,
    verify_email,
    resend_code,
    sign_in,
    refresh,
    sign_out,
    forgot_password,
    reset_password
];

/// From where a request comes, for limits and the log of events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked(pub(crate) Origin);

impl FromRequest for Asked {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(origin(request).map(Self))
    }
}

/// The id of the request is the one in its problem, if it comes to that.
pub(super) fn origin(request: &HttpRequest) -> Result<Origin, Problem> {
    let Some(accounts) = request.app_data::<Data<Accounts>>() else {
        return Err(Problem::internal(&"no accounts are configured"));
    };
    Ok(accounts.origin(&ClientAddress::of(request).bucket()))
}

/// Is the name free?
#[utoipa::path(
    get, path = "/v1/auth/username-available", tag = "auth", params(UsernameQuery),
    responses((status = 200, body = AvailableView), (status = 422), (status = 429))
)]
async fn username_available(
    asked: Asked,
    query: Query<UsernameQuery>,
    accounts: Data<Accounts>,
) -> Result<Json<AvailableView>, Problem> {
    let mut fields = Fields::default();
    let username = fields.take("username", Username::parse(&query.username));
    let username = fields.done(username)?;
    let available = accounts.is_username_available(&username, asked.0).await?;
    Ok(Json(AvailableView { available }))
}

/// Makes an account and mails a code to its address. The answer does not tell whether the address is known.
#[utoipa::path(
    post, path = "/v1/auth/sign-up", tag = "auth", request_body = SignUpBody,
    responses(
        (status = 202, body = AcceptedView), (status = 409, description = "username_taken"),
        (status = 422), (status = 429), (status = 503),
    )
)]
async fn sign_up(
    asked: Asked,
    request: HttpRequest,
    body: JsonBody<SignUpBody>,
    accounts: Data<Accounts>,
) -> Result<HttpResponse, Problem> {
    let person = body.0.into_person()?;
    accounts
        .sign_up(person, language_of(&request), asked.0)
        .await?;
    Ok(accepted("a code was mailed to the address"))
}

/// Proves with the mailed code that the address is one's own.
#[utoipa::path(
    post, path = "/v1/auth/verify-email", tag = "auth", request_body = CodeBody,
    responses((status = 204), (status = 422, description = "code_invalid, invalid_values"), (status = 429))
)]
async fn verify_email(
    asked: Asked,
    body: JsonBody<CodeBody>,
    accounts: Data<Accounts>,
) -> Result<HttpResponse, Problem> {
    let email = parse_email(&body.0.email)?;
    accounts
        .verify_email(&email, body.0.code.trim(), asked.0)
        .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Mails another code, if the address waits for one; the one before is good no longer.
#[utoipa::path(
    post, path = "/v1/auth/resend-code", tag = "auth", request_body = EmailBody,
    responses((status = 202, body = AcceptedView), (status = 422), (status = 429))
)]
async fn resend_code(
    asked: Asked,
    body: JsonBody<EmailBody>,
    accounts: Data<Accounts>,
) -> Result<HttpResponse, Problem> {
    let email = parse_email(&body.0.email)?;
    accounts.resend_code(email, asked.0).await?;
    Ok(accepted("a code is mailed if the address waits for one"))
}

/// Takes a name and a password for tokens.
#[utoipa::path(
    post, path = "/v1/auth/sign-in", tag = "auth", request_body = SignInBody,
    responses(
        (status = 200, body = TokensView), (status = 401, description = "invalid_credentials"),
        (status = 403, description = "email_not_verified, account_suspended; only after the right password"),
        (status = 422), (status = 429), (status = 503),
    )
)]
async fn sign_in(
    asked: Asked,
    body: JsonBody<SignInBody>,
    accounts: Data<Accounts>,
) -> Result<Json<TokensView>, Problem> {
    // What cannot be a name or a password is not the right one.
    let username = Username::parse(&body.0.username);
    let password = Password::for_sign_in(&body.0.password);
    let (Ok(username), Ok(password)) = (username, password) else {
        return Err(AccountRefusal::InvalidCredentials.into());
    };
    let signed_in = accounts.sign_in(&username, password, asked.0).await?;
    Ok(Json(signed_in.into()))
}

/// Takes a refresh token for new tokens. A token that is used twice ends its session.
#[utoipa::path(
    post, path = "/v1/auth/refresh", tag = "auth", request_body = RefreshBody,
    responses((status = 200, body = TokensView), (status = 401, description = "invalid_refresh_token"), (status = 429))
)]
async fn refresh(
    asked: Asked,
    body: JsonBody<RefreshBody>,
    accounts: Data<Accounts>,
) -> Result<Json<TokensView>, Problem> {
    let signed_in = accounts.refresh(&body.0.refresh_token, asked.0).await?;
    Ok(Json(signed_in.into()))
}

/// Ends the session of the token, or all sessions.
#[utoipa::path(
    post, path = "/v1/auth/sign-out", tag = "auth", request_body = SignOutBody,
    responses((status = 204), (status = 422), (status = 429))
)]
async fn sign_out(
    asked: Asked,
    body: JsonBody<SignOutBody>,
    accounts: Data<Accounts>,
) -> Result<HttpResponse, Problem> {
    let SignOutBody {
        refresh_token,
        everywhere,
    } = body.0;
    accounts
        .sign_out(&refresh_token, everywhere, asked.0)
        .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Mails a code to reset the password, if there is such an account. The answer does not tell.
#[utoipa::path(
    post, path = "/v1/auth/forgot-password", tag = "auth", request_body = EmailBody,
    responses((status = 202, body = AcceptedView), (status = 422), (status = 429))
)]
async fn forgot_password(
    asked: Asked,
    body: JsonBody<EmailBody>,
    accounts: Data<Accounts>,
) -> Result<HttpResponse, Problem> {
    let email = parse_email(&body.0.email)?;
    accounts.forgot_password(email, asked.0).await?;
    Ok(accepted("a code is mailed if there is such an account"))
}

/// Sets a new password by the mailed code, and ends all sessions.
#[utoipa::path(
    post, path = "/v1/auth/reset-password", tag = "auth", request_body = ResetBody,
    responses((status = 204), (status = 422, description = "code_invalid, invalid_values"), (status = 429), (status = 503))
)]
async fn reset_password(
    asked: Asked,
    body: JsonBody<ResetBody>,
    accounts: Data<Accounts>,
) -> Result<HttpResponse, Problem> {
    let body = body.0;
    let mut fields = Fields::default();
    let email = fields.take("email", Email::parse(&body.email));
    let about = email.as_ref().map(|it| [it.as_str(), it.local_part()]);
    let password = Password::new_choice(&body.new_password, about.as_ref().map_or(&[], |it| it));
    let password = fields.take("new_password", password.map_err(|weak| weak.to_string()));
    let (email, password) = fields.done(email.zip(password))?;
    accounts
        .reset_password(&email, body.code.trim(), password, asked.0)
        .await?;
    Ok(HttpResponse::NoContent().finish())
}

impl SignUpBody {
    fn into_person(self) -> Result<NewPerson, Problem> {
        let mut fields = Fields::default();
        let username = fields.take("username", Username::parse(&self.username));
        let email = fields.take("email", Email::parse(&self.email));
        let name = fields.take("name", PersonName::parse(&self.name));
        let phone = fields.take("phone", Phone::parse(&self.phone));
        let about = [
            username.as_ref().map(Username::as_str),
            email.as_ref().map(Email::as_str),
            email.as_ref().map(Email::local_part),
        ];
        let about: Vec<&str> = about.into_iter().flatten().collect();
        let password = Password::new_choice(&self.password, &about);
        let password = fields.take("password", password.map_err(|weak| weak.to_string()));
        let person = || {
            Some(NewPerson {
                username: username?,
                password: password?,
                email: email?,
                name: name?,
                phone: phone?,
            })
        };
        fields.done(person())
    }
}

impl From<SignedIn> for TokensView {
    fn from(signed_in: SignedIn) -> Self {
        Self {
            access_token: signed_in.access_token,
            refresh_token: signed_in.refresh_token,
            token_type: "Bearer",
            expires_in: signed_in.expires_in_secs,
        }
    }
}

fn parse_email(text: &str) -> Result<Email, Problem> {
    let mut fields = Fields::default();
    let email = fields.take("email", Email::parse(text));
    fields.done(email)
}

fn language_of(request: &HttpRequest) -> Language {
    let header = request.headers().get("accept-language");
    header
        .and_then(|value| value.to_str().ok())
        .map(Language::from_accept_language)
        .unwrap_or_default()
}

fn accepted(detail: &'static str) -> HttpResponse {
    HttpResponse::Accepted().json(AcceptedView { detail })
}
