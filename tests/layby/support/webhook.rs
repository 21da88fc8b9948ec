//! Webhooks of a payment provider, signed as a provider signs them.

use std::path::PathBuf;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use super::{Answer, Caller, Shop};

/// Whoever knows the secret may say what it likes.
#[derive(Clone)]
pub(crate) struct Webhook {
    pub(crate) caller: Caller,
    pub(crate) shop_url: String,
    pub(crate) provider: &'static str,
    pub(crate) header: &'static str,
    pub(crate) secret: String,
}

impl Webhook {
    /// With the newest secret of the shop.
    pub(crate) fn sandbox(shop: &Shop) -> Self {
        let secrets = std::fs::read_to_string(secret_path(shop, "sandbox-webhook.secrets"));
        let secrets = secrets.expect("made at the first start");
        let secret = secrets.lines().last().expect("a secret").to_owned();
        Self::of(shop, "sandbox", "Layby-Signature", secret)
    }

    pub(crate) fn stripe(shop: &Shop, secret: &str) -> Self {
        Self::of(shop, "stripe", "Stripe-Signature", secret.to_owned())
    }

    fn of(shop: &Shop, provider: &'static str, header: &'static str, secret: String) -> Self {
        Self {
            caller: shop.visitor(),
            shop_url: shop.url().to_owned(),
            provider,
            header,
            secret,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}{}", self.shop_url, self.path())
    }

    /// Signed now.
    #[track_caller]
    pub(crate) fn send(&self, body: &Value) -> Answer {
        let now = jiff::Timestamp::now().as_second();
        let signature = self.signature(now, &body.to_string());
        self.send_signed(Some(&signature), body)
    }

    #[track_caller]
    pub(crate) fn send_signed(&self, signature: Option<&str>, body: &Value) -> Answer {
        let caller = match signature {
            Some(signature) => self.caller.with_header(self.header, signature),
            None => self.caller.clone(),
        };
        caller.post_with(&self.path(), body)
    }

    pub(crate) fn signature(&self, at: i64, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).expect("a key");
        mac.update(format!("{at}.{body}").as_bytes());
        let bytes = mac.finalize().into_bytes();
        let hex: String = bytes.iter().map(|it| format!("{it:02x}")).collect();
        format!("t={at},v1={hex}")
    }

    fn path(&self) -> String {
        format!("/v1/webhooks/payments/{}", self.provider)
    }
}

pub(super) fn secret_path(shop: &Shop, name: &str) -> PathBuf {
    shop.data_dir().join("secrets").join(name)
}
