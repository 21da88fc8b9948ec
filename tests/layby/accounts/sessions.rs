//! Sessions: one good refresh token at a time, and what ends them ends access at once.

use serde_json::json;

use crate::support::{
    Canaries, Member, Outbox, Person, Postbox, Shop, Store, at_once, eventually, on_each_database,
    text,
};

on_each_database! {
    a_refresh_token_is_good_once,
    a_refresh_token_that_comes_back_ends_its_session_and_says_so,
    twenty_refreshes_at_once_leave_at_most_one_session_alive,
    signing_out_ends_this_session_alone,
    signing_out_everywhere_ends_all,
    signing_out_with_anything_is_answered_alike,
    a_new_password_ends_all_sessions_but_the_one_that_set_it,
    a_reset_ends_all_sessions,
    a_suspension_ends_access_at_once_and_a_reinstatement_brings_no_token_back,
    a_new_role_ends_access_tokens_and_a_refresh_gives_one_with_it,
    what_has_ended_stays_ended_after_a_crash,
    sessions_survive_a_restart,
    a_session_that_has_expired_cannot_be_refreshed,
}

fn a_refresh_token_is_good_once(store: Store) {
    let shop = Shop::open(store);
    let first = shop.member("alice");
    let second = first.refreshes();
    assert_ne!(first.refresh_token, second.refresh_token);
    assert!(first.refresh_token.len() >= 22, "128 bits at least");
    // The access token of before is good until it expires.
    first.is_let_in();
    second.is_let_in();
    let third = second.refreshes().refreshes();
    third.is_let_in();
}

fn a_refresh_token_that_comes_back_ends_its_session_and_says_so(store: Store) {
    let shop = Shop::open(store);
    let first = shop.member("alice");
    let other = first.person.signs_in(&shop.visitor());
    let second = first.refreshes();
    let third = second.refreshes();
    let letters = Outbox::of(&shop).letters_to(&first.person.email).len();
    for member in [&first, &second, &third] {
        member
            .asks_to_refresh()
            .is_refused(401, "invalid_refresh_token");
        for ended in [&first, &second, &third] {
            ended.is_turned_away();
        }
    }
    // Another sign-in of the same person is none of the thief's business.
    other.is_let_in();
    other.refreshes().is_let_in();
    Outbox::of(&shop).letters(&first.person.email, letters + 1);
    eventually("the reuse is in the audit log", || {
        super::audit::acts(&shop)
            .iter()
            .any(|it| it["act"] == "refresh_reused" && it["account"] == json!(first.id()))
            .then_some(())
    });
    first.person.signs_in(&shop.visitor()).is_let_in();
}

fn twenty_refreshes_at_once_leave_at_most_one_session_alive(store: Store) {
    let shop = Shop::open(store);
    for _ in 0..3 {
        let member = shop.member("alice");
        let answers = at_once(&[(); 20], |()| member.asks_to_refresh());
        let good: Vec<_> = answers.iter().filter(|it| it.status == 200).collect();
        assert!(good.len() <= 1, "{} refreshes were good", good.len());
        for answer in answers.iter().filter(|it| it.status != 200) {
            answer.is_refused(401, "invalid_refresh_token");
        }
        // Nineteen of them were a second use.
        for answer in good {
            let tokens = answer.json();
            let next = Member {
                refresh_token: text(&tokens, "refresh_token"),
                caller: member.caller.with_token(text(&tokens, "access_token")),
                person: member.person.clone(),
            };
            next.asks_to_refresh()
                .is_refused(401, "invalid_refresh_token");
            next.is_turned_away();
        }
        member.is_turned_away();
    }
}

fn signing_out_ends_this_session_alone(store: Store) {
    let shop = Shop::open(store);
    let phone = shop.member("alice");
    let desk = phone.person.signs_in(&shop.visitor());
    let bob = shop.member("bob");
    let phone = phone.refreshes();
    phone.signs_out();
    phone.is_turned_away();
    phone
        .asks_to_refresh()
        .is_refused(401, "invalid_refresh_token");
    desk.is_let_in();
    desk.refreshes().is_let_in();
    bob.is_let_in();
    // Once more changes nothing.
    phone.signs_out();
    desk.is_let_in();
}

fn signing_out_everywhere_ends_all(store: Store) {
    let shop = Shop::open(store);
    let phone = shop.member("alice");
    let desk = phone.person.signs_in(&shop.visitor());
    let bob = shop.member("bob");
    phone.signs_out_everywhere();
    for ended in [&phone, &desk] {
        ended.is_turned_away();
        ended
            .asks_to_refresh()
            .is_refused(401, "invalid_refresh_token");
    }
    bob.is_let_in();
    bob.refreshes().is_let_in();
    phone.person.signs_in(&shop.visitor()).is_let_in();
}

fn signing_out_with_anything_is_answered_alike(store: Store) {
    let shop = Shop::open(store);
    let member = shop.member("alice");
    let used = member.clone();
    let member = member.refreshes();
    for token in ["", "nonsense", &"A".repeat(43), member.caller.token()] {
        let body = json!({"refresh_token": token});
        let answer = shop.visitor().post_with("/v1/auth/sign-out", &body);
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{token}");
    }
    member.is_let_in();
    // A token that was used up says that somebody else may have it: what it belongs to is at an end either way.
    used.signs_out();
    for body in [
        json!({}),
        json!({"refresh_token": 7}),
        json!({"refresh_token": null}),
        json!({"refresh_token": "x", "everywhere": "yes"}),
    ] {
        let answer = shop.visitor().post_with("/v1/auth/sign-out", &body);
        answer.is_refused(422, "invalid_values");
    }
}

fn a_new_password_ends_all_sessions_but_the_one_that_set_it(store: Store) {
    let mut shop = Shop::open(store);
    let here = shop.member("alice");
    let there = here.person.signs_in(&shop.visitor());
    let old = here.person.password.clone();
    here.changes_password("not my password", "violet thunder 51")
        .is_refused(403, "wrong_password");
    there.is_let_in();
    here.changes_password(&old, "violet thunder 51").is(204);
    there.is_turned_away();
    there
        .asks_to_refresh()
        .is_refused(401, "invalid_refresh_token");
    here.is_let_in();
    let here = here.refreshes();
    shop.kill_and_start();
    let (here, there) = (here.at(shop.url()), there.at(shop.url()));
    there.is_turned_away();
    here.is_let_in();
    here.refreshes().is_let_in();
    let person = here.person.clone();
    person
        .asks_to_sign_in(&shop.visitor())
        .is_refused(401, "invalid_credentials");
    person
        .with_password("violet thunder 51")
        .signs_in(&shop.visitor())
        .is_let_in();
}

fn a_reset_ends_all_sessions(store: Store) {
    let mut shop = Shop::open(store);
    let here = shop.member("alice");
    let there = here.person.signs_in(&shop.visitor());
    let person = here.person.clone();
    person.forgets(&shop.visitor()).is(202);
    here.is_let_in();
    let code = Outbox::of(&shop).code(&person.email, 2);
    person
        .resets(&shop.visitor(), &code, "violet thunder 51")
        .is(204);
    for ended in [&here, &there] {
        ended.is_turned_away();
        ended
            .asks_to_refresh()
            .is_refused(401, "invalid_refresh_token");
    }
    person
        .asks_to_sign_in(&shop.visitor())
        .is_refused(401, "invalid_credentials");
    let person = person.with_password("violet thunder 51");
    let fresh = person.signs_in(&shop.visitor());
    shop.kill_and_start();
    here.at(shop.url()).is_turned_away();
    fresh.at(shop.url()).is_let_in();
}

fn a_suspension_ends_access_at_once_and_a_reinstatement_brings_no_token_back(store: Store) {
    let mut shop = Shop::open(store);
    let member = shop.member("alice");
    let bob = shop.member("bob");
    shop.user_act(&member, "suspend");
    member.is_turned_away();
    member
        .asks_to_refresh()
        .is_refused(401, "invalid_refresh_token");
    let person = member.person.clone();
    person
        .asks_to_sign_in(&shop.visitor())
        .is_refused(403, "account_suspended");
    person
        .asks_to_sign_in_with(&shop.visitor(), "not my password")
        .is_refused(401, "invalid_credentials");
    bob.is_let_in();
    shop.kill_and_start();
    let member = member.at(shop.url());
    member.is_turned_away();
    person
        .asks_to_sign_in(&shop.visitor())
        .is_refused(403, "account_suspended");
    // A reset is no way around it.
    person.forgets(&shop.visitor()).is(202);
    shop.user_act(&member, "reinstate");
    member.is_turned_away();
    person.signs_in(&shop.visitor()).is_let_in();
    member.is_turned_away();
}

fn a_new_role_ends_access_tokens_and_a_refresh_gives_one_with_it(store: Store) {
    let mut shop = Shop::open(store);
    let member = shop.member("sally");
    member
        .caller
        .get("/v1/admin/orders")
        .is_refused(403, "forbidden");
    shop.set_role(&member, "seller").is(200);
    member.is_turned_away();
    let seller = member.refreshes();
    seller.caller.get("/v1/admin/orders").is(200);
    assert_eq!(seller.me()["role"], "seller");
    shop.set_role(&seller, "buyer").is(200);
    seller
        .caller
        .get("/v1/admin/orders")
        .is_refused(401, "unauthorized");
    let buyer = seller.refreshes();
    shop.kill_and_start();
    seller
        .at(shop.url())
        .caller
        .get("/v1/admin/orders")
        .is_refused(401, "unauthorized");
    buyer
        .at(shop.url())
        .caller
        .get("/v1/admin/orders")
        .is_refused(403, "forbidden");
}

fn what_has_ended_stays_ended_after_a_crash(store: Store) {
    let mut shop = Shop::open(store);
    let names = ["out", "everywhere", "reused", "changed", "suspended"];
    let people = names.map(|name| shop.member(name));
    let [out, everywhere, reused, changed, suspended] = &people;
    out.signs_out();
    everywhere.signs_out_everywhere();
    reused.refreshes();
    reused
        .asks_to_refresh()
        .is_refused(401, "invalid_refresh_token");
    let other = changed.person.signs_in(&shop.visitor());
    other
        .changes_password(&changed.person.password, "violet thunder 51")
        .is(204);
    shop.user_act(suspended, "suspend");
    for round in 0..3 {
        for (member, name) in people.iter().zip(names) {
            let member = member.at(shop.url());
            member.is_turned_away();
            let answer = member.asks_to_refresh();
            assert_eq!(answer.code(), "invalid_refresh_token", "{name} in {round}");
        }
        shop.kill_and_start();
    }
}

fn sessions_survive_a_restart(store: Store) {
    let mut shop = Shop::open(store);
    let member = shop.member("alice");
    shop.kill_and_start();
    let member = member.at(shop.url());
    member.is_let_in();
    let member = member.refreshes();
    shop.stop();
    shop.start();
    member.at(shop.url()).refreshes().is_let_in();
}

fn a_session_that_has_expired_cannot_be_refreshed(store: Store) {
    let shop = Shop::open(store);
    let member = shop.member("alice");
    let other = member.person.signs_in(&shop.visitor());
    shop.sql("UPDATE sessions SET expires_at = 1");
    for session in [&member, &other] {
        session
            .asks_to_refresh()
            .is_refused(401, "invalid_refresh_token");
    }
    // Time has ended it, not a thief: nothing else is taken away, and nobody is alarmed.
    member.person.signs_in(&shop.visitor()).refreshes();
    let reused = super::audit::acts(&shop)
        .iter()
        .filter(|it| it["act"] == "refresh_reused")
        .count();
    assert_eq!(reused, 0);
}

#[test]
fn a_refresh_token_is_not_kept_as_it_is() {
    let mut shop = Shop::open(Store::Sqlite);
    let member = shop.member("alice");
    shop.stop();
    let tokens = Canaries::new(&[&member.refresh_token, member.caller.token()]);
    assert_eq!(
        tokens.found_below(shop.scratch(), &[]),
        Vec::<String>::new()
    );
}

#[test]
fn a_person_may_have_many_sessions() {
    let shop = Shop::open(Store::Sqlite);
    let person = Person::new("alice");
    person.joins(&shop.visitor(), &Outbox::of(&shop));
    let sessions: Vec<Member> = (0..12).map(|_| person.signs_in(&shop.visitor())).collect();
    for session in &sessions {
        session.refreshes().is_let_in();
    }
}
