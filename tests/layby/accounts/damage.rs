//! Sealed data that was exchanged or changed in SQL: it is not served, the log says where, nobody else is concerned.

use std::time::Duration;

use serde_json::json;

use crate::support::{Canaries, Key, Member, Sale, Shop, Store, line, on_each_database, text};

on_each_database! {
    two_peoples_sealed_data_cannot_be_exchanged,
    two_addresses_cannot_be_exchanged,
    a_flipped_bit_is_noticed,
    data_of_before_cannot_be_put_into_another_column,
}

const LOGGED_WITHIN: Duration = Duration::from_secs(10);
const COLUMNS: [&str; 5] = ["data_key", "username", "email", "name", "phone"];

fn key_of(member: &Member) -> String {
    format!("X'{}'", member.id().simple())
}

/// Exchanges what two rows hold in a column.
fn exchange(shop: &Shop, table: &str, column: &str, rows: [&str; 2]) {
    let values = rows.map(|row| {
        let query = format!("SELECT HEX({column}) FROM {table} WHERE id = {row}");
        shop.rows(&query)[0][0].clone()
    });
    assert_ne!(values[0], values[1]);
    for (row, value) in rows.iter().zip(values.iter().rev()) {
        shop.sql(&format!(
            "UPDATE {table} SET {column} = X'{value}' WHERE id = {row}"
        ));
    }
}

/// What was said of it in the log, which names the place and nothing personal.
#[track_caller]
fn is_logged(shop: &mut Shop, table: &str, column: &str, canaries: &Canaries) {
    let stderr = shop.process().stderr.clone();
    let names_it =
        |line: &str| line.contains(" ERROR ") && line.contains(table) && line.contains(column);
    // The answer may be here before the line.
    let named = stderr.wait_for(LOGGED_WITHIN, names_it);
    let lines = stderr.all();
    assert!(named.is_some(), "{table}.{column} is not named: {lines:#?}");
    let log = lines.join("\n");
    assert_eq!(canaries.found_in(log.as_bytes()), Vec::<String>::new());
}

fn two_peoples_sealed_data_cannot_be_exchanged(store: Store) {
    let mut shop = Shop::open(store);
    let people = ["alice", "bob", "carol"].map(|it| shop.member(it));
    let [alice, bob, carol] = &people;
    for member in [alice, bob] {
        let name = format!("Only {} Knows", member.person.username);
        member.caller.patch("/v1/me", &json!({"name": name, "phone": format!("010{:08}", rand::random::<u32>() % 100_000_000)})).is(200);
    }
    let before = [alice.me(), bob.me()];
    let words: Vec<String> = before
        .iter()
        .flat_map(|me| ["username", "email", "name", "phone"].map(|field| text(me, field)))
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let canaries = Canaries::new(&words);
    for column in COLUMNS {
        shop.stop();
        exchange(&shop, "accounts", column, [&key_of(alice), &key_of(bob)]);
        shop.announce("damaged");
        shop.announce("accounts");
        shop.start();
        for member in [alice, bob] {
            let caller = member.caller.at(shop.url());
            let answer = caller.get("/v1/me");
            answer.is_refused(503, "personal_data_damaged");
            assert_eq!(
                canaries.found_in(&answer.body),
                Vec::<String>::new(),
                "{answer}"
            );
            // Buying goes on: the books know nobody's name.
            caller.get("/v1/orders").is(200);
        }
        is_logged(&mut shop, "accounts", column, &canaries);
        carol.at(shop.url()).me();
        carol.person.signs_in(&shop.visitor());
        shop.stop();
        exchange(&shop, "accounts", column, [&key_of(alice), &key_of(bob)]);
        shop.start();
        let after = [alice, bob].map(|it| it.at(shop.url()).me());
        assert_eq!(after, before, "{column}");
    }
}

fn two_addresses_cannot_be_exchanged(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(10));
    let (alice, bob, carol) = (
        shop.member("alice"),
        shop.member("bob"),
        shop.member("carol"),
    );
    let places = [&alice, &bob].map(|member| {
        let mut form = super::addresses::form(&format!("Only {}", member.person.username));
        form["line1"] = json!(format!("1 Street of {}", member.person.username));
        member.adds_address(&form)
    });
    let orders: Vec<_> = [&alice, &bob]
        .iter()
        .zip(&places)
        .map(|(member, place)| {
            let body = json!({"lines": [line(&lamp, 1)], "address_id": place["id"]});
            member
                .caller
                .post_under(&Key::fresh(), "/v1/orders", &body)
                .is(201)
        })
        .collect();
    carol.adds_address(&super::addresses::form("Carol"));
    let words: Vec<String> = places
        .iter()
        .flat_map(|it| [text(it, "recipient"), text(it, "line1")])
        .collect();
    let canaries = Canaries::new(&words.iter().map(String::as_str).collect::<Vec<_>>());
    shop.stop();
    let rows = [&alice, &bob].map(|member| {
        let query = format!(
            "SELECT HEX(id) FROM address_versions WHERE account = {}",
            key_of(member)
        );
        format!("X'{}'", shop.rows(&query)[0][0])
    });
    exchange(&shop, "address_versions", "content", [&rows[0], &rows[1]]);
    shop.announce("damaged");
    shop.announce("address_versions");
    shop.start();
    for (member, order) in [&alice, &bob].iter().zip(&orders) {
        let caller = member.caller.at(shop.url());
        for path in [
            "/v1/me/addresses".to_owned(),
            format!("/v1/orders/{}", text(order, "id")),
        ] {
            let answer = caller.get(&path);
            assert_eq!(
                canaries.found_in(&answer.body),
                Vec::<String>::new(),
                "{answer}"
            );
            answer.is_refused(503, "personal_data_damaged");
        }
        caller.get("/v1/me").is(200);
    }
    is_logged(&mut shop, "address_versions", "content", &canaries);
    let carol = carol.at(shop.url());
    assert_eq!(
        carol.caller.get("/v1/me/addresses").is(200)["items"][0]["recipient"],
        "Carol"
    );
}

fn a_flipped_bit_is_noticed(store: Store) {
    let mut shop = Shop::open(store);
    let (alice, bob) = (shop.member("alice"), shop.member("bob"));
    let canaries = Canaries::new(&[
        &alice.person.username,
        &alice.person.email,
        &alice.person.name,
    ]);
    for column in COLUMNS {
        let query = format!(
            "SELECT HEX({column}) FROM accounts WHERE id = {}",
            key_of(&alice)
        );
        let good = shop.rows(&query)[0][0].clone();
        let set = |shop: &Shop, hex: &str| {
            shop.sql(&format!(
                "UPDATE accounts SET {column} = X'{hex}' WHERE id = {}",
                key_of(&alice)
            ));
        };
        let flip = |at: usize| {
            let mut bytes: Vec<char> = good.chars().collect();
            let digit = bytes[at].to_digit(16).expect("hex");
            bytes[at] = char::from_digit(digit ^ 1, 16).expect("hex");
            bytes.into_iter().collect::<String>()
        };
        let last = good.len() - 1;
        let damaged = [
            flip(1),
            flip(9),
            flip(20),
            flip(last / 2),
            flip(last),
            good[..last - 1].into(),
            good[..8].into(),
            format!("{good}00"),
            String::new(),
        ];
        for (number, hex) in damaged.iter().enumerate() {
            shop.stop();
            set(&shop, hex);
            shop.announce("damaged");
            shop.announce("accounts");
            shop.start();
            let answer = alice.at(shop.url()).caller.get("/v1/me");
            assert_eq!(
                answer.code(),
                "personal_data_damaged",
                "{column} {number}: {answer}"
            );
            assert_eq!(
                canaries.found_in(&answer.body),
                Vec::<String>::new(),
                "{answer}"
            );
            bob.at(shop.url()).me();
        }
        is_logged(&mut shop, "accounts", column, &canaries);
        shop.stop();
        set(&shop, &good);
        shop.start();
    }
    assert_eq!(
        alice.at(shop.url()).me()["email"],
        json!(alice.person.email)
    );
}

fn data_of_before_cannot_be_put_into_another_column(store: Store) {
    let mut shop = Shop::open(store);
    let alice = shop.member("alice");
    shop.stop();
    shop.sql(&format!(
        "UPDATE accounts SET name = email WHERE id = {}",
        key_of(&alice)
    ));
    shop.announce("damaged");
    shop.announce("accounts");
    shop.start();
    let answer = alice.at(shop.url()).caller.get("/v1/me");
    answer.is_refused(503, "personal_data_damaged");
    let canaries = Canaries::new(&[&alice.person.email]);
    is_logged(&mut shop, "accounts", "name", &canaries);
}
