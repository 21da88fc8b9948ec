//! Forged, exchanged and outdated tokens, and the keys that they are signed with.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::{Shop, Store, text};

/// The primary of the keys that sign tokens: its id and its bytes.
pub(super) fn signing_key(shop: &Shop) -> (String, Vec<u8>) {
    let path = shop.data_dir().join("secrets").join("token.keys");
    let file = std::fs::read_to_string(path).expect("the keys");
    let is_key = |line: &&str| !line.trim().is_empty() && !line.starts_with('#');
    let primary = file.lines().rfind(is_key).expect("a key");
    let (id, key) = primary.split_once(' ').expect("ID BASE64");
    (id.to_owned(), STANDARD.decode(key.trim()).expect("base64"))
}

fn part(token: &str, number: usize) -> Value {
    let part = token.split('.').nth(number).expect("three parts");
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

#[test]
fn forged_tokens_are_refused() {
    let shop = Shop::open(Store::Sqlite);
    let member = shop.member("alice");
    let (kid, key) = signing_key(&shop);
    let good = member.caller.token().to_owned();
    let (header, claims) = (part(&good, 0), part(&good, 1));
    assert_eq!(header, json!({"alg": "HS256", "typ": "JWT", "kid": kid}));
    let life = claims["exp"].as_u64().expect("a time") - claims["iat"].as_u64().expect("a time");
    assert_eq!(life, 900);

    let sign = |header: &Header, claims: &Value, key: &[u8]| {
        jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(key)).expect("a token")
    };
    let ours = || Header {
        kid: Some(kid.clone()),
        ..Header::new(Algorithm::HS256)
    };
    let with = |field: &str, value: Value| {
        let mut claims = claims.clone();
        claims[field] = value;
        sign(&ours(), &claims, &key)
    };
    let without = |field: &str| {
        let mut claims = claims.clone();
        claims.as_object_mut().expect("claims").remove(field);
        sign(&ours(), &claims, &key)
    };
    // The forge works: what it makes of a good token is good.
    let same = sign(&ours(), &claims, &key);
    member.caller.with_token(&same).get("/v1/me").is(200);

    let now = claims["iat"].as_i64().expect("a time");
    let raw = |header: Value, claims: &Value, signature: &str| {
        let spell = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        format!("{}.{}.{signature}", spell(&header), spell(claims))
    };
    let mut admin = claims.clone();
    admin["role"] = json!("admin");
    let signature = good.rsplit('.').next().expect("a signature");
    let kid_of = |kid: &str| Header {
        kid: Some(kid.to_owned()),
        ..Header::new(Algorithm::HS256)
    };
    let mut forged = vec![
        (
            "alg none",
            raw(json!({"alg": "none", "typ": "JWT", "kid": kid}), &admin, ""),
        ),
        (
            "alg None",
            raw(json!({"alg": "None", "kid": kid}), &admin, ""),
        ),
        (
            "alg none with a signature",
            raw(json!({"alg": "none", "kid": kid}), &admin, signature),
        ),
        (
            "another alg in the header",
            raw(json!({"alg": "RS256", "kid": kid}), &claims, signature),
        ),
        (
            "the signature of another token",
            raw(header.clone(), &admin, signature),
        ),
        (
            "HS384",
            sign(
                &Header {
                    kid: Some(kid.clone()),
                    ..Header::new(Algorithm::HS384)
                },
                &claims,
                &key,
            ),
        ),
        (
            "HS512",
            sign(
                &Header {
                    kid: Some(kid.clone()),
                    ..Header::new(Algorithm::HS512)
                },
                &claims,
                &key,
            ),
        ),
        (
            "a foreign key under our id",
            sign(&ours(), &claims, &[7; 32]),
        ),
        ("an empty key", sign(&ours(), &claims, &[])),
        ("the id as the key", sign(&ours(), &claims, kid.as_bytes())),
        ("a foreign id", sign(&kid_of("00000001"), &claims, &key)),
        (
            "an id that is a path",
            sign(&kid_of("../../../../dev/null"), &claims, &[]),
        ),
        (
            "an id that is SQL",
            sign(&kid_of("' OR '1'='1"), &claims, &key),
        ),
        ("an empty id", sign(&kid_of(""), &claims, &key)),
        ("expired 10 s ago", with("exp", json!(now - 10))),
        ("expires never", with("exp", json!("never"))),
        ("another audience", with("aud", json!("shop"))),
        ("several audiences", with("aud", json!(["shop", "desk"]))),
        ("another issuer", with("iss", json!("shop"))),
        ("another use", with("use", json!("refresh"))),
        ("a role that is none", with("role", json!("root"))),
        ("a subject that is no id", with("sub", json!("alice"))),
        ("cut off", good[..good.len() - 2].to_owned()),
        ("doubled", format!("{good}.{good}")),
        ("padded", format!("{good}==")),
        (
            "two parts",
            good.rsplit_once('.').expect("parts").0.to_owned(),
        ),
        ("the refresh token", member.refresh_token.clone()),
    ];
    for field in ["exp", "iss", "aud", "sub", "role", "use"] {
        forged.push(("a claim is missing", without(field)));
    }
    for (what, token) in forged {
        let mallory = member.caller.with_token(&token);
        for path in [
            "/v1/me",
            "/v1/orders",
            "/v1/me/addresses",
            "/v1/admin/audit",
        ] {
            let answer = mallory.get(path);
            assert_eq!(answer.code(), "unauthorized", "{what}: {answer}");
        }
    }
    // Where a header says to find the key is not where it is looked for.
    let elsewhere = Header {
        jku: Some("http://127.0.0.1:1/keys".into()),
        x5u: Some("http://127.0.0.1:1/cert".into()),
        ..ours()
    };
    let token = sign(&elsewhere, &claims, &[7; 32]);
    member
        .caller
        .with_token(&token)
        .get("/v1/me")
        .is_refused(401, "unauthorized");
}

#[test]
fn a_token_is_good_for_what_it_is_and_nothing_else() {
    let shop = Shop::open(Store::Sqlite);
    let member = shop.member("alice");
    let access = member.caller.token();
    let visitor = shop.visitor();
    visitor
        .post_with("/v1/auth/refresh", &json!({"refresh_token": access}))
        .is_refused(401, "invalid_refresh_token");
    for token in [
        "",
        "x",
        &"A".repeat(43),
        &"é".repeat(43),
        &"A".repeat(10_000),
        "000000",
    ] {
        let answer = visitor.post_with("/v1/auth/refresh", &json!({"refresh_token": token}));
        assert_eq!(answer.code(), "invalid_refresh_token", "{answer}");
    }
    visitor
        .with_token(&member.refresh_token)
        .get("/v1/me")
        .is_refused(401, "unauthorized");
    // None of it has ended anything.
    member.is_let_in();
    member.refreshes();
    // Nor is the other token told apart by its looks.
    assert!(!member.refresh_token.contains(&member.id().to_string()));
    assert_eq!(member.refresh_token.matches('.').count(), 0);
}

#[test]
fn a_token_says_nothing_personal() {
    let shop = Shop::open(Store::Sqlite);
    let member = shop.member("alice");
    let claims = part(member.caller.token(), 1).to_string();
    for word in member.person.secrets() {
        assert!(!claims.contains(word), "{claims}");
    }
    assert_eq!(
        text(&part(member.caller.token(), 1), "sub"),
        member.id().to_string()
    );
}

#[test]
fn a_claim_of_a_higher_role_would_have_to_be_signed_and_a_role_of_yesterday_is_not_believed() {
    let shop = Shop::open(Store::Sqlite);
    let admin = shop.promote(&shop.member("alice"), "admin");
    let other = shop.promote(&shop.member("bob"), "admin");
    admin.caller.get("/v1/admin/audit").is(200);
    shop.set_role(&admin, "buyer").is(200);
    admin
        .caller
        .get("/v1/admin/audit")
        .is_refused(401, "unauthorized");
    admin
        .refreshes()
        .caller
        .get("/v1/admin/audit")
        .is_refused(403, "forbidden");
    other.caller.get("/v1/admin/audit").is(200);
}

#[test]
fn keys_are_made_at_the_first_start_for_the_owner_alone_and_differ_between_shops() {
    use std::os::unix::fs::PermissionsExt;
    let shops = [Shop::open(Store::Sqlite), Shop::open(Store::Sqlite)];
    for name in ["token.keys", "seal.keys", "index.key"] {
        let contents = shops.each_ref().map(|shop| {
            let path = shop.data_dir().join("secrets").join(name);
            let mode = std::fs::metadata(&path)
                .expect("a key")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
            std::fs::read(path).expect("a key")
        });
        assert_ne!(contents[0], contents[1], "{name}");
    }
    let folder = shops[0].data_dir().join("secrets");
    let mode = std::fs::metadata(folder)
        .expect("a folder")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    // A token of one is nothing to the other.
    let member = shops[0].member("alice");
    member.at(shops[1].url()).is_turned_away();
}

#[test]
fn keys_that_are_none_stop_the_start_and_are_not_shown() {
    let secret = STANDARD.encode([0x5a; 12]);
    let same = STANDARD.encode([7; 32]);
    let words = STANDARD.encode(b"changemechangemechangemechangeme");
    let good = STANDARD.encode(rand::random::<[u8; 32]>());
    let cases = [
        ("LAYBY_TOKEN_KEYS", format!("0a0b0c0d:{secret}")),
        ("LAYBY_TOKEN_KEYS", format!("0a0b0c0d:{same}")),
        ("LAYBY_TOKEN_KEYS", format!("0a0b0c0d:{words}")),
        ("LAYBY_TOKEN_KEYS", format!("nonsense:{good}")),
        (
            "LAYBY_TOKEN_KEYS",
            format!("0a0b0c0d:{good},0a0b0c0d:{same}"),
        ),
        ("LAYBY_SEAL_KEYS", format!("0a0b0c0d:{secret}")),
        ("LAYBY_SEAL_KEYS", good.clone()),
        ("LAYBY_INDEX_KEY", secret.clone()),
        ("LAYBY_INDEX_KEY", words.clone()),
        ("LAYBY_INDEX_KEY", "not base64 at all!".into()),
    ];
    for (name, value) in cases {
        let mut shop = Shop::closed(Store::Sqlite, &[]);
        let mut command = shop.serve_command();
        command.env(name, &value);
        let output = crate::support::run(&mut command);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{name}={value}: {said}");
        assert!(said.contains(name), "{name}: {said}");
        for key in [&secret, &same, &words, &good] {
            assert!(!said.contains(key.as_str()), "{said}");
        }
        shop.leave_books_unproved();
    }
}

#[test]
fn keys_from_the_environment_leave_none_on_the_disk() {
    let key = || STANDARD.encode(rand::random::<[u8; 32]>());
    let keys = [
        (
            "LAYBY_TOKEN_KEYS",
            format!("0a0b0c0d:{},1a1b1c1d:{}", key(), key()),
        ),
        ("LAYBY_SEAL_KEYS", format!("2a2b2c2d:{}", key())),
        ("LAYBY_INDEX_KEY", key()),
    ];
    let mut shop = Shop::closed(Store::Sqlite, &[]);
    let start = |shop: &mut Shop| {
        let mut command = shop.serve_command();
        command.envs(keys.iter().map(|(name, value)| (*name, value)));
        shop.start_by(command);
    };
    start(&mut shop);
    // The support's own tokens are signed with keys of the disk, of which there are none here.
    let person = crate::support::Person::new("alice");
    person.joins(&shop.visitor(), &crate::support::Outbox::of(&shop));
    let member = person.signs_in(&shop.visitor());
    assert_eq!(
        part(member.caller.token(), 0)["kid"],
        "1a1b1c1d",
        "the last one signs"
    );
    for name in ["token.keys", "seal.keys", "index.key"] {
        assert!(
            !shop.data_dir().join("secrets").join(name).exists(),
            "{name}"
        );
    }
    shop.kill();
    start(&mut shop);
    let member = member.at(shop.url());
    assert_eq!(member.me()["username"], json!(person.username));
    person.signs_in(&shop.visitor());
    // With other keys nothing of it opens, and the program says so instead of showing rubbish.
    shop.kill();
}

#[test]
fn an_access_token_that_has_expired_is_refused_and_a_refresh_gives_another() {
    let shop = Shop::open(Store::Sqlite);
    let member = shop.member("alice");
    let (kid, key) = signing_key(&shop);
    let mut claims = part(member.caller.token(), 1);
    let now = claims["iat"].as_i64().expect("a time");
    claims["iat"] = json!(now - 901);
    claims["exp"] = json!(now - 1);
    let header = Header {
        kid: Some(kid),
        ..Header::new(Algorithm::HS256)
    };
    let expired =
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(&key)).expect("a token");
    member
        .caller
        .with_token(expired)
        .get("/v1/me")
        .is_refused(401, "unauthorized");
    member.refreshes().is_let_in();
}
