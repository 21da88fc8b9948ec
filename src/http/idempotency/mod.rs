//! One rule for requests that have one effect, however often they are sent: the header `Idempotency-Key`.
//!
//! A request is known by two hashes. The first, of user, route and key, says that it is the same request. The second, the
//! fingerprint, is made of everything that its body asks for, so that another request under the same key is told apart.
//! Both are in the record of what the request did, where a repeat finds them, also after a crash.
//!
//! The fingerprint is computed from the parsed body, which is serialised once more, into the hash: spelling and white
//! space do not count, and no field can be forgotten. A field that is added to a body later must be an `Option`: left
//! out, it leaves no trace, and a repeat of a request that the release before has answered is still recognised.

mod encoding;

use actix_web::dev::Payload;
use actix_web::http::header::HeaderMap;
use actix_web::{FromRequest, HttpRequest};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::extract::{Caller, caller, json_body};
use super::problem::{Code, Problem};
use crate::domain::{BuyerId, Fingerprint, KeyHash};

/// What somebody asks for with a JSON body, under a key.
#[derive(Debug)]
pub(crate) struct Idempotent<T> {
    pub(crate) caller: Caller,
    key: IdempotencyKey,
    pub(crate) body: T,
}

/// What a request is known by when it comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) key: KeyHash,
    pub(crate) fingerprint: Fingerprint,
}

/// 1 to 255 printable ASCII characters.
#[derive(Debug, Clone)]
struct IdempotencyKey(String);

impl<T: DeserializeOwned + 'static> FromRequest for Idempotent<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let caller = caller(request);
        let key = IdempotencyKey::of(request.headers());
        let body = json_body(request, payload);
        async move {
            Ok(Self {
                caller: caller?,
                key: key?,
                body: body.await?,
            })
        }
        .boxed_local()
    }
}

impl<T: Serialize> Idempotent<T> {
    /// `route` is the method and the path as it was asked for, with the ids in it: equal keys of two routes never meet.
    pub(crate) fn identity(&self, route: &str) -> Result<Identity, Problem> {
        Ok(Identity {
            key: self.key.hash(self.caller.id, route),
            fingerprint: fingerprint(&self.body)?,
        })
    }
}

impl IdempotencyKey {
    const BYTES_MAX: usize = 255;

    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut values = headers.get_all("idempotency-key");
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(Problem::of(
                Code::IdempotencyKeyRequired,
                "send one `Idempotency-Key` header with a fresh value for each new request",
            ));
        };
        let bytes = value.as_bytes();
        let is_printable = bytes.iter().all(|byte| (0x20..0x7f).contains(byte));
        if bytes.is_empty() || bytes.len() > Self::BYTES_MAX || !is_printable {
            return Err(Problem::of(
                Code::IdempotencyKeyInvalid,
                "the key must be 1 to 255 printable ASCII characters",
            ));
        }
        Ok(Self(String::from_utf8_lossy(bytes).into_owned()))
    }

    /// Equal keys of two users never meet.
    fn hash(&self, user: BuyerId, route: &str) -> KeyHash {
        let digest = Sha256::new()
            .chain_update(user.to_bytes())
            .chain_update(route)
            .chain_update([0])
            .chain_update(&self.0)
            .finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        KeyHash::from_bytes(bytes)
    }
}

fn fingerprint(body: &impl Serialize) -> Result<Fingerprint, Problem> {
    let mut encoder = encoding::Encoder::default();
    // A body is made of texts, numbers and ids. One that cannot be written has a type that nobody has tried.
    body.serialize(&mut encoder)
        .map_err(|error| Problem::internal(&error))?;
    let digest = encoder.finish();
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    Ok(Fingerprint(u64::from_le_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::domain::OrderId;
    use crate::http::extract::{Object, parse_json};
    use crate::http::orders::NewOrder;
    use crate::http::payments::NewPayment;
    use crate::http::wishlist::Checkout;

    const ALICE: BuyerId = BuyerId::new(0x0190_a0a0_0000_7000_8000_0000_0000_00b1);
    const ORDER: OrderId = OrderId::new(0x0190_a0a0_0000_7000_8000_0000_0000_0007);
    const LAMP: &str = "0190a0a0-0000-7000-8000-000000000001";
    const DESK: &str = "0190a0a0-0000-7000-8000-000000000002";
    const HOME: &str = "0190a0a0-0000-7000-8000-0000000000a1";

    fn fingerprint_of<T: Serialize + DeserializeOwned>(body: &str) -> u64 {
        let Object(body) = parse_json::<Object<T>>(body.as_bytes()).expect("a body");
        fingerprint(&body).expect("it can be encoded").0
    }

    /// They are in journals and databases: one that changes would refuse the repeat of a request that was answered.
    #[test]
    fn fingerprints_are_those_of_the_release_before() {
        let lamps = format!(r#"{{"product_id":"{LAMP}","quantity":2}}"#);
        let desks = format!(r#"{{"quantity":10000,"product_id":"{DESK}"}}"#);
        for (body, expected) in [
            (format!(r#"{{"lines":[{lamps}]}}"#), 0x4b3d_7a1d_115b_8607),
            (
                format!(r#"{{"address_id":"{HOME}","lines":[{lamps}]}}"#),
                0x6c51_63f0_b1aa_a40a,
            ),
            (
                format!(r#"{{"lines":[{lamps},{desks}],"address_id":null}}"#),
                0xc3c1_818a_6d18_ec4c,
            ),
        ] {
            assert_eq!(fingerprint_of::<NewOrder>(&body), expected, "{body}");
        }
        for (body, expected) in [
            ("{}".to_owned(), 0x141c_fc98_42c4_b0e3),
            (
                format!(r#"{{"address_id":"{HOME}"}}"#),
                0xc649_dbf6_07a4_5871,
            ),
        ] {
            assert_eq!(fingerprint_of::<Checkout>(&body), expected, "{body}");
        }
        let card = r#"{"method":"card_ok"}"#;
        assert_eq!(fingerprint_of::<NewPayment>(card), 0x671f_1e00_594f_7be6);
    }

    #[test]
    fn keys_are_those_of_the_release_before() {
        let key = IdempotencyKey("golden-key".to_owned());
        for (route, expected) in [
            ("POST /v1/orders", "39343cc2-84c0-2e3d-55af-70edaeb85b2b"),
            (
                "POST /v1/me/wishlist/checkout",
                "d0c7bc02-50c4-8d65-e951-f63db3301f38",
            ),
            (
                &*format!("POST /v1/orders/{ORDER}/payments"),
                "5147a165-aa0d-b8ed-fa95-13aa2d777397",
            ),
        ] {
            assert_eq!(key.hash(ALICE, route).to_string(), expected, "{route}");
        }
    }

    /// What a body of the next release may look like.
    #[derive(Serialize, Deserialize)]
    #[serde(rename = "NewOrder")]
    struct LaterOrder {
        lines: Vec<LaterLine>,
        address_id: Option<uuid::Uuid>,
        expected_total: Option<u32>,
        gifts: Option<Vec<Vec<String>>>,
        note: Option<String>,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(rename = "NewLine")]
    struct LaterLine {
        product_id: uuid::Uuid,
        quantity: u32,
        size: Option<Size>,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Size {
        Small,
        Large,
        Of { width: u32 },
    }

    #[test]
    fn a_new_field_that_is_left_out_leaves_no_trace() {
        let body = format!(r#"{{"lines":[{{"product_id":"{LAMP}","quantity":2}}]}}"#);
        assert_eq!(
            fingerprint_of::<LaterOrder>(&body),
            fingerprint_of::<NewOrder>(&body)
        );
    }

    #[test]
    fn no_two_requests_look_alike() {
        let line = |more: &str| format!(r#"{{"product_id":"{LAMP}","quantity":2{more}}}"#);
        let order = |lines: &str, more: &str| format!(r#"{{"lines":[{lines}]{more}}}"#);
        let plain = line("");
        let bodies = [
            order(&plain, ""),
            order(&format!("{plain},{plain}"), ""),
            order(&plain, &format!(r#","address_id":"{HOME}""#)),
            order(&plain, r#","expected_total":2"#),
            order(&plain, r#","note":"2""#),
            order(&plain, r#","note":"""#),
            order(&plain, r#","note":"expected_total""#),
            order(&plain, r#","gifts":[]"#),
            order(&plain, r#","gifts":[[]]"#),
            order(&plain, r#","gifts":[["a","b"]]"#),
            order(&plain, r#","gifts":[["a"],["b"]]"#),
            order(&plain, r#","gifts":[["a"],["b"],[]]"#),
            order(&plain, r#","gifts":[["a"]],"note":"b""#),
            order(&line(r#","size":"small""#), ""),
            order(&line(r#","size":"large""#), ""),
            order(&line(r#","size":{"of":{"width":1}}"#), ""),
            order(&line(r#","size":{"of":{"width":2}}"#), ""),
            order(&format!("{},{plain}", line(r#","size":"small""#)), ""),
            order(&format!("{plain},{}", line(r#","size":"small""#)), ""),
        ];
        let mut seen: Vec<u64> = bodies
            .iter()
            .map(|it| fingerprint_of::<LaterOrder>(it))
            .collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), bodies.len());
    }
}
