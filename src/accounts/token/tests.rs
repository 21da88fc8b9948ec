use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::secrets::{Key, append_key};

const SECRET: [u8; 32] = [
    200, 3, 17, 255, 90, 12, 44, 133, 7, 61, 250, 99, 180, 21, 240, 5, 31, 77, 166, 2, 149, 88,
    213, 34, 68, 191, 110, 9, 222, 54, 143, 26,
];
const STRANGE: [u8; 32] = [
    26, 143, 54, 222, 9, 110, 191, 68, 34, 213, 88, 149, 2, 166, 77, 31, 5, 240, 21, 180, 99, 250,
    61, 7, 133, 44, 12, 90, 255, 17, 3, 200,
];
const KID: &str = "5eed0001";

fn keys() -> Arc<LiveKeys> {
    let key = Key::new(KID.parse().expect("an id"), SECRET).expect("a key");
    Arc::new(LiveKeys::fixed(KeyRing::of(key)))
}

fn bearer() -> Bearer {
    Bearer {
        user: Uuid::from_u128(7),
        role: Role::Buyer,
        session: Uuid::from_u128(9),
        epoch: 3,
    }
}

fn header() -> Header {
    header_of(KID.parse().expect("an id"))
}

fn claims() -> Value {
    json!({
        "sub": Uuid::from_u128(7), "role": "admin", "sid": Uuid::nil(), "ver": 0,
        "iat": now_secs(), "exp": now_secs() + 60, "iss": ISSUER, "aud": AUDIENCE, "use": TOKEN_USE,
    })
}

fn with(field: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[field] = value;
    claims
}

fn without(field: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().expect("claims").remove(field);
    claims
}

fn signed(header: &Header, claims: &Value, secret: &[u8]) -> String {
    jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(secret)).expect("a token")
}

/// With our key, but with a header that the library would not write.
fn signed_under(header: &Value) -> String {
    signed_text(&header.to_string())
}

fn signed_text(header: &str) -> String {
    let message = format!(
        "{}.{}",
        BASE64_URL.encode(header),
        BASE64_URL.encode(claims().to_string())
    );
    let key = EncodingKey::from_secret(&SECRET);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
    format!("{message}.{}", signature.expect("a signature"))
}

fn verdict(token: &str) -> Result<(), TokenError> {
    TokenVerifier::new(keys()).verify(token).map(drop)
}

#[test]
fn a_token_says_who_its_bearer_is_and_until_when() {
    let token = TokenIssuer::new(keys())
        .issue(&bearer(), 60)
        .expect("a token");
    let claims = TokenVerifier::new(keys()).verify(&token).expect("good");
    let said = (claims.sub, claims.role, claims.sid, claims.ver);
    assert_eq!(
        said,
        (Uuid::from_u128(7), Role::Buyer, Uuid::from_u128(9), 3)
    );
    assert_eq!(claims.exp - claims.iat, 60);
    assert!(now_secs() - claims.iat < 60);
}

#[test]
fn a_plain_token_belongs_to_no_session() {
    let issuer = TokenIssuer::new(keys());
    let token = issuer.issue_plain(Uuid::from_u128(8), Role::Admin, 60);
    let claims = TokenVerifier::new(keys()).verify(&token.expect("a token"));
    let claims = claims.expect("good");
    assert_eq!(
        (claims.role, claims.sid, claims.ver),
        (Role::Admin, Uuid::nil(), 0)
    );
}

#[test]
fn a_token_names_its_key_and_is_shorter_than_the_bound() {
    let token = TokenIssuer::new(keys())
        .issue(&bearer(), u64::MAX)
        .expect("a token");
    let header = jsonwebtoken::decode_header(&token).expect("a header");
    assert_eq!(header.kid.as_deref(), Some(KID));
    assert_eq!(
        (header.alg, header.typ.as_deref()),
        (Algorithm::HS256, Some(TYPE))
    );
    assert!(token.len() < TOKEN_BYTES_MAX / 4, "{}", token.len());
    assert_eq!(verdict(&token), Ok(()));
}

#[test]
fn a_good_token_may_be_written_by_another_library() {
    assert_eq!(verdict(&signed(&header(), &claims(), &SECRET)), Ok(()));
    let other_order = format!(r#"{{"kid":"{KID}", "alg":"HS256", "typ":"JWT"}}"#);
    assert_eq!(verdict(&signed_text(&other_order)), Ok(()));
}

#[test]
fn where_a_header_says_that_keys_may_be_found_is_not_looked_at() {
    let evil = "http://127.0.0.1:9/keys";
    let jwk = json!({"kty": "oct", "k": BASE64_URL.encode(STRANGE), "alg": "HS256"});
    for (name, value) in [
        ("jku", json!(evil)),
        ("jwk", jwk),
        ("x5u", json!(evil)),
        ("x5c", json!([BASE64_URL.encode(STRANGE)])),
    ] {
        let mut header = json!({"typ": "JWT", "alg": "HS256", "kid": KID});
        header[name] = value;
        assert_eq!(
            verdict(&signed_under(&header)),
            Ok(()),
            "{name}: our signature counts"
        );
        let header: Header = serde_json::from_value(header).expect("a header");
        let forged = signed(&header, &claims(), &STRANGE);
        assert_eq!(verdict(&forged), Err(TokenError::Invalid), "{name}");
    }
}

#[test]
fn a_token_is_over_the_second_it_ends() {
    for (exp, expected) in [
        (now_secs() + 60, Ok(())),
        (now_secs() - 1, Err(TokenError::Expired)),
        (now_secs() - 10, Err(TokenError::Expired)),
        (0, Err(TokenError::Expired)),
    ] {
        let token = signed(&header(), &with("exp", exp.into()), &SECRET);
        assert_eq!(verdict(&token), expected, "{exp}");
    }
}

#[test]
fn that_a_token_has_expired_is_told_to_its_bearer_alone() {
    let past = with("exp", (now_secs() - 10).into());
    let forged = signed(&header(), &past, &STRANGE);
    assert_eq!(verdict(&forged), Err(TokenError::Invalid));
}

#[test]
fn headers_that_are_not_ours_are_refused() {
    let of = |alg: &str, kid: Value| json!({"typ": "JWT", "alg": alg, "kid": kid});
    let headers = [
        ("alg none", of("none", json!(KID))),
        ("alg None", of("None", json!(KID))),
        ("alg RS256", of("RS256", json!(KID))),
        ("alg HS512", of("HS512", json!(KID))),
        ("alg HS384", of("HS384", json!(KID))),
        ("alg ES256", of("ES256", json!(KID))),
        ("alg hs256", of("hs256", json!(KID))),
        ("no alg", json!({"typ": "JWT", "kid": KID})),
        ("no kid", json!({"typ": "JWT", "alg": "HS256"})),
        ("kid null", of("HS256", Value::Null)),
        ("kid empty", of("HS256", json!(""))),
        ("kid unknown", of("HS256", json!("5eed0002"))),
        ("kid zero", of("HS256", json!("00000000"))),
        ("kid in capitals", of("HS256", json!("5EED0001"))),
        ("kid with a sign", of("HS256", json!("+eed0001"))),
        ("kid prolonged", of("HS256", json!("5eed00010"))),
        ("kid with a space", of("HS256", json!("5eed0001 "))),
        (
            "kid with a path",
            of("HS256", json!("../../../../dev/null")),
        ),
        ("kid with SQL", of("HS256", json!("x' UNION SELECT 'a"))),
        ("kid with a NUL", of("HS256", json!("5eed0001\0"))),
        ("kid a number", of("HS256", json!(0x5eed_0001_u32))),
        ("kid a list", of("HS256", json!([KID]))),
        ("no typ", json!({"alg": "HS256", "kid": KID})),
        (
            "typ at+jwt",
            json!({"typ": "at+jwt", "alg": "HS256", "kid": KID}),
        ),
        (
            "crit",
            json!({"typ": "JWT", "alg": "HS256", "kid": KID, "crit": ["exp"]}),
        ),
    ];
    for (name, header) in headers {
        let token = signed_under(&header);
        assert_eq!(verdict(&token), Err(TokenError::Invalid), "{name}");
    }
    for text in ["", "null", "[]", "{", "\u{0}", r#"{"alg":"HS256"}{}"#] {
        assert_eq!(
            verdict(&signed_text(text)),
            Err(TokenError::Invalid),
            "{text}"
        );
    }
}

#[test]
fn claims_that_are_not_ours_are_refused() {
    let changed = [
        ("aud", json!("shop")),
        ("aud", json!(["shop"])),
        ("iss", json!("shop")),
        ("use", json!("refresh")),
        ("use", json!("")),
        ("role", json!("root")),
        ("role", json!(["admin"])),
        ("sub", json!("me")),
        ("sub", json!(7)),
        ("sid", json!("now")),
        ("sid", Value::Null),
        ("ver", json!(-1)),
        ("ver", json!("0")),
        ("exp", json!("tomorrow")),
        ("exp", json!(-1)),
        ("nbf", json!(now_secs() + 600)),
    ];
    for (field, value) in changed {
        let token = signed(&header(), &with(field, value.clone()), &SECRET);
        assert_eq!(verdict(&token), Err(TokenError::Invalid), "{field} {value}");
    }
    for field in [
        "sub", "role", "sid", "ver", "iat", "exp", "iss", "aud", "use",
    ] {
        let token = signed(&header(), &without(field), &SECRET);
        assert_eq!(verdict(&token), Err(TokenError::Invalid), "without {field}");
    }
}

#[test]
fn signatures_that_are_not_ours_are_refused() {
    let good = signed(&header(), &claims(), &SECRET);
    let [head, body, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!("three parts");
    };
    let other = signed(&header(), &with("role", json!("buyer")), &SECRET);
    let other_body = other.split('.').nth(1).expect("claims");
    let zeros = "A".repeat(signature.len());
    let forged = [
        signed(&header(), &claims(), &STRANGE),
        signed(&header(), &claims(), b""),
        signed(&header(), &claims(), KID.as_bytes()),
        signed(&Header::new(Algorithm::HS512), &claims(), &SECRET),
        format!("{head}.{body}."),
        format!("{head}.{body}"),
        format!("{head}.{body}.{zeros}"),
        format!("{head}.{other_body}.{signature}"),
        format!("{head}..{signature}"),
        format!(".{body}.{signature}"),
        format!("{good}.{signature}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}="),
        format!(" {good}"),
        format!("{good}\n"),
        good[..good.len() - 1].to_owned(),
        good[1..].to_owned(),
        good.to_uppercase(),
        good.repeat(2),
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        "a.b.c".into(),
        "null".into(),
        "\u{e9}.\u{e9}.\u{e9}".into(),
        "A".repeat(1 << 20),
        format!("{head}.{}.{signature}", "A".repeat(1 << 20)),
    ];
    for token in forged {
        let shown: String = token.chars().take(400).collect();
        assert_eq!(verdict(&token), Err(TokenError::Invalid), "{shown}");
    }
    assert_eq!(verdict(&good), Ok(()));
}

#[test]
fn a_changed_letter_anywhere_spoils_a_token() {
    let good = signed(&header(), &claims(), &SECRET);
    let verifier = TokenVerifier::new(keys());
    for at in 0..good.len() {
        let mut letters = good.clone().into_bytes();
        letters[at] = if letters[at] == b'A' { b'B' } else { b'A' };
        let token = String::from_utf8(letters).expect("ASCII");
        assert!(verifier.verify(&token).is_err(), "letter {at}: {token}");
    }
}

/// A data directory with the keys of a server.
fn data_dir() -> (TempDir, std::path::PathBuf) {
    let directory = TempDir::new().expect("a directory");
    let path = secrets::token_keys_path(directory.path());
    LiveKeys::open_or_make(&path).expect("made");
    (directory, path)
}

fn kid(token: &str) -> String {
    let header = jsonwebtoken::decode_header(token).expect("a header");
    header.kid.expect("a key id")
}

#[test]
fn after_a_rotation_old_tokens_stay_good_and_new_ones_name_the_new_key() {
    let (directory, path) = data_dir();
    let issuer = TokenIssuer::from_data_dir(directory.path()).expect("an issuer");
    let verifier = TokenVerifier::from_data_dir(directory.path()).expect("a verifier");
    let old = issuer.issue(&bearer(), 60).expect("a token");
    let new_key = append_key(&path).expect("appended");
    let new = issuer.issue(&bearer(), 60).expect("a token");
    assert_eq!(kid(&new), new_key.to_string());
    assert_ne!(kid(&old), kid(&new));
    // The verifier is another process: it has only heard of the key by the token.
    for token in [&old, &new, &old, &new] {
        verifier.verify(token).expect("good");
    }
}

#[test]
fn the_tokens_of_a_key_that_was_taken_out_are_dead() {
    let (directory, path) = data_dir();
    let keys = Arc::new(LiveKeys::open(&path).expect("keys"));
    let (issuer, verifier) = (TokenIssuer::new(keys.clone()), TokenVerifier::new(keys));
    let old = issuer.issue(&bearer(), 60).expect("a token");
    append_key(&path).expect("appended");
    let text = fs::read_to_string(&path).expect("text");
    let newest = text.lines().last().expect("a line");
    let beside = directory.path().join("beside");
    fs::write(&beside, format!("{newest}\n")).expect("written");
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)).expect("the mode");
    fs::rename(&beside, &path).expect("replaced");

    let new = issuer.issue(&bearer(), 60).expect("a token");
    assert_eq!(verifier.verify(&old).err(), Some(TokenError::Invalid));
    verifier.verify(&new).expect("good");
}

#[test]
fn without_the_keys_of_a_server_there_are_no_tokens() {
    let directory = TempDir::new().expect("a directory");
    let error = TokenIssuer::from_data_dir(directory.path()).expect_err("no keys");
    let said = format!("{error:#}");
    assert!(
        said.contains("token.keys") && said.contains("start the server"),
        "{said}"
    );
    TokenVerifier::from_data_dir(directory.path()).expect_err("no keys");
    assert!(!secrets::token_keys_path(directory.path()).exists());
}
