//! The audit log: what happened to accounts and products, the latest first, and nothing personal in it.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Canaries, Outbox, Person, Postbox, Sale, Shop, Store, eventually, on_each_database, text,
};

on_each_database! {
    everything_that_happens_to_an_account_is_noted,
    acts_on_products_stand_in_the_same_log,
    the_log_comes_in_pages_without_gaps_or_repeats,
    the_log_survives_a_crash,
    nothing_that_people_send_makes_an_entry_of_its_own,
    an_entry_that_was_changed_or_taken_out_is_found_by_verify,
}

/// The whole log, the latest first.
#[track_caller]
pub(crate) fn acts(shop: &Shop) -> Vec<Value> {
    pages(shop, 100)
}

#[track_caller]
fn pages(shop: &Shop, limit: usize) -> Vec<Value> {
    let admin = shop.admin();
    let mut entries: Vec<Value> = Vec::new();
    let mut after = String::new();
    loop {
        let page = admin
            .get(&format!("/v1/admin/audit?limit={limit}{after}"))
            .is(200);
        let items = page["items"].as_array().expect("items");
        assert!(items.len() <= limit);
        entries.extend(items.iter().cloned());
        let Some(next) = page["next"].as_str() else {
            break;
        };
        assert_eq!(items.len(), limit, "a page in the middle is full");
        after = format!("&after={next}");
    }
    entries
}

/// Waits for an act of or on an account. Gives the latest such entry.
#[track_caller]
pub(super) fn noted(shop: &Shop, act: &str, account: Uuid) -> Value {
    eventually(&format!("{act} of {account}"), || {
        acts(shop)
            .into_iter()
            .find(|it| it["act"] == act && it["account"] == json!(account))
    })
}

fn everything_that_happens_to_an_account_is_noted(store: Store) {
    let shop = Shop::open(store);
    let visitor = shop.visitor();
    let alice = shop.member("alice");
    let id = alice.id();
    let person = alice.person.clone();
    for act in ["signed_up", "email_verified", "signed_in"] {
        noted(&shop, act, id);
    }
    person
        .asks_to_sign_in_with(&visitor, "not my password")
        .is_refused(401, "invalid_credentials");
    let failed = noted(&shop, "sign_in_failed", id);
    assert!(
        Uuid::parse_str(&text(&failed, "request_id")).is_ok(),
        "{failed}"
    );

    alice
        .caller
        .get("/v1/admin/audit")
        .is_refused(403, "forbidden");
    let denied = eventually("the denial is noted", || {
        acts(&shop)
            .into_iter()
            .find(|it| it["act"] == "access_denied")
    });
    assert_eq!(denied["actor"], json!(id), "{denied}");

    alice
        .changes_password(&person.password, "violet thunder 51")
        .is(204);
    noted(&shop, "password_changed", id);
    let thief = alice.clone();
    let alice = alice.refreshes();
    thief
        .asks_to_refresh()
        .is_refused(401, "invalid_refresh_token");
    noted(&shop, "refresh_reused", id);

    person.forgets(&visitor).is(202);
    let code = Outbox::of(&shop).code(&person.email, 2);
    person.resets(&visitor, &code, "violet thunder 52").is(204);
    noted(&shop, "password_reset", id);

    let person = person.with_password("violet thunder 52");
    person.signs_in(&visitor).signs_out();
    noted(&shop, "signed_out", id);

    let admin = shop.promote(&shop.member("ada"), "admin");
    let path = format!("/v1/admin/users/{id}");
    admin
        .caller
        .post_with(&format!("{path}/role"), &json!({"role": "seller"}))
        .is(200);
    let changed = noted(&shop, "role_changed", id);
    assert_eq!(changed["actor"], json!(admin.id()), "{changed}");
    let said = changed.to_string();
    assert!(
        said.contains("buyer") && said.contains("seller"),
        "before and after: {said}"
    );
    admin.caller.post(&format!("{path}/suspend")).is(204);
    admin.caller.post(&format!("{path}/reinstate")).is(204);
    for act in ["suspended", "reinstated"] {
        assert_eq!(noted(&shop, act, id)["actor"], json!(admin.id()));
    }

    let nobody = Person::new("nobody");
    for _ in 0..40 {
        nobody.asks_to_sign_in(&visitor);
    }
    eventually("the limit is noted", || {
        acts(&shop)
            .into_iter()
            .find(|it| it["act"] == "sign_in_limited")
    });

    let bob = shop.member("bob");
    bob.caller.delete("/v1/me").is(204);
    noted(&shop, "erased", bob.id());
    assert_eq!(alice.id(), id);

    let entries = acts(&shop);
    let times: Vec<String> = entries.iter().map(|it| text(it, "at")).collect();
    let mut sorted = times.clone();
    sorted.sort_by(|one, other| other.cmp(one));
    assert_eq!(times, sorted, "the latest first");
    let canaries = Canaries::new(&[
        &person.username,
        &person.email,
        &person.name,
        "violet thunder 52",
    ]);
    let log = json!(entries).to_string();
    assert_eq!(canaries.found_in(log.as_bytes()), Vec::<String>::new());
}

fn acts_on_products_stand_in_the_same_log(store: Store) {
    let shop = Shop::open(store);
    let seller = shop.promote(&shop.member("sally"), "seller");
    let new = json!({"name": "Chair", "description": "", "price": {"amount": 1, "currency": "KRW"}, "stock": 3});
    let chair = text(
        &seller.caller.post_with("/v1/admin/products", &new).is(201),
        "id",
    );
    let path = format!("/v1/admin/products/{chair}/stock");
    seller
        .caller
        .send(
            &ureq::http::Method::PUT,
            &path,
            None,
            Some(&json!({"total": 9})),
        )
        .is(200);
    shop.catches_up();
    let of_chair: Vec<Value> = acts(&shop)
        .into_iter()
        .filter(|it| it["product"] == json!(chair))
        .collect();
    assert_eq!(of_chair.len(), 2, "{of_chair:#?}");
    for entry in &of_chair {
        assert_eq!(entry["actor"], json!(seller.id()), "{entry}");
        assert!(!entry["after"].is_null(), "{entry}");
    }
    assert!(!of_chair[0]["before"].is_null(), "{}", of_chair[0]);
}

fn the_log_comes_in_pages_without_gaps_or_repeats(store: Store) {
    let shop = Shop::open(store);
    let members = ["ada", "bea", "cleo"].map(|it| shop.member(it));
    for member in &members {
        shop.product(Sale::of(1));
        member.person.signs_in(&shop.visitor()).signs_out();
    }
    shop.catches_up();
    noted(&shop, "signed_out", members[2].id());
    // Three each of five; each product was registered and scheduled.
    let whole = eventually("everything is noted", || {
        let whole = acts(&shop);
        (whole.len() >= 3 * 5 + 3 * 2).then_some(whole)
    });
    for limit in [1, 2, 3, 7, 20, whole.len()] {
        assert_eq!(pages(&shop, limit), whole, "by {limit}");
    }
    let admin = shop.admin();
    for query in [
        "limit=0",
        "limit=101",
        "limit=x",
        "after=x",
        "after=-1",
        "after=1%27",
        "page=1",
    ] {
        admin
            .get(&format!("/v1/admin/audit?{query}"))
            .is_refused(422, "invalid_values");
    }
}

fn the_log_survives_a_crash(store: Store) {
    let mut shop = Shop::open(store);
    let alice = shop.member("alice");
    shop.user_act(&alice, "suspend");
    noted(&shop, "suspended", alice.id());
    noted(&shop, "signed_in", alice.id());
    let before = acts(&shop);
    shop.kill_and_start();
    assert_eq!(acts(&shop), before);
    shop.user_act(&alice, "reinstate");
    noted(&shop, "reinstated", alice.id());
    assert_eq!(acts(&shop)[1..], before);
}

fn nothing_that_people_send_makes_an_entry_of_its_own(store: Store) {
    let mut shop = Shop::open_with(store, &["--log", "trace"]);
    let nasty = "x\u{1b}[31m ERROR planted-entry";
    // A header cannot hold a line break, so it is sent as bytes.
    let raw = |agent: &str| {
        let body = json!({"username": "al\r\nice ERROR planted-entry", "password": "a\u{1b}[2Jb"})
            .to_string();
        let request = format!(
            "POST /v1/auth/sign-in HTTP/1.1\r\nHost: shop\r\nUser-Agent: {agent}\r\nX-Request-Id: {agent}\r\n\
             X-Forwarded-For: {agent}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        crate::support::exchange(shop.url(), request.as_bytes())
    };
    for agent in [
        "a\tERROR planted-entry",
        "a ERROR planted-entry",
        "\u{1b}[31mERROR planted-entry",
        "a\rERROR planted-entry",
    ] {
        raw(agent);
    }
    let visitor = shop.visitor();
    let person = Person::new("alice");
    for username in [
        nasty,
        "a\r\nERROR planted-entry",
        "' OR 1=1; --",
        "\u{202e}evil planted-entry",
    ] {
        let body = json!({"username": username, "password": "x"});
        let answer = visitor.post_with("/v1/auth/sign-in", &body);
        assert!(matches!(answer.status, 401 | 422), "{answer}");
        let mut form = person.form();
        form["username"] = json!(username);
        visitor
            .post_with("/v1/auth/sign-up", &form)
            .is_refused(422, "invalid_values");
    }
    visitor
        .get("/v1/auth/username-available?username=a%0d%0aERROR%20planted-entry")
        .status
        .to_string();
    let log = json!(acts(&shop)).to_string();
    assert!(!log.contains("planted-entry"), "{log}");
    let said = shop.process().stderr.all();
    let planted = |line: &&String| line.contains("planted-entry") || line.contains('\u{1b}');
    let planted: Vec<&String> = said.iter().filter(planted).collect();
    assert_eq!(planted, Vec::<&String>::new());
}

fn an_entry_that_was_changed_or_taken_out_is_found_by_verify(store: Store) {
    let mut shop = Shop::open(store);
    let alice = shop.member("alice");
    for act in ["suspend", "reinstate", "suspend"] {
        shop.user_act(&alice, act);
    }
    noted(&shop, "signed_in", alice.id());
    shop.stop();
    shop.prove_books();
    let count = shop.rows("SELECT COUNT(*) FROM account_events")[0][0].clone();
    assert!(count.parse::<u32>().expect("a number") >= 6);
    let steps = [
        (
            "UPDATE account_events SET act = 'reinstated' WHERE sequence = 4",
            "entry 4",
        ),
        ("DELETE FROM account_events WHERE sequence = 3", "entry 3"),
    ];
    for (tampering, place) in steps {
        shop.sql(tampering);
        let (code, report) = shop.verify();
        let verdict = (code, &report["verdict"]);
        assert_eq!(
            verdict,
            (Some(1), &json!("wrong")),
            "{tampering}: {report:#}"
        );
        let faults = report["faults"].to_string();
        assert!(
            faults.contains("account events") && faults.contains(place),
            "{faults}"
        );
    }
    shop.leave_books_unproved();
}
