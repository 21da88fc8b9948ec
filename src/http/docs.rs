//! `/docs`: the API for people to read, made of the OpenAPI document and of the table of problems. The `type` of a problem
//! leads here.

use actix_web::HttpResponse;
use actix_web::http::header;
use askama::Template;
use serde_json::Value;

use super::openapi;
use super::problem::{Code, Entry, Problem};
use super::routes::{Declaration, routes};

const STYLE: &str = include_str!("../../templates/docs.css");
/// The page needs its style, and nothing else from anywhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; frame-ancestors 'none'";
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

#[derive(Template)]
#[template(path = "docs.html")]
struct Page {
    routes: Vec<Route>,
    problems: Vec<&'static Entry>,
}

struct Route {
    method: String,
    path: String,
    summary: String,
    who: &'static str,
    statuses: String,
}

pub(crate) const ROUTES: &[Declaration] = routes![docs, problems, style];

/// This API as a page.
#[utoipa::path(
    get, path = "/docs", tag = "operations",
    responses((status = 200, content_type = "text/html", body = String))
)]
async fn docs() -> Result<HttpResponse, Problem> {
    page()
}

/// Every error code on a page: where the `type` of a problem leads.
#[utoipa::path(
    get, path = "/docs/problems", tag = "operations",
    responses((status = 200, content_type = "text/html", body = String))
)]
async fn problems() -> Result<HttpResponse, Problem> {
    page()
}

/// How the page looks.
#[utoipa::path(
    get, path = "/docs/style.css", tag = "operations",
    responses((status = 200, content_type = "text/css", body = String))
)]
async fn style() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/css; charset=utf-8")
        .body(STYLE)
}

fn page() -> Result<HttpResponse, Problem> {
    let document =
        serde_json::to_value(openapi::document()).map_err(|error| Problem::internal(&error))?;
    let page = Page {
        routes: routes(&document),
        problems: Code::ALL.iter().map(|code| code.entry()).collect(),
    };
    let html = page.render().map_err(|error| Problem::internal(&error))?;
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .body(html))
}

fn routes(document: &Value) -> Vec<Route> {
    let mut routes = Vec::new();
    for (path, operations) in document["paths"].as_object().into_iter().flatten() {
        for method in METHODS {
            let operation = &operations[method];
            if operation.is_object() {
                routes.push(route(path, method, operation));
            }
        }
    }
    routes
}

fn route(path: &str, method: &str, operation: &Value) -> Route {
    let statuses = operation["responses"].as_object().into_iter().flatten();
    let statuses: Vec<&str> = statuses.map(|(status, _)| status.as_str()).collect();
    Route {
        method: method.to_uppercase(),
        path: path.to_owned(),
        summary: operation["summary"].as_str().unwrap_or_default().to_owned(),
        who: match (operation["security"].is_array(), path.contains("/admin/")) {
            (true, true) => "the shop",
            (true, false) => "with a token",
            (false, _) => "all",
        },
        statuses: statuses.join(", "),
    }
}
