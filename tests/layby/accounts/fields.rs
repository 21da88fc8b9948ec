//! What may stand in the fields of people, and that nothing else gets in beside them.

use serde_json::{Value, json};
use ureq::http::Method;

use crate::support::{
    Answer, Canaries, Member, Outbox, Person, Postbox, Shop, Store, on_each_database, text,
};

on_each_database! {
    a_username_is_taken_in_every_spelling,
    one_mailbox_has_one_account_however_it_is_spelt,
    names_of_all_languages_come_back_as_they_were_given,
    a_profile_is_edited_field_by_field,
}

fn a_username_is_taken_in_every_spelling(store: Store) {
    let shop = Shop::open(store);
    let visitor = shop.visitor();
    let alice = shop.member("alice").person;
    let fresh = Person::new("fresh");
    let wide: String = alice
        .username
        .chars()
        .map(|it| match it {
            'a'..='z' | '0'..='9' => char::from_u32(it as u32 + 0xfee0).expect("full width"),
            _ => it,
        })
        .collect();
    for username in [
        alice.username.to_uppercase(),
        "A".to_owned() + &alice.username[1..],
        wide,
    ] {
        let other = Person {
            username: username.clone(),
            ..fresh.clone()
        };
        other
            .asks_to_join(&visitor)
            .is_refused(409, "username_taken");
        let path = format!(
            "/v1/auth/username-available?username={}",
            percent(&username)
        );
        assert_eq!(visitor.get(&path).is(200)["available"], false, "{username}");
        // And it signs in.
        let shouting = Person {
            username,
            ..alice.clone()
        };
        shouting.signs_in(&visitor);
    }
    assert_eq!(Outbox::of(&shop).letters_to(&fresh.email).len(), 0);
}

fn one_mailbox_has_one_account_however_it_is_spelt(store: Store) {
    let shop = Shop::open(store);
    let (visitor, post) = (shop.visitor(), Outbox::of(&shop));
    let unique = format!("{:08x}", rand::random::<u32>());
    let alice = Person {
        email: format!("Alice.{unique}@Bücher.Example"),
        ..Person::new("alice")
    };
    let ascii = format!("alice.{unique}@xn--bcher-kva.example");
    alice.asks_to_join(&visitor).is(202);
    let code = post.code(&ascii, 1);
    let lower = Person {
        email: ascii.clone(),
        ..alice.clone()
    };
    lower.verifies(&visitor, &code).is(204);
    let spellings = [
        ascii.clone(),
        ascii.to_uppercase(),
        format!("ALICE.{unique}@BÜCHER.example"),
        format!("ａｌｉｃｅ.{unique}@bücher.example"),
        format!("alice.{unique}@bu\u{308}cher.example"),
        format!(" alice.{unique}@bücher.example "),
    ];
    let mut count = 1;
    for (number, email) in spellings.into_iter().enumerate().take(4) {
        let mallory = Person {
            email: email.clone(),
            ..Person::new("mallory")
        };
        mallory.asks_to_join(&visitor).is(202);
        count += 1;
        // A word of caution to the owner, and no code that would make a second account.
        post.letters(&ascii, count);
        assert_eq!(post.codes(&ascii).len(), 1, "{number}: {email}");
    }
    let accounts = shop.rows(
        "SELECT COUNT(*) FROM accounts WHERE verified_at IS NOT NULL AND email_index IS NOT NULL",
    );
    assert_eq!(accounts, [["1"]]);
    assert_eq!(alice.signs_in(&visitor).me()["email"], json!(ascii));
}

fn names_of_all_languages_come_back_as_they_were_given(store: Store) {
    let shop = Shop::open(store);
    let member = shop.member("alice");
    for name in [
        "홍길동",
        "Ólafur Ragnar Grímsson",
        "O'Brien \"Bobby\"; DROP TABLE accounts;--",
        "<b>Robert</b> & {{name}} ${7*7} %s",
        "🪔 Lamp",
        "x",
        &"가".repeat(100),
    ] {
        let changed = member.caller.patch("/v1/me", &json!({"name": name}));
        assert_eq!(changed.is(200)["name"], name);
        assert_eq!(member.me()["name"], name);
    }
}

fn a_profile_is_edited_field_by_field(store: Store) {
    let mut shop = Shop::open(store);
    let member = shop.member("alice");
    let before = member.me();
    assert_eq!(
        before.as_object().map(serde_json::Map::len),
        Some(8),
        "{before}"
    );
    let edit = |body: Value| member.caller.patch("/v1/me", &body);
    assert_eq!(edit(json!({})).is(200), before);
    assert_eq!(edit(json!({"language": "ko"})).is(200)["language"], "ko");
    assert_eq!(
        edit(json!({"phone": "010 9876 5432"})).is(200)["name"],
        before["name"]
    );
    let now = edit(json!({"name": "Alice Lee"})).is(200);
    for field in ["id", "username", "email", "role", "created_at"] {
        assert_eq!(now[field], before[field], "{field}");
    }
    let digits: String = text(&now, "phone")
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    assert_eq!(digits, "01098765432");
    for (field, value) in [
        ("name", json!("")),
        ("name", json!(" ")),
        ("name", json!("x".repeat(101))),
        ("name", json!("a\nb")),
        ("name", json!("a\u{202e}b\u{0}")),
        ("name", json!(7)),
        ("phone", json!("123456")),
        ("phone", json!("1234567890123456")),
        ("phone", json!("12345x7890")),
        ("phone", json!("١٢٣٤٥٦٧٨")),
        ("language", json!("xx")),
        ("language", json!("")),
        ("email", json!("other@example.test")),
        ("username", json!("other")),
        ("role", json!("admin")),
        ("id", json!(uuid::Uuid::nil())),
    ] {
        let mut body = json!({});
        body[field] = value;
        names_fields(&edit(body), &[field]);
    }
    assert_eq!(member.me(), now);
    shop.kill_and_start();
    assert_eq!(member.at(shop.url()).me(), now);
}

#[test]
fn each_bad_field_of_a_sign_up_is_named_and_all_of_them_at_once() {
    let shop = Shop::open(Store::Sqlite);
    let good = Person::new("alice");
    let cases: &[(&str, &[&str])] = &[
        (
            "username",
            &[
                "",
                "ab",
                "a b c",
                "alice@home",
                "alice/",
                "al\u{0}ice",
                "al\r\nice",
                "alice\u{202e}",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "<alice>",
                "al\u{1b}[31mice",
                "alice\u{200b}",
            ],
        ),
        (
            "email",
            &[
                "",
                "alice",
                "@example.test",
                "alice@",
                "alice@@example.test",
                "alice example.test",
                "al\r\nBcc: x@y.test@example.test",
                "alice@example.test\r\nBcc: x@y.test",
                "alice@exam ple.test",
                "alice@example.test, bob@example.test",
                "alice@\u{0}.test",
                "<alice@example.test>",
                "alice@-example.test",
                "alice@example..test",
            ],
        ),
        (
            "name",
            &[
                "",
                "   ",
                "a\u{0}b",
                "a\r\nb",
                "a\u{1b}[2Jb",
                "a\u{7f}b",
                "a\u{85}b",
            ],
        ),
        (
            "phone",
            &[
                "",
                "123456",
                "1234567890123456",
                "+",
                "call me",
                "010-1234-567x",
                "0101234\u{0}5678",
                "010\r\n12345678",
            ],
        ),
        (
            "password",
            &[
                "",
                "short",
                "password123",
                "with\u{0}nul inside",
                "line\r\nbreaks inside",
            ],
        ),
    ];
    let long = "x".repeat(300);
    for (field, values) in cases {
        for value in values.iter().copied().chain([long.as_str()]) {
            if *field == "password" && value == long {
                continue;
            }
            let mut form = good.form();
            form[*field] = json!(value);
            let answer = shop.visitor().post_with("/v1/auth/sign-up", &form);
            assert_eq!(answer.status, 422, "{field} {value:?}: {answer}");
            names_fields(&answer, &[field]);
        }
        for value in [
            json!(null),
            json!(7),
            json!([]),
            json!({"a": "b"}),
            json!(true),
        ] {
            let mut form = good.form();
            form[*field] = value;
            let answer = shop.visitor().post_with("/v1/auth/sign-up", &form);
            names_fields(&answer, &[field]);
        }
        let mut form = good.form();
        form.as_object_mut().expect("a form").remove(*field);
        let answer = shop.visitor().post_with("/v1/auth/sign-up", &form);
        answer.is_refused(422, "invalid_values");
    }
    let bad = json!({"username": "a", "password": "b", "email": "c", "name": "", "phone": "d"});
    let answer = shop.visitor().post_with("/v1/auth/sign-up", &bad);
    names_fields(&answer, &["email", "name", "password", "phone", "username"]);
    // None of it has made an account.
    assert_eq!(shop.rows("SELECT COUNT(*) FROM accounts"), [["0"]]);
    good.asks_to_join(&shop.visitor()).is(202);
}

#[test]
fn what_may_be_a_username_may_be_one() {
    let shop = Shop::open(Store::Sqlite);
    let unique = format!("{:06x}", rand::random::<u32>() >> 8);
    for username in [
        "a.b",
        "a_b-c",
        "0",
        "홍길동",
        "Ünal",
        "MiXeD",
        "a123456789012345678901234",
    ] {
        let person = Person {
            username: format!("{username}{unique}"),
            ..Person::new("alice")
        };
        person.asks_to_join(&shop.visitor()).is(202);
    }
    for phone in [
        "+82 10-1234-5678",
        "(02) 123.4567",
        "1234567",
        "+123456789012345",
    ] {
        let person = Person {
            phone: phone.into(),
            ..Person::new("alice")
        };
        person.asks_to_join(&shop.visitor()).is(202);
    }
}

/// Every route that takes a body, with one that is good.
fn bodies(
    person: &Person,
    member: &Member,
    other: &Member,
    address: &str,
) -> Vec<(Method, String, Value)> {
    let tokens = json!({"refresh_token": member.refresh_token});
    let address_form = super::addresses::form("Alice");
    vec![
        (Method::POST, "/v1/auth/sign-up".into(), person.form()),
        (
            Method::POST,
            "/v1/auth/verify-email".into(),
            json!({"email": person.email, "code": "000000"}),
        ),
        (
            Method::POST,
            "/v1/auth/resend-code".into(),
            json!({"email": person.email}),
        ),
        (
            Method::POST,
            "/v1/auth/sign-in".into(),
            json!({"username": person.username, "password": person.password}),
        ),
        (Method::POST, "/v1/auth/refresh".into(), tokens.clone()),
        (Method::POST, "/v1/auth/sign-out".into(), tokens),
        (
            Method::POST,
            "/v1/auth/forgot-password".into(),
            json!({"email": person.email}),
        ),
        (
            Method::POST,
            "/v1/auth/reset-password".into(),
            json!({"email": person.email, "code": "000000", "new_password": "violet thunder 51"}),
        ),
        (Method::PATCH, "/v1/me".into(), json!({"name": "Alice Lee"})),
        (
            Method::POST,
            "/v1/me/password".into(),
            json!({"current_password": member.person.password, "new_password": "violet thunder 51"}),
        ),
        (
            Method::POST,
            "/v1/me/addresses".into(),
            address_form.clone(),
        ),
        (
            Method::PATCH,
            format!("/v1/me/addresses/{address}"),
            json!({"line1": "elsewhere"}),
        ),
        (
            Method::POST,
            format!("/v1/admin/users/{}/role", other.id()),
            json!({"role": "seller"}),
        ),
    ]
}

#[test]
fn a_field_that_is_not_asked_for_is_refused_in_every_body() {
    let shop = Shop::open(Store::Sqlite);
    let member = shop.member("alice");
    let other = shop.member("bob");
    let address = text(&member.adds_address(&super::addresses::form("Alice")), "id");
    let admin = shop.promote(&member, "admin");
    let before = (admin.me(), other.me());
    let intruders = [
        ("role", json!("admin")),
        ("user_id", json!(other.id())),
        ("is_admin", json!(true)),
        ("verified", json!(true)),
        ("verified_at", json!("2020-01-01T00:00:00Z")),
        ("id", json!(other.id())),
        ("account", json!(other.id())),
        ("status", json!("verified")),
        (
            "password_hash",
            json!("$argon2id$v=19$m=8,t=1,p=1$AAAA$AAAA"),
        ),
        ("access_epoch", json!(0)),
        ("__proto__", json!({"role": "admin"})),
        ("", json!(1)),
    ];
    let newcomer = Person::new("carol");
    for (method, path, body) in bodies(&newcomer, &admin, &other, &address) {
        for (field, value) in &intruders {
            let mut body = body.clone();
            if body.get(field).is_some() {
                continue;
            }
            body[*field] = value.clone();
            let answer = admin.caller.send(&method, &path, None, Some(&body));
            assert_eq!(
                answer.code(),
                "invalid_values",
                "{field} at {path}: {answer}"
            );
        }
        for wrong in [
            json!([]),
            json!(null),
            json!("text"),
            json!(7),
            json!([body.clone()]),
        ] {
            let answer = admin.caller.send(&method, &path, None, Some(&wrong));
            assert_eq!(
                answer.code(),
                "invalid_values",
                "{wrong} at {path}: {answer}"
            );
        }
    }
    assert_eq!((admin.me(), other.me()), before);
    assert_eq!(shop.rows("SELECT COUNT(*) FROM accounts"), [["2"]]);
}

#[test]
fn control_characters_in_any_field_are_refused_or_harmless() {
    let mut shop = Shop::open(Store::Sqlite);
    let member = shop.member("alice");
    let other = shop.member("bob");
    let address = text(&member.adds_address(&super::addresses::form("Alice")), "id");
    let admin = shop.promote(&member, "admin");
    let newcomer = Person::new("carol");
    for (method, path, body) in bodies(&newcomer, &admin, &other, &address) {
        // These are not read but compared: whatever stands there is simply not right.
        let compared = ["code", "refresh_token", "current_password"];
        let fields: Vec<String> = body.as_object().expect("a form").keys().cloned().collect();
        for field in fields {
            if !body[&field].is_string() {
                continue;
            }
            for bad in [
                "\r\nERROR planted",
                "\0ERROR planted",
                "\u{1b}[31mERROR planted",
            ] {
                let mut body = body.clone();
                body[&field] = json!(text(&body, &field) + bad);
                let answer = admin.caller.send(&method, &path, None, Some(&body));
                let expected: &[u16] = match (path.as_str(), field.as_str()) {
                    ("/v1/auth/sign-in", _) => &[401, 422],
                    ("/v1/auth/sign-out", _) => &[204, 422],
                    (_, field) if compared.contains(&field) => &[401, 403, 422],
                    _ => &[422],
                };
                assert!(
                    expected.contains(&answer.status),
                    "{field} at {path}: {answer}"
                );
            }
        }
    }
    admin.is_let_in();
    assert!(Outbox::of(&shop).letters_to(&newcomer.email).is_empty());
    let log = shop.process().stderr.all();
    let planted: Vec<&String> = log
        .iter()
        .filter(|it| it.contains("ERROR planted") || it.contains('\u{1b}'))
        .collect();
    assert_eq!(planted, Vec::<&String>::new());
}

#[test]
fn refusals_do_not_repeat_what_is_personal() {
    let shop = Shop::open_with(Store::Sqlite, &["--trusted-proxies", "127.0.0.1"]);
    let words = [
        "Zanzibar-Kestrel-91",
        "Quetzal.Marigold.83",
        "Lapis+Osprey+77",
    ];
    let canaries = Canaries::new(&words);
    let member = shop.member("alice");
    let paths = [
        (
            Method::POST,
            "/v1/auth/sign-up",
            vec!["username", "password", "email", "name", "phone"],
        ),
        (
            Method::POST,
            "/v1/auth/sign-in",
            vec!["username", "password"],
        ),
        (Method::POST, "/v1/auth/verify-email", vec!["email", "code"]),
        (Method::POST, "/v1/auth/resend-code", vec!["email"]),
        (Method::POST, "/v1/auth/refresh", vec!["refresh_token"]),
        (
            Method::POST,
            "/v1/auth/sign-out",
            vec!["refresh_token", "everywhere"],
        ),
        (Method::POST, "/v1/auth/forgot-password", vec!["email"]),
        (
            Method::POST,
            "/v1/auth/reset-password",
            vec!["email", "code", "new_password"],
        ),
        (Method::PATCH, "/v1/me", vec!["name", "phone", "language"]),
        (
            Method::POST,
            "/v1/me/password",
            vec!["current_password", "new_password"],
        ),
        (
            Method::POST,
            "/v1/me/addresses",
            vec![
                "recipient",
                "phone",
                "country",
                "postal_code",
                "line1",
                "line2",
                "default",
            ],
        ),
        (Method::POST, "/v1/orders", vec!["lines", "address_id"]),
    ];
    for (number, (method, path, fields)) in paths.iter().enumerate() {
        // Nobody is to be told "not so fast" instead.
        let caller = member.caller.calling_from(&format!("198.51.100.{number}"));
        for word in words {
            // All fields at once, and each on its own; as text, in a list, with what a field must not have.
            let whole = fields
                .iter()
                .map(|it| ((*it).to_owned(), json!(format!("{word}\0"))));
            let mut bodies = vec![Value::Object(whole.collect()), json!(word)];
            for field in fields {
                bodies.push(json!({*field: word}));
                bodies.push(json!({*field: [word]}));
                bodies.push(json!({*field: {"a": word}}));
            }
            for body in bodies {
                let key = crate::support::Key::fresh();
                let answer = caller.send(method, path, Some(&key), Some(&body));
                assert_ne!(answer.status, 429, "{answer}");
                if answer.status >= 400 {
                    let hits = canaries.found_in(&answer.body);
                    assert_eq!(hits, Vec::<String>::new(), "{body} at {answer}");
                }
            }
        }
    }
    let answer = shop
        .visitor()
        .get("/v1/auth/username-available?username=Zanzibar-Kestrel-91%00");
    assert_eq!(
        canaries.found_in(&answer.body),
        Vec::<String>::new(),
        "{answer}"
    );
}

#[track_caller]
fn names_fields(answer: &Answer, fields: &[&str]) {
    let told = answer.is_refused(422, "invalid_values");
    let errors = told["errors"].as_array().expect("errors").clone();
    let mut named: Vec<String> = errors.iter().map(|it| text(it, "field")).collect();
    named.sort();
    named.dedup();
    assert_eq!(json!(named), json!(fields), "{answer}");
}

fn percent(text: &str) -> String {
    text.bytes().map(|it| format!("%{it:02x}")).collect()
}
