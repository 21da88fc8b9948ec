//! Malformed and hostile input: the documented 4xx, never a 5xx, and nothing changes in the books.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use layby::accounts::token::{Role, TokenIssuer};
use layby::secrets::{self, KeyRing, LiveKeys};
use serde_json::{Value, json};
use ureq::http::Method;

use crate::support::{
    Answer, Caller, Exchange, Key, Sale, Shop, Store, connect, exchange, line, pause, read_answer,
};

#[test]
fn bodies_that_make_no_sense_are_refused() {
    let shop = Shop::open(Store::Sqlite);
    let lamp = shop.product(Sale::of(10));
    let alice = shop.buyer();
    let one = |quantity: &str| {
        format!(r#"{{"lines":[{{"product_id":"{lamp}","quantity":{quantity}}}]}}"#)
    };
    let lines = |count: usize| {
        let line = || {
            format!(
                r#"{{"product_id":"{}","quantity":1}}"#,
                uuid::Uuid::now_v7()
            )
        };
        let lines: Vec<String> = (0..count).map(|_| line()).collect();
        format!(r#"{{"lines":[{}]}}"#, lines.join(","))
    };
    let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    let cannot_be_read: Vec<Vec<u8>> = [
        String::new(),
        "{".into(),
        "nonsense".into(),
        "\0\0\0\0".into(),
        "\u{feff}{\"lines\":[]}".into(),
        one("NaN"),
        one("Infinity"),
        one("0x10"),
        one("01"),
        one("1")[..30].into(),
        one("1").repeat(2),
        "[".repeat(10_000),
        format!(r#"{{"lines":{}"#, deep(5_000)),
    ]
    .map(String::into_bytes)
    .into_iter()
    .chain([
        b"\xff\xfe{\0}\0".to_vec(),
        b"{\"lines\":[\"\xc3\x28\"]}".to_vec(),
    ])
    .collect();
    let has_bad_values = [
        "null".into(),
        "7".into(),
        "[]".into(),
        "\"lines\"".into(),
        "{}".into(),
        deep(10_000),
        format!(r#"{{"lines":{}}}"#, deep(5_000)),
        // The fields by their places instead of their names.
        format!(r#"[[["{lamp}",1]],null]"#),
        format!(r#"{{"lines":[["{lamp}",1]]}}"#),
        lines(0),
        lines(51),
        one("0"),
        one("-1"),
        one("10001"),
        one("2147483648"),
        one("4294967295"),
        one("4294967296"),
        one("9223372036854775808"),
        one("18446744073709551617"),
        one("1e400"),
        one("1.0"),
        one("\"1\""),
        one("[1]"),
        one("null"),
        one("1,\"quantity\":2"),
        one("1,\"unit_price\":0"),
        one("1").replace("lines", "Lines"),
        one("1").replace("]}", "],\"buyer_id\":1}"),
        one("1").replace("]}", "],\"lines\":[]}"),
        one("1").replace("]}", "],\"address_id\":\"home\"}"),
        one("1").replace(&lamp, "lamp"),
        one("1").replace(&lamp, "lamp\\u0000"),
        one("1").replace("}]", &format!("}},{}]", line(&lamp, 1))),
    ];
    let cases = cannot_be_read
        .into_iter()
        .map(|body| (400, "malformed_request", body));
    let cases = cases.chain(
        has_bad_values
            .into_iter()
            .map(|body: String| (422, "invalid_values", body.into_bytes())),
    );
    for (status, code, body) in cases {
        let said = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
        let answer = post_raw(&alice, &shop, "application/json", &body);
        let told = (answer.status, answer.code());
        assert_eq!(
            (told.0, told.1.as_str()),
            (status, code),
            "{said}: {answer}"
        );
        if status == 422 {
            let errors = answer.json()["errors"].clone();
            assert!(
                errors[0]["field"].is_string(),
                "no field is named for {said}: {errors}"
            );
        }
    }
    nothing_happened(&shop, &alice, &lamp);
}

#[test]
fn a_body_must_say_that_it_is_json() {
    let shop = Shop::open(Store::Sqlite);
    let lamp = shop.product(Sale::of(10));
    let alice = shop.buyer();
    let body = json!({"lines": [line(&lamp, 1)]}).to_string();
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "json",
        "\"",
        "multipart/form-data; boundary=x",
    ] {
        let answer = post_raw(&alice, &shop, kind, body.as_bytes());
        answer.is_refused(415, "unsupported_media_type");
    }
    let head = head_of(
        &alice,
        "POST /v1/orders",
        &[("Idempotency-Key", "k")],
        body.len(),
    );
    exchange(shop.url(), format!("{head}\r\n{body}").as_bytes())
        .answer()
        .is_refused(415, "unsupported_media_type");
    nothing_happened(&shop, &alice, &lamp);
    for kind in ["application/json", "Application/JSON; charset=utf-8"] {
        post_raw(&alice, &shop, kind, body.as_bytes()).is(201);
        pause(Duration::from_millis(1));
    }
}

#[test]
fn a_body_has_at_most_64_kib() {
    let shop = Shop::open(Store::Sqlite);
    let lamp = shop.product(Sale::of(10));
    let alice = shop.buyer();
    let body = json!({"lines": [line(&lamp, 1)]}).to_string();
    let padded = |bytes: usize| body.clone() + &" ".repeat(bytes - body.len());
    post_raw(
        &alice,
        &shop,
        "application/json",
        padded(70 << 10).as_bytes(),
    )
    .is_refused(413, "body_too_large");
    post_raw(
        &alice,
        &shop,
        "application/json",
        padded((64 << 10) + 1).as_bytes(),
    )
    .is_refused(413, "body_too_large");

    // A gigabyte that is announced is refused before it is sent.
    let headers = [
        ("Idempotency-Key", "k"),
        ("Content-Type", "application/json"),
    ];
    let head = head_of(&alice, "POST /v1/orders", &headers, 1 << 30);
    let began = Instant::now();
    exchange(shop.url(), format!("{head}\r\n").as_bytes())
        .answer()
        .is_refused(413, "body_too_large");
    assert!(began.elapsed() < Duration::from_secs(2));

    // Without an announcement it is counted.
    let head = head_of(&alice, "POST /v1/orders", &headers, 0)
        .replace("Content-Length: 0", "Transfer-Encoding: chunked");
    let chunk = format!("{:x}\r\n{}\r\n0\r\n\r\n", 70 << 10, padded(70 << 10));
    exchange(shop.url(), format!("{head}\r\n{chunk}").as_bytes())
        .answer()
        .is_refused(413, "body_too_large");
    nothing_happened(&shop, &alice, &lamp);
    post_raw(
        &alice,
        &shop,
        "application/json",
        padded(64 << 10).as_bytes(),
    )
    .is(201);
}

#[test]
fn tokens_that_are_not_good_are_refused_on_every_route() {
    let shop = Shop::open(Store::Sqlite);
    let lamp = shop.product(Sale::of(10));
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 1);
    let keys = LiveKeys::open(&secrets::token_keys_path(&shop.data_dir())).expect("the keys");
    let key = keys.primary();
    let secret = key.bytes();
    let now = jiff::Timestamp::now().as_second();
    let signed = |algorithm, secret: &[u8], edit: &dyn Fn(&mut Value)| {
        let mut claims = json!({
            "sub": alice.id, "role": "admin", "iat": now, "exp": now + 600,
            "iss": "layby", "aud": "layby", "use": "access", "sid": uuid::Uuid::nil(), "ver": 0,
        });
        edit(&mut claims);
        let header = Header {
            kid: Some(key.id().to_string()),
            ..Header::new(algorithm)
        };
        let signing = EncodingKey::from_secret(secret);
        jsonwebtoken::encode(&header, &claims, &signing).expect("a token")
    };
    let good = signed(Algorithm::HS256, secret, &|_| {});
    alice.with_token(&good).get("/v1/orders").is(200);

    let without = |field: &'static str| {
        move |claims: &mut Value| {
            claims.as_object_mut().expect("claims").remove(field);
        }
    };
    let parts: Vec<&str> = good.split('.').collect();
    let stranger = TokenIssuer::new(Arc::new(LiveKeys::fixed(KeyRing::of(
        secrets::Key::random(),
    ))));
    let mut forged = vec![
        signed(Algorithm::HS256, secret, &|claims| {
            claims["exp"] = json!(now - 10)
        }),
        signed(
            Algorithm::HS256,
            b"another secret of thirty-two byte",
            &|_| {},
        ),
        signed(Algorithm::HS512, secret, &|_| {}),
        signed(Algorithm::HS256, secret, &|claims| {
            claims["aud"] = json!("shop")
        }),
        signed(Algorithm::HS256, secret, &|claims| {
            claims["iss"] = json!("shop")
        }),
        signed(Algorithm::HS256, secret, &|claims| {
            claims["use"] = json!("refresh")
        }),
        signed(Algorithm::HS256, secret, &|claims| {
            claims["role"] = json!("root")
        }),
        signed(Algorithm::HS256, secret, &|claims| {
            claims["sub"] = json!("me")
        }),
        signed(Algorithm::HS256, secret, &|claims| {
            claims["exp"] = json!("tomorrow")
        }),
        stranger
            .issue_plain(alice.id, Role::Admin, 600)
            .expect("a token"),
        // alg none, with and without a signature; the signature of another token; cut and prolonged ones.
        format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", parts[1]),
        format!(
            "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.{}",
            parts[1], parts[2]
        ),
        format!("{}.{}.{}", parts[0], parts[1], "A".repeat(parts[2].len())),
        format!("{}.{}", parts[0], parts[1]),
        good[..good.len() - 1].to_owned(),
        format!("{good}.{good}"),
        format!("{good}="),
        "a.b.c".to_owned(),
        "null".to_owned(),
        "A".repeat(6_000),
    ];
    for field in ["exp", "iss", "aud", "sub", "role", "use", "sid", "ver"] {
        forged.push(signed(Algorithm::HS256, secret, &without(field)));
    }
    let path = format!("/v1/orders/{}", order["id"].as_str().expect("an id"));
    for token in forged {
        let mallory = alice.with_token(&token);
        mallory.get(&path).is_refused(401, "unauthorized");
        mallory.get("/v1/orders").is_refused(401, "unauthorized");
        mallory
            .place(&[line(&lamp, 1)])
            .is_refused(401, "unauthorized");
        mallory.pay(&order, "card").is_refused(401, "unauthorized");
        mallory.cancel(&order).is_refused(401, "unauthorized");
        shop_admin(&mallory, &lamp).is_refused(401, "unauthorized");
    }
    let answer_to = |value: &str| {
        let request =
            format!("GET /v1/orders HTTP/1.1\r\nHost: shop\r\nAuthorization: {value}\r\n\r\n");
        exchange(shop.url(), request.as_bytes()).answer()
    };
    for value in [
        "",
        "Bearer",
        "Bearer ",
        "bearer",
        "Basic YTpi",
        "Token x",
        &good,
        &format!("Basic {good}"),
        &format!("Bearer{good}"),
        &format!("Bearer {good} {good}"),
    ] {
        answer_to(value).is_refused(401, "unauthorized");
    }
    // The name of the scheme may be spelt as one likes.
    answer_to(&format!("bearer {good}")).is(200);
    assert_eq!(alice.state(&order), "held");
    assert_eq!(shop.units(&lamp), (9, 1, 0));
}

#[test]
fn a_buyers_token_opens_no_door_to_an_admin() {
    let shop = Shop::open(Store::Sqlite);
    let lamp = shop.product(Sale::of(10));
    shop_admin(&shop.buyer(), &lamp).is_refused(403, "forbidden");
    shop_admin(&shop.visitor(), &lamp).is_refused(401, "unauthorized");
    assert_eq!(shop.units(&lamp), (10, 0, 0));
}

#[test]
fn an_idempotency_key_is_one_header_of_1_to_255_printable_characters() {
    let shop = Shop::open(Store::Sqlite);
    let lamp = shop.product(Sale::of(10));
    let alice = shop.buyer();
    let body = json!({"lines": [line(&lamp, 1)]}).to_string();
    let post = |keys: &[&[u8]], path: &str| {
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n",
            alice.token(),
            body.len()
        )
        .into_bytes();
        for key in keys {
            request.extend_from_slice(b"Idempotency-Key: ");
            request.extend_from_slice(key);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body.as_bytes());
        exchange(shop.url(), &request).answer()
    };
    let long = "k".repeat(256);
    let payments = format!("/v1/orders/{}/payments", uuid::Uuid::now_v7());
    for path in ["/v1/orders", &payments] {
        post(&[], path).is_refused(400, "idempotency_key_required");
        post(&[b"one", b"two"], path).is_refused(400, "idempotency_key_required");
        post(&[b"one", b"one"], path).is_refused(400, "idempotency_key_required");
        for key in [
            b"" as &[u8],
            b" ",
            long.as_bytes(),
            "schlüssel".as_bytes(),
            b"\xff\xfe",
            b"a\tb",
            b"a\x80",
        ] {
            post(&[key], path).is_refused(400, "idempotency_key_invalid");
        }
    }
    nothing_happened(&shop, &alice, &lamp);
    post(&[&long.as_bytes()[..255]], "/v1/orders").is(201);
    post(&[b"!~ \"';--"], "/v1/orders").is(201);
    assert_eq!(shop.units(&lamp), (8, 2, 0));
}

#[test]
fn ids_in_paths_that_name_nothing_are_not_found() {
    let shop = Shop::open(Store::Sqlite);
    let alice = shop.buyer();
    let long = "a".repeat(4_000);
    let ids = [
        "1",
        "-1",
        "0",
        "null",
        "..",
        "%2e%2e%2f",
        "%00",
        "%ff",
        "%F0%9F%AA%94",
        "'",
        "1%27%20OR%20%271%27=%271",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "01a2036d-2301-764f-a9f0-248504e0af4",
        "01a2036d-2301-764f-a9f0-248504e0af4fa",
        &long,
    ];
    for id in ids {
        for (method, path) in [
            (Method::GET, format!("/v1/orders/{id}")),
            (Method::POST, format!("/v1/orders/{id}/cancel")),
            (Method::GET, format!("/v1/products/{id}")),
        ] {
            alice
                .send(&method, &path, None, None)
                .is_refused(404, "not_found");
        }
        let key = Key::fresh();
        let body = json!({"method": "card"});
        alice
            .post_under(&key, &format!("/v1/orders/{id}/payments"), &body)
            .is_refused(404, "not_found");
        let admin = shop.admin();
        admin
            .get(&format!("/v1/admin/products/{id}/sale"))
            .is_refused(404, "not_found");
        admin
            .post(&format!("/v1/admin/products/{id}/window/open"))
            .is_refused(404, "not_found");
    }
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v1/order",
        "/v1/orders/",
        "//v1/orders",
        "/V1/orders",
        "/v1/admin",
        "/.env",
        "/v1/products/../../etc/passwd",
    ] {
        alice.get(path).is_refused(404, "not_found");
    }
}

#[test]
fn queries_that_make_no_sense_are_refused() {
    let shop = Shop::open(Store::Sqlite);
    let (alice, admin) = (shop.buyer(), shop.admin());
    let queries = [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=abc",
        "limit=",
        "limit=1.5",
        "limit=4294967296",
        "limit=1e2",
        "limit=5&limit=6",
        "after=zz",
        "after=",
        "after=1",
        "after=%00",
        "after=%ff",
        "page=2",
        "limit[]=5",
        "unknown",
    ];
    for query in queries {
        alice
            .get(&format!("/v1/orders?{query}"))
            .is_refused(422, "invalid_values");
        alice
            .get(&format!("/v1/products?{query}"))
            .is_refused(422, "invalid_values");
        admin
            .get(&format!("/v1/admin/orders?{query}"))
            .is_refused(422, "invalid_values");
    }
    admin
        .get("/v1/admin/orders?product_id=lamp")
        .is_refused(422, "invalid_values");
    for query in [
        "",
        "limit=1",
        "limit=100",
        "after=01a2036d-2301-764f-a9f0-248504e0af4f",
    ] {
        alice.get(&format!("/v1/orders?{query}")).is(200);
        alice.get(&format!("/v1/products?{query}")).is(200);
        admin.get(&format!("/v1/admin/orders?{query}")).is(200);
    }
}

#[test]
fn a_known_path_refuses_other_methods() {
    let shop = Shop::open(Store::Sqlite);
    let alice = shop.buyer();
    let id = uuid::Uuid::now_v7();
    let cases = [
        ("DELETE", "/v1/orders".to_owned()),
        ("PUT", "/v1/orders".to_owned()),
        ("DELETE", format!("/v1/orders/{id}")),
        ("GET", format!("/v1/orders/{id}/cancel")),
        ("GET", format!("/v1/orders/{id}/payments")),
        ("POST", "/v1/products".to_owned()),
        ("GET", "/v1/admin/products".to_owned()),
        ("TRACE", "/v1/orders".to_owned()),
        ("BREW", "/v1/orders".to_owned()),
        ("POST", "/healthz".to_owned()),
        ("DELETE", "/openapi.json".to_owned()),
    ];
    for (method, path) in cases {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {}\r\nContent-Length: 0\r\n\r\n",
            alice.token()
        );
        exchange(shop.url(), request.as_bytes())
            .answer()
            .is_refused(405, "method_not_allowed");
    }
}

#[test]
fn a_payment_method_is_1_to_64_characters() {
    let shop = Shop::open(Store::Sqlite);
    let lamp = shop.product(Sale::of(10));
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 1);
    let path = format!(
        "/v1/orders/{}/payments",
        order["id"].as_str().expect("an id")
    );
    for body in [
        json!({"method": ""}),
        json!({"method": "a".repeat(65)}),
        json!({"method": "a\nb"}),
        json!({"method": "\u{0}"}),
        json!({"method": 1}),
        json!({"method": null}),
        json!({}),
        json!({"method": "card", "amount": 1}),
        json!([]),
    ] {
        alice
            .post_under(&Key::fresh(), &path, &body)
            .is_refused(422, "invalid_values");
    }
    assert_eq!(alice.order(&order)["payments"], json!([]));
}

#[test]
fn what_is_hardly_http_is_refused_or_hung_up_on() {
    let shop = Shop::open(Store::Sqlite);
    let lamp = shop.product(Sale::of(10));
    let alice = shop.buyer();
    let token = alice.token();
    let body = json!({"lines": [line(&lamp, 1)]}).to_string();
    let order = |headers: &str| {
        format!(
            "POST /v1/orders HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {token}\r\nIdempotency-Key: k\r\n\
             Content-Type: application/json\r\n{headers}\r\n{body}"
        )
    };
    let length = body.len();
    let chunked = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    let requests: Vec<Vec<u8>> = vec![
        b"\r\n\r\n\r\n\r\n".to_vec(),
        b"hello\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"GET /v1/products HTTP/1.1\r\nBad Header: x\r\n\r\n".to_vec(),
        b"GET /v1/products HTTP/1.1\r\nX: \0\r\n\r\n".to_vec(),
        b"GET http://[::1 HTTP/1.1\r\n\r\n".to_vec(),
        format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(200_000)).into_bytes(),
        format!(
            "GET /healthz HTTP/1.1\r\n{}\r\n",
            "X: y\r\n".repeat(100_000)
        )
        .into_bytes(),
        order("Content-Length: -1\r\n").into_bytes(),
        order("Content-Length: 1e3\r\n").into_bytes(),
        order("Content-Length: 18446744073709551616\r\n").into_bytes(),
        order(&format!(
            "Content-Length: {length}\r\nContent-Length: 5\r\n"
        ))
        .into_bytes(),
        order(&format!(
            "Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"
        ))
        .into_bytes(),
        order("Transfer-Encoding: gzip, chunked, identity\r\n").into_bytes(),
        order("Transfer-Encoding: chunked\r\n").into_bytes(),
        order("Transfer-Encoding: chunked\r\n")
            .replace(&body, "zz\r\n\r\n")
            .into_bytes(),
        order("Transfer-Encoding: chunked\r\n")
            .replace(&body, "ffffffffffffffffff\r\n")
            .into_bytes(),
        order("Transfer-Encoding: xchunked\r\n")
            .replace(&body, &chunked)
            .into_bytes(),
        order(&format!(
            "Content-Length: {length}\r\nContent-Encoding: gzip\r\n"
        ))
        .replace(&body, &"\x1f".repeat(length))
        .into_bytes(),
    ];
    for request in requests {
        let said = String::from_utf8_lossy(&request[..request.len().min(400)]).into_owned();
        if let Exchange::Answered(answer) = exchange(shop.url(), &request) {
            assert!((400..500).contains(&answer.status), "{said}: {answer}");
        }
    }
    nothing_happened(&shop, &alice, &lamp);
}

#[test]
fn a_slow_sender_is_cut_off_and_bothers_nobody() {
    let shop = Shop::open(Store::Sqlite);
    let lamp = shop.product(Sale::of(1_000_000));
    let alice = shop.buyer();
    let headers = [
        ("Idempotency-Key", "k"),
        ("Content-Type", "application/json"),
    ];
    let head = head_of(&alice, "POST /v1/orders", &headers, 60_000);
    let began = Instant::now();
    let mut slow: Vec<_> = (0..40)
        .map(|number| {
            let mut stream = connect(shop.url());
            // Half of them are slow in the head, half in the body.
            let half = if number % 2 == 0 {
                head[..60].to_owned()
            } else {
                format!("{head}\r\n{{\"lines\":")
            };
            stream.write_all(half.as_bytes()).expect("sent");
            stream
        })
        .collect();
    while began.elapsed() < Duration::from_secs(3) {
        let asked = Instant::now();
        shop.buyer().hold(&lamp, 1);
        assert!(
            asked.elapsed() < Duration::from_secs(1),
            "an order took {:?}",
            asked.elapsed()
        );
        for stream in slow.iter_mut().skip(1).step_by(2) {
            stream.write_all(b" ").expect("trickled");
        }
    }
    for (stream, kind) in slow.iter_mut().zip(["head", "body"].iter().cycle()) {
        match read_answer(stream, kind) {
            Exchange::Closed => {}
            Exchange::Answered(answer) if *kind == "body" => {
                drop(answer.is_refused(408, "body_too_slow"))
            }
            Exchange::Answered(answer) => assert_eq!(answer.status, 408, "{answer}"),
        }
    }
    assert!(
        began.elapsed() < Duration::from_secs(12),
        "{:?}",
        began.elapsed()
    );
    assert!(alice.get("/v1/orders").is(200)["items"] == json!([]));
}

/// An order with this body, byte for byte.
#[track_caller]
fn post_raw(caller: &Caller, shop: &Shop, kind: &str, body: &[u8]) -> Answer {
    let key = Key::fresh();
    let headers = [("Idempotency-Key", key.0.as_str()), ("Content-Type", kind)];
    let head = head_of(caller, "POST /v1/orders", &headers, body.len());
    let request = [head.as_bytes(), b"\r\n", body].concat();
    let answer = exchange(shop.url(), &request).answer();
    answer.check_manners();
    answer
}

fn head_of(caller: &Caller, what: &str, headers: &[(&str, &str)], length: usize) -> String {
    let mut head = format!(
        "{what} HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {}\r\nContent-Length: {length}\r\n",
        caller.token()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head
}

/// Something that only an admin may do, to a product that is there.
#[track_caller]
fn shop_admin(caller: &Caller, product: &str) -> Answer {
    let body = json!({"total": 999});
    let path = format!("/v1/admin/products/{product}/stock");
    caller.send(&Method::PUT, &path, None, Some(&body))
}

#[track_caller]
fn nothing_happened(shop: &Shop, buyer: &Caller, product: &str) {
    assert_eq!(shop.units(product), (10, 0, 0));
    assert_eq!(buyer.get("/v1/orders").is(200)["items"], json!([]));
    // Registered and scheduled, and no record since.
    assert_eq!(shop.prove_books()["journal"]["last"], 2);
}
