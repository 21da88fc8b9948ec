//! The paths of the contract, and the ways in which an answer can be lost.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Json, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Shared;
use super::shop::Answer;

pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .route("/v1/admin/products", web::post().to(create))
        .route("/v1/admin/products/{id}/window", web::put().to(set_window))
        .route("/v1/admin/products/{id}/window/open", web::post().to(open))
        .route("/v1/admin/products/{id}/sale", web::get().to(sale))
        .route("/v1/admin/orders", web::get().to(list))
        .route("/v1/products/{id}", web::get().to(product))
        .route("/v1/orders", web::post().to(place))
        .route("/v1/orders/{id}", web::get().to(order))
        .route("/v1/orders/{id}/payments", web::post().to(pay))
        .route("/v1/orders/{id}/cancel", web::post().to(cancel));
}

async fn create(shop: Shared, body: Json<Value>) -> HttpResponse {
    let stock = body["stock"].as_u64().expect("stock");
    answer(lock(&shop).create(stock))
}

async fn set_window(shop: Shared, id: Path<Uuid>, body: Json<Value>) -> HttpResponse {
    answer(lock(&shop).set_window(*id, &body))
}

async fn open(shop: Shared, id: Path<Uuid>) -> HttpResponse {
    answer(lock(&shop).open(*id))
}

async fn sale(shop: Shared, id: Path<Uuid>) -> HttpResponse {
    answer(lock(&shop).sale(*id))
}

async fn list(shop: Shared, query: Query<HashMap<String, String>>) -> HttpResponse {
    let id = |name: &str| query.get(name).and_then(|id| id.parse().ok());
    answer(lock(&shop).list(id("product_id").expect("product_id"), id("after")))
}

async fn product() -> HttpResponse {
    answer((
        200,
        json!({"server_time": jiff::Timestamp::now().to_string()}),
    ))
}

async fn place(shop: Shared, request: HttpRequest, body: Json<Value>) -> HttpResponse {
    let product = body["lines"][0]["product_id"]
        .as_str()
        .and_then(|id| id.parse().ok())
        .expect("product_id");
    buyer_answer(&shop, &request, |shop, token, key| {
        shop.place(token, key, product)
    })
}

async fn pay(
    shop: Shared,
    request: HttpRequest,
    id: Path<Uuid>,
    body: Json<Value>,
) -> HttpResponse {
    let method = body["method"].as_str().expect("method");
    buyer_answer(&shop, &request, |shop, token, key| {
        shop.pay(token, key, *id, method)
    })
}

async fn cancel(shop: Shared, request: HttpRequest, id: Path<Uuid>) -> HttpResponse {
    buyer_answer(&shop, &request, |shop, token, key| {
        shop.cancel(token, key, *id)
    })
}

async fn order(shop: Shared, request: HttpRequest, id: Path<Uuid>) -> HttpResponse {
    buyer_answer(&shop, &request, |shop, token, _| shop.order(token, *id))
}

fn buyer_answer(
    shop: &Shared,
    request: &HttpRequest,
    act: impl FnOnce(&mut super::Shop, &str, &str) -> Answer,
) -> HttpResponse {
    let header = |name| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let token = header("authorization").trim_start_matches("Bearer ");
    let key = header("idempotency-key");
    let mut shop = lock(shop);
    let is_lost = shop.count_request().is_multiple_of(10) && shop.manners.drops_answers;
    let answered = act(&mut shop, token, key);
    if is_lost {
        return HttpResponse::with_body(StatusCode::CREATED, Lost).map_into_boxed_body();
    }
    answer(answered)
}

fn lock(shop: &Shared) -> std::sync::MutexGuard<'_, super::Shop> {
    shop.lock().expect("not poisoned")
}

fn answer((status, body): Answer) -> HttpResponse {
    let status = StatusCode::from_u16(status).expect("a status");
    HttpResponse::build(status).json(body)
}

/// A body that ends before it is complete; the server then closes the connection.
struct Lost;

impl MessageBody for Lost {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(100)
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Poll::Ready(None)
    }
}
