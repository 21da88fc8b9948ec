//! Every route of the OpenAPI document, asked by everybody: who is let in, who is not, and that nobody sees what is
//! another's.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use ureq::http::Method;
use uuid::Uuid;

use crate::support::{
    Answer, Caller, Canaries, Key, Member, Sale, Shop, Store, line, on_each_database, text,
};

on_each_database! {
    every_route_lets_in_whom_it_should,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Everybody,
    /// Anybody with a good token.
    People,
    Staff,
    Admins,
}

struct Route {
    method: Method,
    path: String,
    door: Door,
    body: Option<Value>,
    /// What the document says that it answers.
    statuses: Vec<String>,
}

/// Things of Alice that routes are about.
struct Things {
    order: String,
    address: String,
    product: String,
    /// Whose role is changed.
    user: Uuid,
}

fn door(path: &str) -> Door {
    let starts = |prefixes: &[&str]| prefixes.iter().any(|it| path.starts_with(it));
    if starts(&["/v1/admin/users/", "/v1/admin/audit"]) {
        Door::Admins
    } else if starts(&["/v1/admin/products", "/v1/admin/orders"]) {
        Door::Staff
    } else if path.ends_with("/waitlist") || path == "/v1/me" || starts(&["/v1/me/", "/v1/orders"])
    {
        Door::People
    } else if starts(&[
        "/v1/auth/",
        "/v1/products",
        // A signature decides there, not a token.
        "/v1/webhooks/",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/docs",
    ]) {
        Door::Everybody
    } else {
        panic!("who may ask {path}? tell the matrix");
    }
}

/// A body that the route takes. A route that takes one and is not here fails the test.
fn body(method: &Method, path: &str, things: &Things) -> Option<Value> {
    let nobody = "nobody@example.test";
    Some(match (method.as_str(), path) {
        ("POST", "/v1/auth/sign-up") => crate::support::Person::new("matrix").form(),
        ("POST", "/v1/auth/verify-email") => json!({"email": nobody, "code": "000000"}),
        ("POST", "/v1/auth/resend-code" | "/v1/auth/forgot-password") => json!({"email": nobody}),
        ("POST", "/v1/auth/sign-in") => {
            json!({"username": "nobody.at.all", "password": "not my password"})
        }
        ("POST", "/v1/auth/refresh" | "/v1/auth/sign-out") => json!({"refresh_token": "nothing"}),
        ("POST", "/v1/auth/reset-password") => {
            json!({"email": nobody, "code": "000000", "new_password": "violet thunder 51"})
        }
        ("PATCH", "/v1/me") => json!({"language": "ko"}),
        ("POST", "/v1/me/password") => {
            json!({"current_password": "not my password", "new_password": "violet thunder 51"})
        }
        ("POST", "/v1/me/addresses") => super::addresses::form("Somebody"),
        ("PATCH", "/v1/me/addresses/{id}") => json!({"line1": "Elsewhere", "default": true}),
        ("PUT", "/v1/me/wishlist/{product_id}") => json!({"quantity": 1}),
        ("POST", "/v1/me/wishlist/checkout") => json!({"address_id": things.address}),
        ("POST", "/v1/orders") => {
            json!({"lines": [line(&things.product, 1)], "address_id": things.address})
        }
        ("POST", "/v1/products/{id}/waitlist") => json!({"quantity": 1}),
        ("POST", "/v1/orders/{id}/payments") => json!({"method": "card_ok"}),
        ("POST", "/v1/webhooks/payments/{provider}") => json!({"type": "captured"}),
        ("POST", "/v1/orders/{id}/return") => json!({"reason": "too bright"}),
        ("POST", "/v1/admin/products") => {
            json!({"name": "Chair", "description": "", "price": {"amount": 1, "currency": "KRW"}, "stock": 3})
        }
        ("PATCH", "/v1/admin/products/{id}") => json!({"description": "Lights a desk."}),
        ("PUT", "/v1/admin/products/{id}/stock") => json!({"total": 100}),
        ("PUT", "/v1/admin/products/{id}/window") => Sale::of(1).window(),
        ("POST", "/v1/admin/orders/{id}/shipment") => {
            json!({"carrier": "Korea Post", "tracking_number": "RR1"})
        }
        ("POST", "/v1/admin/users/{id}/role") => json!({"role": "buyer"}),
        _ => return None,
    })
}

fn routes(shop: &Shop, things: &Things) -> Vec<Route> {
    let document = shop.visitor().get("/openapi.json").is(200);
    let mut routes = Vec::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let Ok(method) = method.to_uppercase().parse::<Method>() else {
                continue;
            };
            let body = body(&method, path, things);
            let takes_one = !operation["requestBody"].is_null();
            assert_eq!(
                body.is_some(),
                takes_one,
                "what does {method} {path} take? tell the matrix"
            );
            let door = door(path);
            // The document says the same.
            let is_guarded = operation["security"]
                .as_array()
                .is_some_and(|it| !it.is_empty());
            assert_eq!(is_guarded, door != Door::Everybody, "{method} {path}");
            let responses = operation["responses"].as_object().expect("responses");
            routes.push(Route {
                method,
                path: path.clone(),
                door,
                body,
                statuses: responses.keys().cloned().collect(),
            });
        }
    }
    assert!(routes.len() >= 35, "only {} routes", routes.len());
    // What ends somebody comes last.
    routes.sort_by_key(|it| {
        (
            it.method == Method::DELETE && it.path == "/v1/me",
            it.method != Method::GET,
        )
    });
    routes
}

fn path_to(route: &Route, things: &Things, missing: bool) -> String {
    let id = if missing {
        Uuid::now_v7().to_string()
    } else if route.path.contains("/orders/{id}") {
        things.order.clone()
    } else if route.path.contains("/addresses/{id}") {
        things.address.clone()
    } else if route.path.contains("/users/{id}") {
        things.user.to_string()
    } else {
        things.product.clone()
    };
    let query = if route.path.ends_with("/username-available") {
        "?username=somebody"
    } else {
        ""
    };
    let path = route.path.replace("{id}", &id).replace("{act}", "open");
    let path = path.replace("{product_id}", &things.product);
    path.replace("{provider}", "sandbox") + query
}

/// Whatever is answered is in the document.
fn ask(caller: &Caller, route: &Route, path: &str) -> Answer {
    // Those who are let in would be told more and more.
    let is_stream = path.ends_with("/live") || path.ends_with("/events");
    let answer = if route.method == Method::GET && is_stream {
        caller.hear_out(path)
    } else {
        let key = Key::fresh();
        caller.send(&route.method, path, Some(&key), route.body.as_ref())
    };
    let status = answer.status.to_string();
    assert!(
        route.statuses.contains(&status),
        "{answer} is not in the document: {:?}",
        route.statuses
    );
    answer
}

/// The same but for ids.
fn said(answer: &Answer, path: &str) -> String {
    let mut body = answer.json();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("request_id");
    }
    let id = path
        .split('/')
        .find(|it| Uuid::parse_str(it).is_ok())
        .unwrap_or("no id");
    format!("{} {body}", answer.status).replace(id, "{id}")
}

fn expired(shop: &Shop, member: &Member) -> Caller {
    let now = jiff::Timestamp::now().as_second();
    let (kid, key) = super::tokens::signing_key(shop);
    let claims = json!({
        "sub": member.id(), "role": "admin", "iat": now - 910, "exp": now - 10, "sid": Uuid::nil(), "ver": 0,
        "iss": "layby", "aud": "layby", "use": "access",
    });
    let header = Header {
        kid: Some(kid),
        ..Header::new(Algorithm::HS256)
    };
    let token = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(&key));
    member.caller.with_token(token.expect("a token"))
}

#[track_caller]
fn is_let_in(answer: &Answer, who: &str) {
    let code = answer.code();
    assert!(
        code != "unauthorized" && code != "forbidden",
        "{who}: {answer}"
    );
    assert!(answer.status < 500, "{who}: {answer}");
}

fn every_route_lets_in_whom_it_should(store: Store) {
    let shop = Shop::open_with(store, &["--trusted-proxies", "127.0.0.1"]);
    let product = shop.product(Sale::of(100));
    let [alice, bob, suspended, vera] =
        ["alice", "bob", "suspended", "vera"].map(|it| shop.member(it));
    let seller = shop.promote(&shop.member("sally"), "seller");
    let admin = shop.promote(&shop.member("ada"), "admin");
    // There is always another one.
    shop.promote(&shop.member("spare"), "admin");
    let expired = expired(&shop, &alice);
    shop.user_act(&suspended, "suspend");

    let recipient = format!("Recipient {}", alice.person.username);
    let address = text(
        &alice.adds_address(&super::addresses::form(&recipient)),
        "id",
    );
    let place = json!({"lines": [line(&product, 1)], "address_id": address});
    let order = text(
        &alice
            .caller
            .post_under(&Key::fresh(), "/v1/orders", &place)
            .is(201),
        "id",
    );
    let things = Things {
        order,
        address,
        product,
        user: vera.id(),
    };
    let person = &alice.person;
    let canaries = Canaries::new(&[&person.username, &person.email, &person.name, &recipient]);
    let routes = routes(&shop, &things);

    let strangers = [
        ("nobody", shop.visitor()),
        ("garbage", shop.visitor().with_token("garbage")),
        ("expired", expired),
        ("suspended", suspended.caller.clone()),
    ];
    let people = [
        ("another buyer", &bob.caller, Door::People),
        ("a seller", &seller.caller, Door::Staff),
        ("an admin", &admin.caller, Door::Admins),
    ];
    let erase = |route: &Route| route.method == Method::DELETE && route.path == "/v1/me";
    for (number, route) in routes.iter().enumerate() {
        let hop = format!("198.51.100.{number}");
        let path = path_to(route, &things, false);
        for (who, caller) in &strangers {
            let caller = caller.calling_from(&hop);
            let answer = ask(&caller, route, &path);
            if route.door == Door::Everybody {
                is_let_in(&answer, who);
                continue;
            }
            answer.is_refused(401, "unauthorized");
            // Before anybody looks at what was sent.
            let nonsense = Some(json!({"nonsense": 1}));
            let answer = caller.send(&route.method, &path, None, nonsense.as_ref());
            answer.is_refused(401, "unauthorized");
            assert_eq!(
                canaries.found_in(&answer.body),
                Vec::<String>::new(),
                "{who}: {answer}"
            );
        }
        for (who, caller, rank) in &people {
            let caller = caller.calling_from(&hop);
            let is_allowed = match route.door {
                Door::Everybody | Door::People => true,
                Door::Staff => *rank != Door::People,
                Door::Admins => *rank == Door::Admins,
            };
            if erase(route) {
                continue;
            }
            let answer = ask(&caller, route, &path);
            if is_allowed {
                is_let_in(&answer, who);
            } else {
                answer.is_refused(403, "forbidden");
                let answer = caller.send(&route.method, &path, None, Some(&json!([])));
                answer.is_refused(403, "forbidden");
            }
            if route.door != Door::Staff && route.door != Door::Admins {
                let hits = canaries.found_in(&answer.body);
                assert_eq!(hits, Vec::<String>::new(), "{who}: {answer}");
            }
            let is_everybodys = route.path.starts_with("/v1/products/");
            let is_owned =
                route.door == Door::People && route.path.contains("{id}") && !is_everybodys;
            if is_owned {
                let missing = path_to(route, &things, true);
                let none = ask(&caller, route, &missing);
                assert_eq!(said(&answer, &path), said(&none, &missing), "{who}");
                answer.is_refused(404, "not_found");
            }
        }
    }
    // Nothing of it has touched what is Alice's.
    let order = json!({"id": things.order});
    assert_eq!(alice.caller.state(&order), "held");
    assert_eq!(
        alice.caller.order(&order)["address"]["recipient"],
        json!(recipient)
    );
    assert_eq!(alice.me()["name"], json!(person.name));
    for (number, route) in routes.iter().enumerate() {
        let caller = alice.caller.calling_from(&format!("203.0.113.{number}"));
        if !matches!(route.door, Door::Staff | Door::Admins) {
            is_let_in(
                &ask(&caller, route, &path_to(route, &things, false)),
                "the owner",
            );
        }
    }
    // The last of them was this.
    alice.is_turned_away();
    bob.is_let_in();
}
