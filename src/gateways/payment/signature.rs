//! Stripe's scheme for signed webhooks, which the sandbox uses too: `t=SECONDS,v1=HEX,v1=HEX`.
//!
//! `v1` is HMAC-SHA-256 over `SECONDS.BODY`, with the body in the bytes that came. While secrets are exchanged there are
//! several signatures and several secrets; one that fits is enough. Other versions are skipped.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use crate::secrets::WebhookSecrets;

/// A signature that is older, or further in the future, is not believed: somebody may have kept it.
const TOLERANCE_SECS: u64 = 300;
/// Signatures that are looked at; the ones behind are not, so that a long header costs nothing.
const SIGNATURES_MAX: usize = 8;

/// Why a body is not believed to be the provider's. Whoever sent it is told no more than this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("there is no signature, or more than one header of it")]
    Missing,
    #[error("the signature does not read as `t=SECONDS,v1=HEX`")]
    Unreadable,
    #[error("the signature is more than {TOLERANCE_SECS} s away from now")]
    Stale,
    #[error("no signature fits the body")]
    Forged,
}

/// Checks the value of the signature's header against the body. `clocks_secs`: what each of our clocks shows; one of them is
/// enough, since only one of them may be right.
pub(super) fn check(
    header: &str,
    body: &[u8],
    secrets: &WebhookSecrets,
    clocks_secs: &[u64],
) -> Result<(), SignatureError> {
    let signed = Signed::parse(header).ok_or(SignatureError::Unreadable)?;
    let is_fresh = |now_secs: &u64| signed.at_secs.abs_diff(*now_secs) <= TOLERANCE_SECS;
    if !clocks_secs.iter().any(is_fresh) {
        return Err(SignatureError::Stale);
    }
    if signed.fits(body, secrets) {
        return Ok(());
    }
    Err(SignatureError::Forged)
}

struct Signed<'a> {
    /// As it was written: that is what was signed.
    at: &'a str,
    at_secs: u64,
    signatures: Vec<[u8; 32]>,
}

impl<'a> Signed<'a> {
    fn parse(header: &'a str) -> Option<Self> {
        let mut at = None;
        let mut signatures = Vec::new();
        for part in header.split(',') {
            let (name, value) = part.trim().split_once('=')?;
            match name {
                "t" if at.is_some() => return None,
                "t" => at = Some(value),
                "v1" if signatures.len() < SIGNATURES_MAX => signatures.extend(bytes_of(value)),
                _ => {}
            }
        }
        let at = at.filter(|at| at.bytes().all(|it| it.is_ascii_digit()))?;
        Some(Self {
            at,
            at_secs: at.parse().ok()?,
            signatures,
        })
    }

    /// Takes the same time whichever secret fits, and however much of a signature does.
    fn fits(&self, body: &[u8], secrets: &WebhookSecrets) -> bool {
        let mut fits = Choice::from(0);
        for secret in secrets.iter() {
            let signature = sign(secret, self.at, body);
            for given in &self.signatures {
                fits |= given.ct_eq(&signature);
            }
        }
        fits.into()
    }
}

fn sign(secret: &[u8], at: &str, body: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(at.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().into()
}

/// 32 bytes from 64 hex digits, or nothing.
fn bytes_of(hex: &str) -> Option<[u8; 32]> {
    let digits = hex.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let text = std::str::from_utf8(pair).ok()?;
        if !pair.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        *byte = u8::from_str_radix(text, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_764_000_000;
    const BODY: &[u8] = br#"{"type":"captured"}"#;

    fn secrets(words: &str) -> WebhookSecrets {
        WebhookSecrets::parse(words).expect("secrets")
    }

    fn hex(secret: &str, at: u64, body: &[u8]) -> String {
        let signature = sign(secret.as_bytes(), &at.to_string(), body);
        signature.iter().map(|it| format!("{it:02x}")).collect()
    }

    fn header(secret: &str, at: u64) -> String {
        format!("t={at},v1={}", hex(secret, at, BODY))
    }

    fn checked(header: &str, body: &[u8]) -> Result<(), SignatureError> {
        let live = secrets("whsec_the_older_secret,whsec_the_newer_secret");
        check(header, body, &live, &[NOW])
    }

    /// Worked out by OpenSSL: `printf '1764000000.{"type":"captured"}' | openssl dgst -sha256 -hmac whsec_the_older_secret`.
    #[test]
    fn a_signature_that_another_program_made_fits() {
        let made = "6df3e89daf4940435eb13b48e603e2526d22ec4fc192bc22dbd2f21b4d371901";
        assert_eq!(hex("whsec_the_older_secret", NOW, BODY), made);
    }

    #[test]
    fn each_of_the_live_secrets_and_each_of_the_signatures_will_do() {
        for secret in ["whsec_the_older_secret", "whsec_the_newer_secret"] {
            assert_eq!(checked(&header(secret, NOW), BODY), Ok(()));
        }
        let both = format!(
            "t={NOW},v0=deadbeef,v1={},v1={}",
            hex("whsec_a_secret_of_others", NOW, BODY),
            hex("whsec_the_newer_secret", NOW, BODY)
        );
        assert_eq!(checked(&both, BODY), Ok(()));
    }

    #[test]
    fn another_secret_another_body_and_another_time_do_not_fit() {
        let good = header("whsec_the_older_secret", NOW);
        let forged = Err(SignatureError::Forged);
        assert_eq!(
            checked(&header("whsec_a_secret_of_others", NOW), BODY),
            forged
        );
        assert_eq!(checked(&good, br#"{"type":"captured"} "#), forged);
        let moved = good.replace(&NOW.to_string(), &(NOW + 1).to_string());
        assert_eq!(checked(&moved, BODY), forged);
        assert_eq!(checked(&format!("t={NOW}"), BODY), forged);
        assert_eq!(checked(&format!("t={NOW},v1=00"), BODY), forged);
        for digit in 0..64 {
            let mut wrong = good.clone().into_bytes();
            let at = wrong.len() - 64 + digit;
            wrong[at] = if wrong[at] == b'0' { b'1' } else { b'0' };
            let wrong = String::from_utf8(wrong).expect("hex");
            assert_eq!(checked(&wrong, BODY), forged, "digit {digit}");
        }
    }

    #[test]
    fn a_signature_is_good_for_five_minutes_both_ways() {
        for at in [NOW - 300, NOW + 300] {
            assert_eq!(checked(&header("whsec_the_older_secret", at), BODY), Ok(()));
        }
        for at in [0, NOW - 301, NOW + 301, u64::MAX] {
            let stale = checked(&header("whsec_the_older_secret", at), BODY);
            assert_eq!(stale, Err(SignatureError::Stale), "{at}");
        }
    }

    #[test]
    fn a_signature_is_good_by_any_of_our_clocks_and_by_none_it_is_not() {
        let live = secrets("whsec_the_older_secret");
        let signed = header("whsec_the_older_secret", NOW);
        for clocks in [[NOW + 3_600, NOW], [NOW, NOW - 3_600]] {
            assert_eq!(check(&signed, BODY, &live, &clocks), Ok(()));
        }
        for clocks in [[NOW + 3_600, NOW + 301], [NOW - 301, NOW - 3_600]] {
            let stale = check(&signed, BODY, &live, &clocks);
            assert_eq!(stale, Err(SignatureError::Stale), "{clocks:?}");
        }
    }

    #[test]
    fn what_is_no_signature_is_not_read() {
        for header in [
            "",
            "t",
            "v1=00",
            "t=,v1=00",
            "t=-1,v1=00",
            "t=+1",
            "t=1 ",
            "t=1,t=1",
            "t=1x",
            "nonsense",
            "t=99999999999999999999",
        ] {
            let refused = checked(header, BODY);
            let known = matches!(
                refused,
                Err(SignatureError::Unreadable | SignatureError::Stale)
            );
            assert!(known, "{header}: {refused:?}");
        }
    }

    #[test]
    fn without_a_live_secret_nothing_fits() {
        let none = check(&header("", NOW), BODY, &WebhookSecrets::default(), &[NOW]);
        assert_eq!(none, Err(SignatureError::Forged));
    }

    #[test]
    fn signatures_behind_the_eighth_are_not_looked_at() {
        let others = vec![format!("v1={}", "0".repeat(64)); 8].join(",");
        let good = hex("whsec_the_older_secret", NOW, BODY);
        let last = format!("t={NOW},{others},v1={good}");
        assert_eq!(checked(&last, BODY), Err(SignatureError::Forged));
    }
}
