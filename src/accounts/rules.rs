//! How often something may be asked. Buckets of accounts and of client addresses are independent of each other.
//!
//! A wrong password costs a token in both; a right one gives it back. An account whose bucket is empty is not locked: it
//! turns away addresses that failed on it. Who signed in from an address before still may, and other addresses share a
//! bucket of their own. So an
//! attacker makes guessing slow and cannot keep the owner out.

use std::time::Duration;

use crate::persistence::limits::Rule;

/// Sign-ins from a client address. Generous, because many people may share one.
pub(super) const SIGN_IN_BY_CLIENT: Rule = rule("sign_in_client", 300, 1_000);
/// Sign-ins to an account that went wrong.
pub(super) const SIGN_IN_BY_ACCOUNT: Rule = rule("sign_in_account", 10, 30_000);
/// Sign-ins to an account under attack, from addresses that have not failed on it.
pub(super) const SIGN_IN_BY_NEWCOMERS: Rule = rule("sign_in_newcomers", 20, 10_000);
/// Anything else that works without a token, from a client address.
pub(super) const ASKING: Rule = rule("asking_client", 300, 500);
/// Letters with a code to verify an address.
pub(super) const VERIFY_LETTERS: Rule = rule("letters_verify", 5, 720_000);
/// Letters with a code to reset a password.
pub(super) const RESET_LETTERS: Rule = rule("letters_reset", 5, 720_000);
/// Tries of the current password by somebody who is signed in.
pub(super) const PASSWORD_CHECKS: Rule = rule("password_checks", 10, 30_000);

/// An address from which somebody signed in to an account is trusted for so long.
pub(super) const KNOWN_FOR: Duration = Duration::from_secs(30 * 86_400);
/// An address that failed on an account counts as failed for so long.
pub(super) const FAILED_FOR: Duration = Duration::from_secs(3_600);
pub(super) const KNOWN: &str = "known_client";
pub(super) const FAILED: &str = "failed_client";

const fn rule(name: &'static str, burst: u32, refill_ms: u64) -> Rule {
    Rule {
        name,
        burst,
        refill: Duration::from_millis(refill_ms),
    }
}
