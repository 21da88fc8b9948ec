//! A route is declared once: by the attribute of its handler, which is named in the list of its file.
//!
//! Routing, HEAD for every GET, the `Allow` of a 405 and the OpenAPI document are made of that. A handler that stands in no
//! list is dead code, which the compiler tells.

use std::sync::LazyLock;

use actix_web::guard;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, Resource, ResponseError, Route, web};
use utoipa::openapi::path::Operation;
use utoipa::openapi::{OpenApi, PathItem};

use super::problem::{Code, Problem};

/// A handler, with what its attribute says about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Declaration {
    /// Where the handler stands, as `layby::http::orders`.
    pub(crate) module: &'static str,
    /// A document with this route alone.
    pub(crate) document: fn() -> OpenApi,
    pub(crate) handler: fn() -> Route,
}

/// Declares handlers that have the attribute `#[utoipa::path(..)]`.
macro_rules! routes {
    ($($handler:ident),+ $(,)?) => {
        &[$({
            #[derive(utoipa::OpenApi)]
            #[openapi(paths($handler))]
            struct Document;
            $crate::http::routes::Declaration {
                module: module_path!(),
                document: <Document as utoipa::OpenApi>::openapi,
                handler: || actix_web::web::route().to($handler),
            }
        }),+]
    };
}
pub(crate) use routes;

/// What all files declare. Paths are tried in this order: those of a sale come first.
const DECLARED: &[&[Declaration]] = &[
    super::orders::ROUTES,
    super::payments::ROUTES,
    super::returns::ROUTES,
    super::products::ROUTES,
    super::waitlist::ROUTES,
    super::live::ROUTES,
    super::auth::ROUTES,
    super::me::ROUTES,
    super::addresses::ROUTES,
    super::wishlist::ROUTES,
    super::admin::products::ROUTES,
    super::admin::orders::ROUTES,
    super::admin::export::ROUTES,
    super::admin::journeys::ROUTES,
    super::admin::users::ROUTES,
    super::admin::audit::ROUTES,
    super::webhooks::ROUTES,
    super::health::ROUTES,
    super::metrics::ROUTES,
    super::docs::ROUTES,
    super::openapi::ROUTES,
];

/// A path with its handlers, by method.
struct Served {
    path: String,
    handlers: Vec<(Method, fn() -> Route)>,
    /// The methods, as a 405 tells them.
    allow: String,
}

static SERVED: LazyLock<Vec<Served>> = LazyLock::new(serve_declared);

/// Every route, for the application of one worker.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    for served in SERVED.iter() {
        config.service(served.resource());
    }
}

/// A document for each route. Ids of operations are unique: programs name their functions after them.
pub(crate) fn documents() -> impl Iterator<Item = OpenApi> {
    declared().map(|declaration| {
        let mut document = (declaration.document)();
        for (_, operation) in document.paths.paths.values_mut().flat_map(operations_mut) {
            let handler = operation.operation_id.take().unwrap_or_default();
            operation.operation_id = Some(format!("{}_{handler}", declaration.group()));
        }
        document
    })
}

/// The operations at a path, with their methods.
pub(crate) fn operations_mut(
    item: &mut PathItem,
) -> impl Iterator<Item = (Method, &mut Operation)> {
    let operations = [
        (Method::GET, &mut item.get),
        (Method::POST, &mut item.post),
        (Method::PUT, &mut item.put),
        (Method::PATCH, &mut item.patch),
        (Method::DELETE, &mut item.delete),
    ];
    let there = operations.into_iter();
    there.filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

fn declared() -> impl Iterator<Item = &'static Declaration> {
    DECLARED.iter().copied().flatten()
}

fn serve_declared() -> Vec<Served> {
    let mut all: Vec<Served> = Vec::new();
    for declaration in declared() {
        for (path, mut item) in (declaration.document)().paths.paths {
            let known = all.iter().position(|it| it.path == path);
            let at = known.unwrap_or(all.len());
            if known.is_none() {
                all.push(Served::nothing_at(path));
            }
            for (method, _) in operations_mut(&mut item) {
                all[at].serve(method, declaration.handler);
            }
        }
    }
    all
}

impl Declaration {
    /// `orders`, `admin_products`: the file in which the handler stands.
    fn group(&self) -> String {
        let module = self.module.trim_start_matches("layby::http::");
        module.trim_end_matches("::routes").replace("::", "_")
    }
}

impl Served {
    const fn nothing_at(path: String) -> Self {
        Self {
            path,
            handlers: Vec::new(),
            allow: String::new(),
        }
    }

    fn serve(&mut self, method: Method, handler: fn() -> Route) {
        let separator = if self.allow.is_empty() { "" } else { ", " };
        let head = if method == Method::GET { ", HEAD" } else { "" };
        self.allow += &format!("{separator}{method}{head}");
        self.handlers.push((method, handler));
    }

    fn resource(&'static self) -> Resource {
        let mut resource = web::resource(self.path.as_str());
        for (method, handler) in &self.handlers {
            resource = resource.route(only_for(method, handler()));
        }
        let refuse = move |request: HttpRequest| async move { self.not_allowed(&request) };
        resource.default_service(web::route().to(refuse))
    }

    fn not_allowed(&'static self, request: &HttpRequest) -> HttpResponse {
        let allow = self.allow.as_str();
        let detail = format!(
            "{} is not for this path; it takes {allow}",
            request.method()
        );
        let mut response = Problem::of(Code::MethodNotAllowed, detail).error_response();
        let allow = HeaderValue::from_static(allow);
        response.headers_mut().insert(header::ALLOW, allow);
        response
    }
}

/// HEAD is answered by the handler of GET; the server leaves the body out.
fn only_for(method: &Method, route: Route) -> Route {
    match *method {
        Method::GET => route.guard(guard::Any(guard::Get()).or(guard::Head())),
        _ => route.method(method.clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use actix_web::dev::ResourceDef;

    use super::*;

    #[test]
    fn a_declaration_is_one_route_and_no_route_is_declared_twice() {
        let mut routes = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for mut document in documents() {
            let paths = &mut document.paths.paths;
            let (path, item) = paths.iter_mut().next().expect("a path");
            let operations: Vec<_> = operations_mut(item).collect();
            let [(method, operation)] = &operations[..] else {
                panic!("{path} has {} operations", operations.len());
            };
            let id = operation.operation_id.clone().expect("an id");
            assert!(
                routes.insert(format!("{method} {path}")),
                "{method} {path} again"
            );
            assert!(ids.insert(id.clone()), "{id} again");
            assert_eq!(paths.len(), 1);
        }
        assert!(routes.len() > 60, "{routes:?}");
    }

    #[test]
    fn no_path_hides_another() {
        let paths: Vec<ResourceDef> = SERVED
            .iter()
            .map(|it| ResourceDef::new(it.path.as_str()))
            .collect();
        for (index, path) in paths.iter().enumerate() {
            let asked = path.pattern().expect("one pattern").replace(['{', '}'], "");
            let answers = paths.iter().position(|it| it.is_match(&asked));
            assert_eq!(answers, Some(index), "{asked}");
        }
    }

    #[test]
    fn the_path_of_a_sale_is_tried_first() {
        assert_eq!(SERVED[0].path, "/v1/orders");
        assert_eq!(SERVED[0].handlers[0].0, Method::POST);
    }

    #[test]
    fn whatever_can_be_read_can_be_asked_about() {
        for served in SERVED.iter() {
            let methods: Vec<&str> = served.allow.split(", ").collect();
            assert_eq!(
                methods.contains(&"GET"),
                methods.contains(&"HEAD"),
                "{}",
                served.path
            );
        }
    }
}
