//! The bytes of a request, made once and sent often; only the idempotency key changes in between.

use uuid::Uuid;

use super::Address;

const KEY_HEADER: &str = "Idempotency-Key: ";

#[derive(Debug, Clone)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    /// Where the 36 characters of the key stand; `None` for a request that carries no key.
    key_at: Option<usize>,
}

impl Request {
    pub(crate) fn get(address: &Address, path: &str, token: &str) -> Self {
        Self::build("GET", address, path, token, None)
    }

    pub(crate) fn put(address: &Address, path: &str, token: &str, body: &str) -> Self {
        Self::build("PUT", address, path, token, Some(body))
    }

    /// Every POST carries a key; one that needs none is not harmed by it. A fresh request has the nil key.
    pub(crate) fn post(address: &Address, path: &str, token: &str, body: &str) -> Self {
        let mut request = Self::build("POST", address, path, token, Some(body));
        request.key_at =
            find(&request.bytes, KEY_HEADER.as_bytes()).map(|at| at + KEY_HEADER.len());
        request
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn set_key(&mut self, key: Uuid) {
        if let Some(at) = self.key_at {
            key.hyphenated().encode_lower(&mut self.bytes[at..at + 36]);
        }
    }

    fn build(method: &str, address: &Address, path: &str, token: &str, body: Option<&str>) -> Self {
        let mut text = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n",
            address.host
        );
        if method == "POST" {
            text.push_str(&format!("{KEY_HEADER}{}\r\n", Uuid::nil()));
        }
        match body {
            None => text.push_str("\r\n"),
            Some("") => text.push_str("Content-Length: 0\r\n\r\n"),
            Some(body) => text.push_str(&format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )),
        }
        Self {
            bytes: text.into_bytes(),
            key_at: None,
        }
    }
}

/// Fresh idempotency keys without a system call each: a random run number, then a counter.
/// Two runs with the same `--seed` must not replay each other's answers, hence the randomness.
#[derive(Debug)]
pub(crate) struct KeySource {
    run: u64,
    next: u64,
}

impl KeySource {
    pub(crate) fn new() -> Self {
        Self {
            run: rand::random(),
            next: 0,
        }
    }

    pub(crate) fn next(&mut self) -> Uuid {
        self.next += 1;
        Uuid::from_u64_pair(self.run, self.next)
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Address {
        Address::parse("http://127.0.0.1:8080").expect("valid")
    }

    #[test]
    fn a_post_carries_length_token_and_key() {
        let mut request = Request::post(&address(), "/v1/orders", "abc", "{}");
        request.set_key(Uuid::from_u64_pair(1, 2));
        let text = String::from_utf8(request.bytes().to_vec()).expect("ascii");
        assert_eq!(
            text,
            "POST /v1/orders HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAuthorization: Bearer abc\r\n\
             Idempotency-Key: 00000000-0000-0001-0000-000000000002\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        );
    }

    #[test]
    fn a_get_has_neither_body_nor_key() {
        let mut request = Request::get(&address(), "/readyz", "abc");
        request.set_key(Uuid::from_u64_pair(1, 2));
        let text = String::from_utf8(request.bytes().to_vec()).expect("ascii");
        assert_eq!(
            text,
            "GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAuthorization: Bearer abc\r\n\r\n"
        );
    }

    #[test]
    fn keys_differ() {
        let mut keys = KeySource::new();
        assert_ne!(keys.next(), keys.next());
        assert_ne!(KeySource::new().next(), KeySource::new().next());
    }
}
