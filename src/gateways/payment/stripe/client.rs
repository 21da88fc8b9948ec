//! Stripe's API over HTTP: one pinned version, no redirects, a deadline for every call, and an answer that either means
//! something or says why it does not.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::{RequestBuilder, Response, redirect};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::super::CallError;
use super::objects::{Fault, FaultBody};

/// What the fields and states mean that are read here. Newer versions of the account change nothing for us.
const API_VERSION: &str = "2024-06-20";
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Bytes of an answer; a longer one is none of Stripe's. A page of a hundred intents has half a megabyte.
const ANSWER_BYTES_MAX: usize = 4 << 20;

#[derive(Debug, Clone)]
pub struct StripeOptions {
    /// Without a slash at the end.
    pub url: String,
    /// How long one call may take from the first byte to the last.
    pub call_within: Duration,
}

pub(super) struct Client {
    http: reqwest::Client,
    url: String,
    key: Zeroizing<String>,
}

/// An answer that means something.
#[derive(Debug)]
pub(super) enum Said<T> {
    Done(T),
    /// 402: the means of payment was good to look at, and its issuer said no.
    Declined(Fault),
    /// 400 or 404: the request makes no sense, so nothing was done.
    Refused(Fault),
    /// 403: the key may not do this, so nothing was done.
    NotPermitted(Fault),
}

impl StripeOptions {
    pub fn at(url: &str) -> Self {
        Self {
            url: url.trim_end_matches('/').to_owned(),
            call_within: Duration::from_secs(30),
        }
    }
}

impl Client {
    /// # Errors
    /// A URL that is none, or that would send the key over a network in the clear.
    pub(super) fn open(options: &StripeOptions, key: Zeroizing<String>) -> anyhow::Result<Self> {
        check_url(&options.url)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls()?)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_WITHIN)
            .timeout(options.call_within)
            .user_agent(concat!("layby/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("cannot make an HTTP client for Stripe")?;
        Ok(Self {
            http,
            url: options.url.clone(),
            key,
        })
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Said<T>, CallError> {
        let request = self.http.get(format!("{}{path}", self.url)).query(query);
        self.send(request).await
    }

    /// Stripe gives the first answer again to whatever comes under the same key within a day.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        idempotency_key: &str,
        form: &[(&str, &str)],
    ) -> Result<Said<T>, CallError> {
        let request = self
            .http
            .post(format!("{}{path}", self.url))
            .header("Idempotency-Key", idempotency_key)
            .form(form);
        self.send(request).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<Said<T>, CallError> {
        let request = request
            .bearer_auth(self.key.as_str())
            .header("Stripe-Version", API_VERSION);
        let response = request.send().await.map_err(unavailable)?;
        let status = response.status().as_u16();
        let body = read(response).await?;
        if (200..300).contains(&status) {
            let done = serde_json::from_slice(&body);
            return done.map(Said::Done).map_err(|error| {
                CallError::Unavailable(format!("Stripe's answer {status} does not read: {error}"))
            });
        }
        // What stands between us and Stripe also answers 400 or 404, but not in Stripe's words.
        let Ok(FaultBody { error: fault }) = serde_json::from_slice(&body) else {
            return Err(CallError::Unavailable(format!(
                "status {status}, and not in Stripe's words"
            )));
        };
        Said::because_of(status, fault)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Client")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl<T> Said<T> {
    /// What a status other than success means; `docs/decisions/0013` has the table.
    fn because_of(status: u16, fault: Fault) -> Result<Self, CallError> {
        let said = || format!("Stripe answered {status}: {fault}");
        match status {
            402 => Ok(Self::Declined(fault)),
            // An earlier call under the same key did something that this one cannot see, or is at it.
            409 => Err(CallError::Unsettled(said())),
            400 | 429 if fault.is_about_another_call() => Err(CallError::Unsettled(said())),
            400 | 404 => Ok(Self::Refused(fault)),
            403 => Ok(Self::NotPermitted(fault)),
            _ => Err(CallError::Unavailable(said())),
        }
    }

    /// For calls that cannot be declined and make sense, as far as we know.
    pub(super) fn done(self) -> Result<T, CallError> {
        match self {
            Self::Done(it) => Ok(it),
            Self::Declined(fault) | Self::Refused(fault) | Self::NotPermitted(fault) => {
                Err(CallError::Refused(fault.to_string()))
            }
        }
    }
}

/// The key is worth all the money of the shop.
fn check_url(url: &str) -> anyhow::Result<()> {
    let parsed = reqwest::Url::parse(url).with_context(|| format!("`{url}` is no URL"))?;
    let is_here = matches!(parsed.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    ensure!(
        parsed.scheme() == "https" || (parsed.scheme() == "http" && is_here),
        "`{url}` would send the secret key in the clear; use https"
    );
    Ok(())
}

/// The public roots, compiled in, and the one crypto provider of this program, named and not looked up.
fn tls() -> anyhow::Result<ClientConfig> {
    let roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .context("no version of TLS is left")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

async fn read(mut response: Response) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unavailable)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(CallError::Unavailable(format!(
                "an answer of more than {ANSWER_BYTES_MAX} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The whole chain of causes: "error sending request" alone helps nobody.
fn unavailable(error: reqwest::Error) -> CallError {
    CallError::Unavailable(format!("{:#}", anyhow::Error::from(error.without_url())))
}
