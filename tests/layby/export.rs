//! The orders of a sale as a file.

use std::collections::HashMap;

use serde_json::{Value, json};
use ureq::http::Method;

use crate::support::{
    Answer, Caller, Key, Member, Sale, Shop, Store, at_once, line, on_each_database, text,
};

on_each_database! {
    every_order_of_a_sale_is_a_row,
    where_orders_go_is_for_admins_alone_and_noted,
    nobody_is_known_any_more_who_was_erased,
    no_cell_runs_in_a_spreadsheet,
    a_file_of_thousands_of_orders_is_sent_as_it_is_made,
    a_file_that_cannot_be_finished_is_broken_off,
    a_product_that_nobody_registered_has_no_file,
}

fn path(product: &str) -> String {
    format!("/v1/admin/products/{product}/sale/orders.csv")
}

/// The rows of a file, each by the names of its columns.
#[track_caller]
fn rows(answer: &Answer) -> Vec<HashMap<String, String>> {
    assert_eq!(answer.status, 200, "{answer}");
    let mut file = csv::Reader::from_reader(answer.body.as_slice());
    file.deserialize().map(|row| row.expect("a row")).collect()
}

#[track_caller]
fn bought_with_address(shop: &Shop, member: &Member, product: &str, recipient: &str) -> Value {
    let address = member.adds_address(&crate::accounts::addresses::form(recipient));
    let place = json!({"lines": [line(product, 1)], "address_id": address["id"]});
    let caller = &member.caller;
    let order = caller
        .post_under(&Key::fresh(), "/v1/orders", &place)
        .is(201);
    caller.pay(&order, "card_ok").is(201);
    shop.catches_up();
    order
}

fn every_order_of_a_sale_is_a_row(store: Store) {
    let shop = Shop::open(store);
    let (lamp, chair) = (shop.product(Sale::of(9)), shop.product(Sale::of(9)));
    let (alice, admin) = (shop.buyer(), shop.admin());
    let held = alice.hold(&lamp, 2);
    let both = alice.place(&[line(&chair, 1), line(&lamp, 3)]).is(201);
    alice.hold(&chair, 1);
    let returned = shop.delivered(&alice, &lamp);
    alice
        .send_back(&returned, "too \"bright\",\n\nreally; 밝아요")
        .is(202);
    admin.accept_return(&returned).is(200);
    shop.catches_up();

    let answer = admin.get(&path(&lamp));
    assert_eq!(
        answer.header("content-type"),
        Some("text/csv; charset=utf-8")
    );
    let name = format!("attachment; filename=\"orders-{lamp}.csv\"");
    assert_eq!(answer.header("content-disposition"), Some(name.as_str()));
    let rows = rows(&answer);
    let ids: Vec<&String> = rows.iter().map(|row| &row["order_id"]).collect();
    assert_eq!(
        ids,
        [
            &text(&held, "id"),
            &text(&both, "id"),
            &text(&returned, "id")
        ]
    );

    let row = &rows[1];
    for (column, value) in [
        ("state", "held"),
        ("quantity", "3"),
        ("unit_amount", "39000"),
        ("amount", "117000"),
        ("order_total", "156000"),
        ("currency", "KRW"),
        ("payment_method", ""),
        ("refund", ""),
        ("shipped_at", ""),
        ("restocked", ""),
    ] {
        assert_eq!(row[column], value, "{column}");
    }
    assert_eq!(row["placed_at"], text(&both, "placed_at"));
    assert_eq!(row["buyer_id"], alice.id.to_string());
    let row = &rows[2];
    let seen = alice.order(&returned);
    for (column, value) in [
        ("state", "returned"),
        ("payment_method", "card_ok"),
        ("carrier", "Korea Post"),
        ("tracking_number", "RR1"),
        ("return_reason", "too \"bright\",\n\nreally; 밝아요"),
        ("restocked", "false"),
    ] {
        assert_eq!(row[column], value, "{column}");
    }
    assert_eq!(row["return_until"], text(&seen["shipment"], "return_until"));
    assert_eq!(row["restock_at"], text(&seen["return"], "restock_at"));
    let nothing = shop.product(Sale::of(1));
    let empty = admin.get(&path(&nothing));
    assert_eq!(
        empty.body.iter().filter(|it| **it == b'\n').count(),
        1,
        "{empty}"
    );
}

fn where_orders_go_is_for_admins_alone_and_noted(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(3));
    let alice = shop.member("alice");
    bought_with_address(&shop, &alice, &lamp, "Alice Recipient");
    let seller = shop.promote(&shop.member("sally"), "seller");
    let admin = shop.promote(&shop.member("ada"), "admin");
    let exports = || {
        let log = crate::accounts::audit::acts(&shop);
        let exports = log.into_iter().filter(|it| it["act"] == "orders_exported");
        exports.collect::<Vec<_>>()
    };

    let of_seller = seller.caller.get(&path(&lamp));
    let said = String::from_utf8_lossy(&of_seller.body).into_owned();
    for personal in ["recipient", "email", "phone", "Alice", &alice.person.email] {
        assert!(!said.contains(personal), "{personal} in {said}");
    }
    assert_eq!(rows(&of_seller).len(), 1);
    assert_eq!(exports(), Vec::<Value>::new());

    let row = &rows(&admin.caller.get(&path(&lamp)))[0];
    assert_eq!(row["recipient"], "Alice Recipient");
    assert_eq!(row["email"], alice.person.email);
    assert_eq!(
        (row["country"].as_str(), row["postal_code"].as_str()),
        ("KR", "04524")
    );
    let noted = exports();
    assert_eq!(noted.len(), 1, "{noted:?}");
    assert_eq!(noted[0]["actor"], json!(admin.id()));
    assert_eq!(noted[0]["detail"], json!(format!("product {lamp}")));

    alice.caller.get(&path(&lamp)).is_refused(403, "forbidden");
    shop.visitor()
        .get(&path(&lamp))
        .is_refused(401, "unauthorized");
    assert_eq!(exports().len(), 1);
}

fn nobody_is_known_any_more_who_was_erased(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(3));
    let [alice, bob] = ["alice", "bob"].map(|it| shop.member(it));
    bought_with_address(&shop, &alice, &lamp, "Alice Recipient");
    bought_with_address(&shop, &bob, &lamp, "Bob Recipient");
    // Somebody of whom nothing was ever known.
    shop.bought(&shop.buyer(), &lamp);
    shop.catches_up();
    alice.caller.delete("/v1/me").is(204);
    let rows = rows(&shop.admin().get(&path(&lamp)));
    let of = |column: &str| {
        rows.iter()
            .map(|row| row[column].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("recipient"), ["", "Bob Recipient", ""]);
    assert_eq!(
        of("email"),
        ["".to_owned(), bob.person.email.clone(), "".to_owned()]
    );
    assert_eq!(of("state"), ["paid", "paid", "paid"]);
    assert_eq!(rows[0]["buyer_id"], alice.id().to_string());
}

fn no_cell_runs_in_a_spreadsheet(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(1));
    let (mallory, admin) = (shop.member("mallory"), shop.admin());
    let order = bought_with_address(&shop, &mallory, &lamp, "=HYPERLINK(\"http://evil.test\")");
    admin.ship(&order, "@Post", "-1+1").is(200);
    admin.deliver(&order).is(200);
    mallory
        .caller
        .send_back(&order, "+1;cmd|' /C calc'!A0")
        .is(202);
    shop.catches_up();
    let answer = admin.get(&path(&lamp));
    let row = &rows(&answer)[0];
    for (column, shown) in [
        ("recipient", "'=HYPERLINK(\"http://evil.test\")"),
        ("carrier", "'@Post"),
        ("tracking_number", "'-1+1"),
        ("return_reason", "'+1;cmd|' /C calc'!A0"),
    ] {
        assert_eq!(row[column], shown, "{column}");
    }
    let all = row.values().chain(row.keys());
    for cell in all {
        assert!(
            !cell.starts_with(['=', '+', '-', '@', '\t', '\r']),
            "{cell}"
        );
    }
}

/// Places `each` orders for every buyer, all buyers at once.
fn crowd(shop: &Shop, product: &str, buyers: &[Caller], each: usize) {
    at_once(buyers, |buyer| {
        for _ in 0..each {
            buyer.hold(product, 1);
        }
    });
    shop.catches_up();
}

fn a_file_of_thousands_of_orders_is_sent_as_it_is_made(store: Store) {
    let shop = Shop::open_with(store, &["--open-orders-max", "1000"]);
    let lamp = shop.product(Sale::of(10_000));
    crowd(&shop, &lamp, &shop.buyers(8), 300);
    let answer = shop.admin().get(&path(&lamp));
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    let rows = rows(&answer);
    assert_eq!(rows.len(), 2_400);
    let sequences: Vec<u64> = rows
        .iter()
        .map(|row| row["sequence"].parse().expect("a number"))
        .collect();
    assert!(
        sequences.is_sorted_by(|one, next| one < next),
        "in order, each once"
    );
    // A page that is exactly full is not the last.
    let chair = shop.product(Sale::of(10_000));
    crowd(&shop, &chair, &shop.buyers(4), 50);
    assert_eq!(self::rows(&shop.admin().get(&path(&chair))).len(), 200);
}

fn a_file_that_cannot_be_finished_is_broken_off(store: Store) {
    let mut shop = Shop::open(store);
    shop.announce("personal data");
    let lamp = shop.product(Sale::of(1_000));
    crowd(&shop, &lamp, &shop.buyers(5), 50);
    let alice = shop.member("alice");
    bought_with_address(&shop, &alice, &lamp, "Alice Recipient");
    let admin = shop.admin();
    assert_eq!(rows(&admin.get(&path(&lamp))).len(), 251);

    // What is in the second page can no longer be read.
    let id = alice.id().simple().to_string();
    shop.sql(&format!(
        "UPDATE address_versions SET content = X'00' WHERE account = X'{id}'"
    ));
    let broken = admin.try_send(&Method::GET, &path(&lamp), None, None);
    assert!(
        broken.is_err(),
        "a part was taken for the whole: {broken:?}"
    );
    // Whoever needs nothing of it gets the whole file.
    let seller = shop.promote(&shop.member("sally"), "seller");
    assert_eq!(rows(&seller.caller.get(&path(&lamp))).len(), 251);

    // On the first page it is told with a status.
    let chair = shop.product(Sale::of(10));
    let order = json!({"lines": [line(&chair, 1)], "address_id": null});
    alice
        .caller
        .post_under(&Key::fresh(), "/v1/orders", &order)
        .is(201);
    shop.sql(&format!(
        "UPDATE accounts SET email = X'00' WHERE id = X'{id}'"
    ));
    shop.catches_up();
    admin
        .get(&path(&chair))
        .is_refused(503, "personal_data_damaged");
}

fn a_product_that_nobody_registered_has_no_file(store: Store) {
    let shop = Shop::open(store);
    for id in [uuid::Uuid::now_v7().to_string(), "nonsense".into()] {
        shop.admin().get(&path(&id)).is_refused(404, "not_found");
    }
    // Whoever only looks whether there is one takes nothing away.
    let lamp = shop.product(Sale::of(1));
    let head = shop.admin().send(&Method::HEAD, &path(&lamp), None, None);
    assert_eq!((head.status, head.body.len()), (200, 0), "{head}");
    let log = crate::accounts::audit::acts(&shop);
    assert!(log.iter().all(|it| it["act"] != "orders_exported"));
}
