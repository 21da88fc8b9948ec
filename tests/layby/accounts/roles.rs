//! Buyers, sellers and admins: who may do what, and that somebody is always left who may change it.

use serde_json::json;
use uuid::Uuid;

use crate::support::{Sale, Shop, Store, at_once, on_each_database, text};

on_each_database! {
    a_seller_runs_the_shop_and_no_more,
    an_admin_gives_and_takes_roles,
    the_last_admin_stays,
    of_two_admins_who_leave_at_once_one_stays,
    a_suspended_admin_does_not_count,
    nobody_makes_themselves_more_than_they_are,
}

fn a_seller_runs_the_shop_and_no_more(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let seller = shop.promote(&shop.member("sally"), "seller");
    let new = json!({"name": "Chair", "description": "", "price": {"amount": 1, "currency": "KRW"}, "stock": 3});
    let chair = text(
        &seller.caller.post_with("/v1/admin/products", &new).is(201),
        "id",
    );
    for path in [
        "/v1/admin/orders".to_owned(),
        format!("/v1/admin/products/{lamp}/sale"),
    ] {
        seller.caller.get(&path).is(200);
    }
    seller
        .caller
        .patch(
            &format!("/v1/admin/products/{chair}"),
            &json!({"name": "Stool"}),
        )
        .is(200);
    seller
        .caller
        .delete(&format!("/v1/admin/products/{chair}"))
        .is(204);
    for path in [
        "/v1/admin/audit".to_owned(),
        format!("/v1/admin/users/{}/role", seller.id()),
    ] {
        seller.caller.get(&path).is_refused(403, "forbidden");
    }
    for act in ["suspend", "reinstate"] {
        let path = format!("/v1/admin/users/{}/{act}", seller.id());
        seller.caller.post(&path).is_refused(403, "forbidden");
    }
    let path = format!("/v1/admin/users/{}/role", seller.id());
    seller
        .caller
        .post_with(&path, &json!({"role": "admin"}))
        .is_refused(403, "forbidden");
    // A seller buys like anybody else, and sees no orders of others as their own.
    let order = seller.caller.hold(&lamp, 1);
    let other = shop.buyer().hold(&lamp, 1);
    seller.caller.order(&order);
    seller
        .caller
        .get(&format!("/v1/orders/{}", text(&other, "id")))
        .is_refused(404, "not_found");
}

fn an_admin_gives_and_takes_roles(store: Store) {
    let mut shop = Shop::open(store);
    let admin = shop.promote(&shop.member("ada"), "admin");
    let bob = shop.member("bob");
    let path = format!("/v1/admin/users/{}/role", bob.id());
    let role = |shop: &Shop| {
        let answer = admin.at(shop.url()).caller.get(&path).is(200);
        text(&answer, "role")
    };
    assert_eq!(role(&shop), "buyer");
    for (given, status) in [
        ("seller", 200),
        ("admin", 200),
        ("buyer", 200),
        ("buyer", 200),
    ] {
        admin
            .caller
            .post_with(&path, &json!({"role": given}))
            .is(status);
        assert_eq!(role(&shop), given);
    }
    for bad in [
        json!({"role": "root"}),
        json!({"role": "Admin"}),
        json!({"role": 1}),
        json!({}),
        json!({"role": null}),
    ] {
        admin
            .caller
            .post_with(&path, &bad)
            .is_refused(422, "invalid_values");
    }
    for id in [
        Uuid::now_v7().to_string(),
        Uuid::nil().to_string(),
        "1".into(),
    ] {
        let path = format!("/v1/admin/users/{id}");
        admin
            .caller
            .get(&format!("{path}/role"))
            .is_refused(404, "not_found");
        admin
            .caller
            .post_with(&format!("{path}/role"), &json!({"role": "seller"}))
            .is_refused(404, "not_found");
        for act in ["suspend", "reinstate"] {
            admin
                .caller
                .post(&format!("{path}/{act}"))
                .is_refused(404, "not_found");
        }
    }
    admin
        .caller
        .post_with(&path, &json!({"role": "seller"}))
        .is(200);
    shop.kill_and_start();
    assert_eq!(role(&shop), "seller");
}

fn the_last_admin_stays(store: Store) {
    let mut shop = Shop::closed(store, &[]);
    let root = super::keeper(&shop, "root");
    shop.start();
    let admin = root.signs_in(&shop.visitor());
    let path = format!("/v1/admin/users/{}", admin.id());
    let steps_down = |to: &str| {
        admin
            .caller
            .post_with(&format!("{path}/role"), &json!({"role": to}))
    };
    for role in ["buyer", "seller"] {
        steps_down(role).is_refused(409, "last_admin");
    }
    admin
        .caller
        .post(&format!("{path}/suspend"))
        .is_refused(409, "last_admin");
    admin.caller.delete("/v1/me").is_refused(409, "last_admin");
    steps_down("admin").is(200);
    let admin = admin.person.signs_in(&shop.visitor());
    admin.caller.get("/v1/admin/audit").is(200);

    let second = shop.member("second");
    let second_path = format!("/v1/admin/users/{}/role", second.id());
    admin
        .caller
        .post_with(&second_path, &json!({"role": "admin"}))
        .is(200);
    let second = second.refreshes();
    admin
        .caller
        .post_with(&format!("{path}/role"), &json!({"role": "buyer"}))
        .is(200);
    admin
        .caller
        .get("/v1/admin/audit")
        .is_refused(401, "unauthorized");
    second.caller.delete("/v1/me").is_refused(409, "last_admin");
    second.caller.get("/v1/admin/audit").is(200);
}

fn of_two_admins_who_leave_at_once_one_stays(store: Store) {
    for act in ["role", "suspend", "delete"] {
        let mut shop = Shop::closed(store, &[]);
        let people = [super::keeper(&shop, "ada"), super::keeper(&shop, "bea")];
        shop.start();
        let admins = people.map(|it| it.signs_in(&shop.visitor()));
        let answers = at_once(&admins, |admin| {
            let path = format!("/v1/admin/users/{}", admin.id());
            match act {
                "role" => admin
                    .caller
                    .post_with(&format!("{path}/role"), &json!({"role": "buyer"})),
                "suspend" => admin.caller.post(&format!("{path}/suspend")),
                _ => admin.caller.delete("/v1/me"),
            }
        });
        let done = answers.iter().filter(|it| it.status < 300).count();
        assert_eq!(done, 1, "{act}: {} and {}", answers[0], answers[1]);
        let refused = answers.iter().find(|it| it.status >= 300).expect("one");
        refused.is_refused(409, "last_admin");
        let left = shop.rows(
            "SELECT COUNT(*) FROM accounts WHERE role = 'admin' AND suspended_at IS NULL AND erased_at IS NULL",
        );
        assert_eq!(left, [["1"]], "{act}");
    }
}

fn a_suspended_admin_does_not_count(store: Store) {
    let mut shop = Shop::closed(store, &[]);
    let people = [super::keeper(&shop, "ada"), super::keeper(&shop, "bea")];
    shop.start();
    let [ada, bea] = people.map(|it| it.signs_in(&shop.visitor()));
    let path = |id: Uuid, act: &str| format!("/v1/admin/users/{id}/{act}");
    ada.caller.post(&path(bea.id(), "suspend")).is(204);
    bea.is_turned_away();
    ada.caller
        .post(&path(ada.id(), "suspend"))
        .is_refused(409, "last_admin");
    ada.caller.delete("/v1/me").is_refused(409, "last_admin");
    ada.caller.post(&path(bea.id(), "suspend")).is(204);
    ada.caller.post(&path(bea.id(), "reinstate")).is(204);
    ada.caller.post(&path(bea.id(), "reinstate")).is(204);
    let bea = bea.person.signs_in(&shop.visitor());
    bea.caller.post(&path(ada.id(), "suspend")).is(204);
    ada.is_turned_away();
}

fn nobody_makes_themselves_more_than_they_are(store: Store) {
    let shop = Shop::open(store);
    let bob = shop.member("bob");
    let path = format!("/v1/admin/users/{}/role", bob.id());
    bob.caller.get(&path).is_refused(403, "forbidden");
    for body in [
        json!({"role": "admin"}),
        json!({"nonsense": 1}),
        json!(null),
    ] {
        bob.caller
            .post_with(&path, &body)
            .is_refused(403, "forbidden");
    }
    let with_role = json!({"name": "Bob", "role": "admin"});
    bob.caller
        .patch("/v1/me", &with_role)
        .is_refused(422, "invalid_values");
    let with_headers = bob
        .caller
        .with_header("X-User-Id", Uuid::nil().to_string())
        .with_header("X-Role", "admin");
    with_headers
        .get("/v1/admin/orders")
        .is_refused(403, "forbidden");
    assert_eq!(
        text(&with_headers.get("/v1/me").is(200), "id"),
        bob.id().to_string()
    );
    assert_eq!(bob.refreshes().me()["role"], "buyer");
}
