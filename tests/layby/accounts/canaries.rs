//! What is personal is found nowhere but in answers to its owner and in letters: not in files, tables, Redis, logs or
//! refusals, in no spelling.

use serde_json::{Value, json};
use ureq::http::Method;

use crate::support::{
    Canaries, Key, MailServer, Person, Postbox, Redis, Sale, Shop, Store, Tls, eventually, line,
    on_each_database, text,
};

on_each_database! {
    nothing_personal_is_found_anywhere,
}

/// Words that are personal and found nowhere else.
struct Words {
    person: Person,
    recipient: String,
    line1: String,
    line2: String,
    phone: String,
    new_password: String,
}

impl Words {
    fn fresh() -> Self {
        let unique = format!("{:08x}", rand::random::<u32>());
        let digits = rand::random::<u32>() % 90_000_000 + 10_000_000;
        Self {
            person: Person {
                username: format!("Kestrel.{unique}"),
                password: format!("plover-{unique}-Heath"),
                email: format!("nightjar.{unique}@canary.example.test"),
                name: format!("카나리아 {unique} 새장"),
                phone: format!("+8210{digits}"),
            },
            recipient: format!("Quetzal {unique} Marigold"),
            line1: format!("4711 Cinnabar {unique} Avenue"),
            line2: format!("탑 {unique} 일곱째 층"),
            phone: format!("02-{}", digits + 1),
            new_password: format!("Heron-{unique}-reed"),
        }
    }

    fn all(&self) -> Vec<String> {
        let person = &self.person;
        let national = person.phone.trim_start_matches("+82").to_owned();
        let local_part = person
            .email
            .split('@')
            .next()
            .unwrap_or_default()
            .to_owned();
        let digits: String = self.phone.chars().filter(char::is_ascii_digit).collect();
        vec![
            person.username.clone(),
            person.password.clone(),
            person.email.clone(),
            local_part,
            person.name.clone(),
            national,
            self.recipient.clone(),
            self.line1.clone(),
            self.line2.clone(),
            self.phone.clone(),
            digits,
            self.new_password.clone(),
        ]
    }

    fn address(&self) -> Value {
        json!({
            "recipient": self.recipient, "phone": self.phone, "postal_code": "04524",
            "line1": self.line1, "line2": self.line2,
        })
    }
}

fn nothing_personal_is_found_anywhere(store: Store) {
    let (mut post, redis) = (MailServer::start(Tls::None), Redis::start());
    let (mail_url, redis_url) = (post.url(), redis.url());
    let options = [
        "--mail-url",
        &mail_url,
        "--redis-url",
        &redis_url,
        "--log",
        "trace",
    ];
    let mut shop = Shop::open_with(store, &options);
    shop.announce("mail");
    let lamp = shop.product(Sale::of(10));
    let words = Words::fresh();
    let person = &words.person;
    let visitor = shop.visitor();

    let path = format!("/v1/auth/username-available?username={}", person.username);
    visitor.get(&path).is(200);
    person.joins(&visitor, &post);
    let member = person.signs_in(&visitor);
    let address = member.adds_address(&words.address());
    member
        .caller
        .patch(
            &format!("/v1/me/addresses/{}", text(&address, "id")),
            &words.address(),
        )
        .is(200);
    member
        .caller
        .patch(
            "/v1/me",
            &json!({"name": person.name, "phone": person.phone}),
        )
        .is(200);
    let place = json!({"lines": [line(&lamp, 1)], "address_id": address["id"]});
    let order = member
        .caller
        .post_under(&Key::fresh(), "/v1/orders", &place)
        .is(201);
    member.caller.pay(&order, "card_ok").is(201);
    assert_eq!(
        member.caller.order(&order)["address"]["recipient"],
        json!(words.recipient)
    );
    shop.admin().get("/v1/admin/orders").is(200);
    member
        .changes_password(&person.password, &words.new_password)
        .is(204);
    let changed = person.with_password(&words.new_password);
    changed.forgets(&visitor).is(202);
    let code = post.code(&person.email, 2);
    changed.resets(&visitor, &code, &words.new_password).is(204);
    let member = changed.signs_in(&visitor).refreshes();

    // A letter that cannot go out lies in the tables.
    post.kill();
    changed.forgets(&visitor).is(202);
    let again = Person {
        username: Person::new("other").username,
        ..changed.clone()
    };
    again.asks_to_join(&visitor).is(202);
    member.caller.hold(&lamp, 1);
    eventually("a letter about an order lies in the tables", || {
        let waiting = shop.rows("SELECT COUNT(*) FROM order_outbox");
        (waiting != [["0"]]).then_some(())
    });

    let mut spoken: Vec<String> = words.all();
    let tokens = [
        member.refresh_token.clone(),
        member.caller.token().to_owned(),
        changed.password.clone(),
    ];
    spoken.extend(tokens);
    let spoken: Vec<&str> = spoken.iter().map(String::as_str).collect();
    let canaries = Canaries::new(&spoken);
    refusals_are_silent(&shop, &words, &member.caller, &canaries);

    shop.catches_up();
    let none = Vec::<String>::new();
    assert_eq!(
        canaries.found_in(&super::dump(&shop)),
        none,
        "in the tables"
    );
    let in_redis = redis.dump();
    assert!(!in_redis.is_empty(), "Redis was used");
    assert_eq!(canaries.found_in(&in_redis), none, "in Redis");
    assert_eq!(
        canaries.found_below(shop.scratch(), &["outbox"]),
        none,
        "in files"
    );
    let outbox = shop.data_dir().join("outbox");
    assert!(!outbox.exists() || outbox.read_dir().expect("a folder").next().is_none());
    for path in ["/metrics", "/readyz", "/openapi.json", "/v1/products"] {
        let answer = visitor.get(path);
        assert_eq!(canaries.found_in(&answer.body), none, "{path}");
    }
    shop.stop_and_hear(|said| {
        assert!(
            said.contains("TRACE") && said.contains("DEBUG"),
            "the log says everything"
        );
        assert_eq!(canaries.found_in(said.as_bytes()), none, "in the log");
    });
    assert_eq!(
        canaries.found_below(shop.scratch(), &["outbox"]),
        none,
        "in files after the end"
    );

    // The search does find: planted in a column, in a file and in Redis, one is there.
    let planted = words
        .line1
        .bytes()
        .map(|it| format!("{it:02X}"))
        .collect::<String>();
    shop.sql(&format!("UPDATE accounts SET phone = X'{planted}'"));
    assert!(!canaries.found_in(&super::dump(&shop)).is_empty());
    if store == Store::Sqlite {
        assert!(!canaries.found_below(shop.scratch(), &[]).is_empty());
    }
    redis.command(&["SET", "planted", &person.email.to_uppercase()]);
    assert!(!canaries.found_in(&redis.dump()).is_empty());
    shop.sql("UPDATE accounts SET phone = NULL");
    shop.announce("damaged");
}

/// Everything that is refused, and why.
fn refusals_are_silent(
    shop: &Shop,
    words: &Words,
    caller: &crate::support::Caller,
    canaries: &Canaries,
) {
    let person = &words.person;
    let mut form = person.form();
    form["phone"] = json!(format!("{} ext", words.phone));
    let mut address = words.address();
    address["country"] = json!(words.recipient);
    let requests = [
        (Method::POST, "/v1/auth/sign-up", person.form()),
        (Method::POST, "/v1/auth/sign-up", form),
        (
            Method::POST,
            "/v1/auth/sign-in",
            json!({"username": person.username, "password": person.password}),
        ),
        (
            Method::POST,
            "/v1/auth/sign-in",
            json!({"username": person.email, "password": words.line1}),
        ),
        (
            Method::POST,
            "/v1/auth/verify-email",
            json!({"email": person.email, "code": "000000"}),
        ),
        (
            Method::POST,
            "/v1/auth/verify-email",
            json!({"email": person.email, "code": words.line1}),
        ),
        (
            Method::POST,
            "/v1/auth/refresh",
            json!({"refresh_token": words.line1}),
        ),
        (
            Method::POST,
            "/v1/auth/reset-password",
            json!({"email": person.email, "code": "000000", "new_password": words.new_password}),
        ),
        (
            Method::POST,
            "/v1/me/password",
            json!({"current_password": person.password, "new_password": words.line1}),
        ),
        (
            Method::POST,
            "/v1/me/password",
            json!({"current_password": words.new_password, "new_password": person.email}),
        ),
        (
            Method::PATCH,
            "/v1/me",
            json!({"name": format!("{}\0", person.name)}),
        ),
        (Method::PATCH, "/v1/me", json!({"phone": words.line1})),
        (Method::POST, "/v1/me/addresses", address),
        (
            Method::PATCH,
            "/v1/me/addresses/01a20e1f-0ae3-7100-8c7b-4afc13b65562",
            words.address(),
        ),
        (Method::POST, "/v1/admin/products", words.address()),
    ];
    for (method, path, body) in requests {
        let answer = caller.send(&method, path, None, Some(&body));
        assert!(answer.status >= 400, "{answer}");
        assert_eq!(
            canaries.found_in(&answer.body),
            Vec::<String>::new(),
            "{answer}"
        );
    }
    let line = format!(
        "/v1/auth/username-available?username={}%00",
        person.username
    );
    for path in [line, format!("/v1/products/{}", person.username)] {
        let answer = shop.visitor().get(&path);
        assert!(answer.status >= 400, "{answer}");
        assert_eq!(
            canaries.found_in(&answer.body),
            Vec::<String>::new(),
            "{answer}"
        );
    }
}
