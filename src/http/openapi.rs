//! The OpenAPI 3.1 document, gathered from the routes, and the route that serves it.

use actix_web::Responder;
use actix_web::web::{self, Json};
use utoipa::openapi::schema::{ArrayBuilder, Object, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, PathItem, Ref, RefOr, Response};
use utoipa::{Modify, OpenApi};

use super::problem::Code;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Layby",
        description = "A reservation engine for flash sales. Errors are `application/problem+json` with a stable `code`."
    ),
    modifiers(&Bearer, &Problems),
    paths(
        super::auth::username_available,
        super::auth::sign_up,
        super::auth::verify_email,
        super::auth::resend_code,
        super::auth::sign_in,
        super::auth::refresh,
        super::auth::sign_out,
        super::auth::forgot_password,
        super::auth::reset_password,
        super::me::read,
        super::me::edit,
        super::me::change_password,
        super::me::erase,
        super::live::routes::events,
        super::addresses::list,
        super::addresses::create,
        super::addresses::edit,
        super::addresses::remove,
        super::wishlist::list,
        super::wishlist::put,
        super::wishlist::remove,
        super::wishlist::checkout,
        super::orders::create,
        super::orders::list,
        super::orders::read,
        super::orders::cancel,
        super::returns::request,
        super::payments::create,
        super::products::list,
        super::products::read,
        super::waitlist::join,
        super::waitlist::leave,
        super::waitlist::list,
        super::live::routes::product,
        super::admin::products::create,
        super::admin::products::edit,
        super::admin::products::delete,
        super::admin::products::set_stock,
        super::admin::products::set_window,
        super::admin::products::change_window,
        super::admin::products::sale,
        super::live::routes::sale,
        super::admin::export::sale_orders,
        super::admin::journeys::of_product,
        super::admin::orders::list,
        super::admin::orders::read,
        super::admin::orders::ship,
        super::admin::orders::deliver,
        super::admin::orders::accept_return,
        super::admin::journeys::of_order,
        super::admin::users::role,
        super::admin::users::set_role,
        super::admin::users::suspend,
        super::admin::users::reinstate,
        super::admin::audit::list,
        super::webhooks::receive,
        super::health::healthz,
        super::health::readyz,
        super::metrics::metrics,
        super::docs::docs,
        openapi,
    )
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// Gives every refusal its body.
struct Problems;

impl Modify for Problems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let schemas = &mut document.components.get_or_insert_default().schemas;
        schemas.insert("ProblemCode".into(), problem_code().into());
        schemas.insert("Problem".into(), problem().into());
        for path in document.paths.paths.values_mut() {
            for (status, response) in responses_mut(path) {
                if status.starts_with(['4', '5']) && response.content.is_empty() {
                    let content = Content::new(Some(Ref::from_schema_name("Problem")));
                    let kind = "application/problem+json".into();
                    response.content.insert(kind, content.into());
                }
            }
        }
    }
}

fn problem_code() -> Schema {
    let codes = Code::ALL.iter().map(|code| code.entry().code);
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(
            "What to decide by. Each is explained at `/docs/problems`.",
        ))
        .enum_values(Some(codes))
        .into()
}

/// RFC 9457, with the members that every problem has and those that many have.
fn problem() -> Schema {
    let text = || Object::with_type(Type::String);
    let number = || Object::with_type(Type::Integer);
    let error = ObjectBuilder::new()
        .property("field", text())
        .property("detail", text())
        .required("field")
        .required("detail");
    let told = ["type", "title", "status", "detail", "code", "request_id"];
    let problem = ObjectBuilder::new()
        .description(Some(
            "Why something was not done. The facts of each code are named at `/docs/problems`.",
        ))
        .property("type", text())
        .property("title", text())
        .property("status", number())
        .property("detail", text())
        .property("code", Ref::from_schema_name("ProblemCode"))
        .property("request_id", text())
        .property("retry_after", number())
        .property("errors", ArrayBuilder::new().items(error));
    let problem = told.into_iter().fold(problem, ObjectBuilder::required);
    problem.into()
}

fn responses_mut(path: &mut PathItem) -> impl Iterator<Item = (&String, &mut Response)> {
    let PathItem {
        get,
        put,
        post,
        delete,
        patch,
        ..
    } = path;
    let operations = [get, put, post, delete, patch].into_iter().flatten();
    let responses = operations.flat_map(|operation| &mut operation.responses.responses);
    responses.filter_map(|(status, response)| match response {
        RefOr::T(response) => Some((status, response)),
        RefOr::Ref(_) => None,
    })
}

pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config.service(
        web::resource("/openapi.json")
            .route(super::get_or_head().to(openapi))
            .default_service(super::method_not_allowed("GET, HEAD")),
    );
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "operations", responses((status = 200)))]
pub(crate) async fn openapi() -> impl Responder {
    Json(document())
}

pub(crate) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn spelled() -> Value {
        serde_json::to_value(document()).expect("JSON")
    }

    #[test]
    fn the_document_knows_every_code() {
        let document = spelled();
        let codes = &document["components"]["schemas"]["ProblemCode"]["enum"];
        let codes: Vec<&str> = codes
            .as_array()
            .expect("codes")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let table: Vec<&str> = Code::ALL.iter().map(|code| code.entry().code).collect();
        assert_eq!(codes, table);
    }

    #[test]
    fn every_refusal_is_a_problem_and_names_only_codes_of_its_status() {
        let document = spelled();
        let mut named = 0;
        for (path, operations) in document["paths"].as_object().expect("paths") {
            for (method, operation) in operations.as_object().expect("operations") {
                let responses = operation["responses"].as_object().expect("responses");
                for (status, response) in responses
                    .iter()
                    .filter(|(status, _)| *status >= &"400".to_owned())
                {
                    let description = response["description"].as_str().unwrap_or_default();
                    for word in description
                        .split([',', ':', ';', ' '])
                        .filter(|it| it.contains('_'))
                    {
                        let entry = Code::ALL
                            .iter()
                            .map(|code| code.entry())
                            .find(|it| it.code == word);
                        let is_its = entry.is_some_and(|it| it.status.as_str() == status);
                        assert!(is_its, "{method} {path} {status}: `{word}`");
                        named += 1;
                    }
                    // The server's own state is told in its own words.
                    if path != "/readyz" {
                        let schema = &response["content"]["application/problem+json"]["schema"];
                        assert_eq!(
                            schema["$ref"], "#/components/schemas/Problem",
                            "{method} {path} {status}"
                        );
                    }
                }
            }
        }
        assert!(named > 40, "only {named} codes are named");
    }
}
