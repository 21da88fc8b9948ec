//! `/docs`: the API for people to read, made of the OpenAPI document and of the table of problems in `docs/api.md`. The `type`
//! of a problem leads here.

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web;
use askama::Template;
use serde_json::Value;

use super::openapi;
use super::problem::Problem as Refusal;

const NOTES: &str = include_str!("../../docs/api.md");
const STYLE: &str = include_str!("../../templates/docs.css");
/// The page needs its style, and nothing else from anywhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; frame-ancestors 'none'";
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

#[derive(Template)]
#[template(path = "docs.html")]
struct Page {
    routes: Vec<Route>,
    problems: Vec<Problem>,
}

struct Route {
    method: String,
    path: String,
    summary: String,
    who: &'static str,
    statuses: String,
}

struct Problem {
    status: String,
    codes: Vec<String>,
    when: String,
}

pub(crate) fn configure(config: &mut web::ServiceConfig) {
    for path in ["/docs", "/docs/problems"] {
        config.service(
            web::resource(path)
                .route(super::get_or_head().to(docs))
                .default_service(super::method_not_allowed("GET, HEAD")),
        );
    }
    config.service(
        web::resource("/docs/style.css")
            .route(super::get_or_head().to(style))
            .default_service(super::method_not_allowed("GET, HEAD")),
    );
}

/// This API as a page.
#[utoipa::path(
    get, path = "/docs", tag = "operations",
    responses((status = 200, content_type = "text/html", body = String))
)]
pub(crate) async fn docs() -> Result<HttpResponse, Refusal> {
    let document =
        serde_json::to_value(openapi::document()).map_err(|error| Refusal::unavailable(&error))?;
    let page = Page {
        routes: routes(&document),
        problems: problems(NOTES),
    };
    let html = page
        .render()
        .map_err(|error| Refusal::unavailable(&error))?;
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .body(html))
}

async fn style() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/css; charset=utf-8")
        .body(STYLE)
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

/// The rows of the table under the heading `Problems`: status, codes, when, facts.
fn problems(notes: &str) -> Vec<Problem> {
    let rows = notes.lines().skip_while(|line| *line != "## Problems");
    rows.filter_map(problem).collect()
}

fn problem(row: &str) -> Option<Problem> {
    let cells: Vec<&str> = row.split('|').map(str::trim).collect();
    let [_, status, codes, when, ..] = cells.as_slice() else {
        return None;
    };
    status.parse::<u16>().ok()?;
    let codes = codes.split(',').map(|code| code.trim().trim_matches('`'));
    Some(Problem {
        status: (*status).to_owned(),
        codes: codes.map(str::to_owned).collect(),
        when: when.replace('`', ""),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_of_the_notes_has_a_place_on_the_page() {
        let problems = problems(NOTES);
        let codes: Vec<&String> = problems.iter().flat_map(|it| &it.codes).collect();
        for code in ["sold_out", "limit_reached", "payments_unavailable"] {
            assert!(codes.contains(&&code.to_owned()), "{code} of {codes:?}");
        }
        assert!(
            codes
                .iter()
                .all(|code| code.chars().all(|it| it.is_ascii_lowercase() || it == '_')),
            "{codes:?}"
        );
    }
}
