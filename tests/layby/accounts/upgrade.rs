//! A data directory of the release before accounts: its users can still buy, and its books are as they were.

use serde_json::json;

use crate::support::{Sale, Shop, Store, on_each_database, run, text};

on_each_database! {
    users_of_before_are_accounts_now,
    an_account_without_a_name_has_an_address_book,
}

/// The tables that came with accounts.
const NEW_TABLES: [&str; 7] = [
    "accounts",
    "sessions",
    "codes",
    "addresses",
    "address_versions",
    "account_events",
    "mail_outbox",
];

const USERS_MYSQL: &str = "CREATE TABLE users (id BINARY(16) NOT NULL PRIMARY KEY, role VARCHAR(16) NOT NULL, \
     username_index BINARY(32), password_hash VARCHAR(255), created_at BIGINT NOT NULL, \
     UNIQUE KEY users_by_username (username_index), KEY users_by_role (role)) \
     ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
const USERS_SQLITE: &str = "CREATE TABLE users (id BLOB NOT NULL PRIMARY KEY, role VARCHAR(16) NOT NULL, \
     username_index BLOB, password_hash VARCHAR(255), created_at BIGINT NOT NULL) WITHOUT ROWID";

fn users_of_before_are_accounts_now(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(10));
    let (buyer, admin) = (shop.buyer(), shop.admin());
    let order = buyer.hold(&lamp, 1);
    buyer.pay(&order, "card_ok").is(201);
    shop.catches_up();
    shop.stop();

    // Back to what the release before left.
    for table in NEW_TABLES {
        shop.sql(&format!("DROP TABLE {table}"));
    }
    shop.sql("ALTER TABLE audit_entries RENAME TO audit_log");
    shop.sql("CREATE TABLE projection (id BIGINT NOT NULL PRIMARY KEY, position BIGINT NOT NULL)");
    shop.sql("INSERT INTO projection SELECT 1, position FROM followers WHERE name = 'projection'");
    shop.sql("DROP TABLE followers");
    shop.sql("DROP TABLE in_hand");
    shop.sql("DELETE FROM _sqlx_migrations WHERE version >= 80");
    shop.sql(if store == Store::Sqlite {
        USERS_SQLITE
    } else {
        USERS_MYSQL
    });
    for (id, role) in [(buyer.id, "buyer"), (admin.id, "admin")] {
        let id = id.simple();
        shop.sql(&format!(
            "INSERT INTO users (id, role, created_at) VALUES (X'{id}', '{role}', 1700000000000000)"
        ));
    }

    for _ in 0..2 {
        shop.start();
        let (buyer, admin) = (buyer.at(shop.url()), admin.at(shop.url()));
        assert_eq!(buyer.state(&order), "paid");
        let me = buyer.get("/v1/me").is(200);
        assert_eq!(
            (text(&me, "id"), text(&me, "role")),
            (buyer.id.to_string(), "buyer".into())
        );
        assert_eq!(me["created_at"], "2023-11-14T22:13:20.000000Z");
        for field in ["username", "email", "name", "phone"] {
            assert_eq!(me[field], json!(null));
        }
        let log = admin.get("/v1/admin/audit").is(200);
        let acts: Vec<String> = log["items"]
            .as_array()
            .expect("items")
            .iter()
            .map(|it| text(it, "act"))
            .collect();
        assert!(acts.iter().any(|act| act == "registered"), "{acts:?}");
        let path = format!("/v1/admin/users/{}/role", buyer.id);
        assert_eq!(admin.get(&path).is(200)["role"], "buyer");
        shop.member("alice").is_let_in();
        shop.stop();
    }
    let left = shop.rows("SELECT COUNT(*) FROM accounts WHERE created_at = 1700000000000000");
    assert_eq!(left, [["2"]]);
    shop.start();
    assert_eq!(shop.units(&lamp), (9, 0, 1));
}

fn an_account_without_a_name_has_an_address_book(store: Store) {
    let mut shop = Shop::closed(store, &[]);
    let file = shop.scratch().join("tokens.csv");
    let mut seed = shop.command("seed");
    let output = run(seed.args(["--buyers", "1", "--out"]).arg(&file));
    assert!(output.status.success(), "{output:?}");
    shop.start();
    let tokens = std::fs::read_to_string(&file).expect("the tokens");
    let (_, token) = tokens.trim().split_once(',').expect("user_id,token");
    let buyer = shop.visitor().with_token(token);
    assert_eq!(buyer.get("/v1/me").is(200)["username"], json!(null));
    buyer
        .post_with("/v1/me/addresses", &super::addresses::form("Seeded"))
        .is(201);
}
