//! The OpenAPI 3.1 document, put together from the declared routes, and the route that serves it.
//!
//! What a route refuses because of its shape (a token, a body, a key, an id in its path) is added here, so that no handler
//! has to say it; the codes come from the table of problems.

use actix_web::Responder;
use actix_web::http::StatusCode;
use actix_web::web::Json;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::schema::{ArrayBuilder, Object, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, Response};

use super::problem::Code;
use super::routes::{Declaration, documents, operations_mut, routes};

#[derive(OpenApi)]
#[openapi(info(
    title = "Layby",
    description = "A reservation engine for flash sales. Errors are `application/problem+json` with a stable `code`."
))]
struct Base;

pub(crate) const ROUTES: &[Declaration] = routes![openapi];

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "operations", responses((status = 200)))]
async fn openapi() -> impl Responder {
    Json(document())
}

pub(crate) fn document() -> utoipa::openapi::OpenApi {
    let mut document = Base::openapi();
    documents().for_each(|it| document.merge(it));
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("bearer", bearer());
    components
        .schemas
        .insert("ProblemCode".into(), problem_code().into());
    components
        .schemas
        .insert("Problem".into(), problem().into());
    for (path, item) in &mut document.paths.paths {
        for (_, operation) in operations_mut(item) {
            add_refusals_of_shape(path, operation);
            complete_responses(operation);
        }
    }
    document
}

fn bearer() -> SecurityScheme {
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT");
    SecurityScheme::Http(scheme.build())
}

/// What is refused before a handler is asked, or because of how its arguments look.
fn add_refusals_of_shape(path: &str, operation: &mut Operation) {
    let parameters = operation.parameters.iter().flatten();
    let asks_for = |place: ParameterIn| parameters.clone().any(|it| is_in(it, &place));
    let mut codes = Vec::new();
    if operation.security.is_some() {
        codes.push(Code::Unauthorized);
    }
    if path.starts_with("/v1/admin/") {
        codes.push(Code::Forbidden);
    }
    if asks_for(ParameterIn::Path) {
        codes.push(Code::NotFound);
    }
    if asks_for(ParameterIn::Query) {
        codes.push(Code::InvalidValues);
    }
    // The only header that is asked for.
    if asks_for(ParameterIn::Header) {
        codes.extend([
            Code::IdempotencyKeyRequired,
            Code::IdempotencyKeyInvalid,
            Code::IdempotencyKeyReused,
        ]);
    }
    if operation.request_body.is_some() {
        codes.extend([
            Code::MalformedRequest,
            Code::BodyTooSlow,
            Code::BodyTooLarge,
        ]);
    }
    // A webhook's body is what its provider signed, whatever it is called.
    if operation.request_body.is_some() && !path.starts_with("/v1/webhooks/") {
        codes.extend([Code::UnsupportedMediaType, Code::InvalidValues]);
    }
    for code in codes {
        add_refusal(operation, code);
    }
    let others = "any other problem, among them what every route may answer: `internal`, and 503 while a part is away";
    let responses = &mut operation.responses.responses;
    responses.insert("default".into(), Response::new(others).into());
}

fn is_in(parameter: &RefOr<Parameter>, place: &ParameterIn) -> bool {
    matches!(parameter, RefOr::T(it) if it.parameter_in == *place)
}

/// Names the code under its status, if it is not named there.
fn add_refusal(operation: &mut Operation, code: Code) {
    let entry = code.entry();
    let responses = &mut operation.responses.responses;
    let response = responses
        .entry(entry.status.as_str().to_owned())
        .or_insert_with(|| Response::new("").into());
    let RefOr::T(response) = response else { return };
    let named = &mut response.description;
    if !named.split([',', ':', ';', ' ']).any(|it| it == entry.code) {
        let separator = if named.is_empty() { "" } else { ", " };
        *named = format!("{}{separator}{named}", entry.code);
    }
}

/// A refusal has a body, and everything a description: OpenAPI 3.1 wants one.
fn complete_responses(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else {
            continue;
        };
        let code = StatusCode::from_bytes(status.as_bytes()).ok();
        if response.description.is_empty() {
            let reason = code.and_then(|it| it.canonical_reason());
            response.description = reason.unwrap_or_default().to_owned();
        }
        let is_success = code.is_some_and(|it| it.is_success());
        if !is_success && response.content.is_empty() {
            let content = Content::new(Some(Ref::from_schema_name("Problem")));
            let kind = "application/problem+json".into();
            response.content.insert(kind, content.into());
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

    /// Everything that a route answers: where, under which status, and what.
    fn answers(document: &Value) -> Vec<(String, String, &Value)> {
        let operations = document["paths"].as_object().expect("paths").iter();
        let operations = operations.flat_map(|(path, item)| {
            let methods = item.as_object().expect("operations").iter();
            methods.map(move |(method, operation)| (format!("{method} {path}"), operation))
        });
        let answers = operations.flat_map(|(route, operation)| {
            let responses = operation["responses"].as_object().expect("responses");
            let told = move |(status, answer)| (route.clone(), String::clone(status), answer);
            responses.iter().map(told)
        });
        answers.collect()
    }

    fn description(answer: &Value) -> &str {
        answer["description"].as_str().unwrap_or_default()
    }

    /// Whether the server is ready is told in words of its own.
    const READINESS: (&str, &str) = ("get /readyz", "503");

    #[test]
    fn every_answer_is_described_and_every_refusal_is_a_problem() {
        let document = spelled();
        for (route, status, answer) in answers(&document) {
            assert!(!description(answer).is_empty(), "{route} {status}");
            let is_problem = !status.starts_with('2') && (&*route, &*status) != READINESS;
            let schema = &answer["content"]["application/problem+json"]["schema"];
            let expected = is_problem.then_some("#/components/schemas/Problem");
            assert_eq!(schema["$ref"].as_str(), expected, "{route} {status}");
        }
    }

    #[test]
    fn a_code_is_named_under_its_own_status() {
        let document = spelled();
        let mut named = 0;
        for (route, status, answer) in answers(&document) {
            let words = description(answer).split([',', ':', ';', ' ']);
            for word in words.filter(|it| !status.starts_with('2') && it.contains('_')) {
                let known = Code::ALL.iter().map(|code| code.entry());
                let known = known.filter(|it| it.code == word && it.status.as_str() == status);
                assert_eq!(known.count(), 1, "{route} {status}: `{word}`");
                named += 1;
            }
        }
        assert!(named > 150, "only {named} codes are named");
    }
}
