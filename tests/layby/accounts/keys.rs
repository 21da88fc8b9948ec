//! Keys are exchanged while the server runs, and nobody notices.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use crate::support::{Member, Shop, Store, on_each_database, run};

on_each_database! {
    sealed_data_stays_readable_while_its_key_is_exchanged,
    a_rotation_without_a_server_is_as_good,
    tokens_stay_good_when_a_new_key_signs,
}

fn file(shop: &Shop, name: &str) -> PathBuf {
    shop.data_dir().join("secrets").join(name)
}

/// The keys of a file, without remarks.
fn keys(shop: &Shop, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(file(shop, name)).expect("the keys");
    let keys = text
        .lines()
        .filter(|it| !it.trim().is_empty() && !it.starts_with('#'));
    keys.map(str::to_owned).collect()
}

fn leave(shop: &Shop, name: &str, lines: &[String]) {
    std::fs::write(file(shop, name), lines.join("\n") + "\n").expect("written");
}

#[track_caller]
fn rotate(shop: &Shop, words: &str) -> String {
    let output = run(&mut shop.command(&format!("keys rotate {words}")));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

fn people(shop: &Shop, count: usize) -> Vec<Member> {
    let people = (0..count).map(|number| {
        let member = shop.member("member");
        member.adds_address(&super::addresses::form(&format!("Recipient {number}")));
        member
    });
    people.collect()
}

#[track_caller]
fn is_whole(member: &Member, number: usize) {
    assert_eq!(member.me()["email"], json!(member.person.email));
    let book = member.caller.get("/v1/me/addresses").is(200);
    assert_eq!(
        book["items"][0]["recipient"],
        json!(format!("Recipient {number}"))
    );
}

fn sealed_data_stays_readable_while_its_key_is_exchanged(store: Store) {
    let mut shop = Shop::open(store);
    let members = people(&shop, 6);
    let old = keys(&shop, "seal.keys");
    let (done, looked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for (number, member) in members.iter().enumerate().take(3) {
            let (done, looked) = (&done, &looked);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    is_whole(member, number);
                    let phone = format!("010{:08}", rand::random::<u32>() % 100_000_000);
                    member
                        .caller
                        .patch("/v1/me", &json!({"phone": phone}))
                        .is(200);
                    looked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let rotated = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..3 {
                rotate(&shop, "");
                // People who come while keys are exchanged.
                shop.member("newcomer").me();
            }
        }));
        done.store(true, Ordering::Relaxed);
        rotated.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert!(looked.load(Ordering::Relaxed) > 10, "nobody was looking");
    let now = keys(&shop, "seal.keys");
    assert_eq!(now.len(), old.len() + 3);
    assert!(now.starts_with(&old));

    // The newest key is all that is needed.
    rotate(&shop, "");
    let newest = keys(&shop, "seal.keys").pop().expect("a key");
    shop.stop();
    leave(&shop, "seal.keys", std::slice::from_ref(&newest));
    shop.start();
    for (number, member) in members.iter().enumerate() {
        is_whole(&member.at(shop.url()), number);
        member.person.signs_in(&shop.visitor());
    }

    // And it is needed: what is told here is not that nothing was sealed.
    shop.stop();
    leave(&shop, "seal.keys", &old);
    for words in ["damaged", "key"] {
        shop.announce(words);
    }
    let mut process_starts = true;
    let mut command = shop.serve_command();
    command.env("LAYBY_LOG", "info");
    let mut attempt = crate::support::Process::start(command);
    let heard = attempt
        .stdout
        .wait_for(std::time::Duration::from_secs(30), |it| {
            it.starts_with("listening on ")
        });
    if let Some(line) = heard {
        let url = line.trim_start_matches("listening on ");
        members[0]
            .at(url)
            .caller
            .get("/v1/me")
            .is_refused(503, "personal_data_damaged");
    } else {
        process_starts = false;
    }
    attempt.kill();
    assert!(process_starts || attempt.stderr.all().join("\n").contains("key"));
    leave(&shop, "seal.keys", &[newest]);
    shop.start();
    is_whole(&members[1].at(shop.url()), 1);
}

fn a_rotation_without_a_server_is_as_good(store: Store) {
    let mut shop = Shop::open(store);
    let members = people(&shop, 3);
    shop.stop();
    rotate(&shop, "");
    let newest = keys(&shop, "seal.keys").pop().expect("a key");
    leave(&shop, "seal.keys", &[newest]);
    shop.start();
    for (number, member) in members.iter().enumerate() {
        is_whole(&member.at(shop.url()), number);
    }
}

fn tokens_stay_good_when_a_new_key_signs(store: Store) {
    let mut shop = Shop::open(store);
    let before = shop.member("alice");
    let first = keys(&shop, "token.keys");
    rotate(&shop, "--tokens");
    assert_eq!(keys(&shop, "token.keys").len(), first.len() + 1);
    before.is_let_in();
    let after = before.refreshes();
    after.is_let_in();
    let kid = |member: &Member| {
        member
            .caller
            .token()
            .split('.')
            .next()
            .expect("a header")
            .to_owned()
    };
    assert_ne!(kid(&before), kid(&after), "the new key signs");
    shop.kill_and_start();
    before.at(shop.url()).is_let_in();
    after.at(shop.url()).is_let_in();
    // Without the old key its tokens are good no longer.
    shop.stop();
    let newest = keys(&shop, "token.keys").pop().expect("a key");
    leave(&shop, "token.keys", &[newest]);
    shop.start();
    before.at(shop.url()).is_turned_away();
    after.at(shop.url()).is_let_in();
}
