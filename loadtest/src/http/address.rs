//! Where the server is: parsed once from a URL, resolved once, then trusted.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, Result, bail};

#[derive(Debug, Clone)]
pub(crate) struct Address {
    /// `host:port`, as the `Host` header wants it.
    pub(crate) host: String,
    pub(crate) socket: SocketAddr,
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let Some(rest) = url.strip_prefix("http://") else {
            bail!(
                "`{url}` does not start with http://; the load test speaks plain HTTP, so give the address behind the TLS proxy"
            );
        };
        let host = rest.trim_end_matches('/');
        if host.is_empty() || host.contains('/') {
            bail!("`{url}` is not of the form http://HOST:PORT");
        }
        let host = if has_port(host) {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let socket = host
            .to_socket_addrs()
            .with_context(|| format!("cannot resolve the host of `{url}`"))?
            .next()
            .with_context(|| format!("the host of `{url}` has no address"))?;
        Ok(Self { host, socket })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.host)
    }
}

/// An IPv6 host has colons of its own, but ends in a bracket when it has no port.
fn has_port(host: &str) -> bool {
    !host.ends_with(']') && host.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_host_and_a_port() {
        let address = Address::parse("http://127.0.0.1:8080/").expect("valid");
        assert_eq!(address.host, "127.0.0.1:8080");
        assert_eq!(address.to_string(), "http://127.0.0.1:8080");
        assert_eq!(
            Address::parse("http://127.0.0.1")
                .expect("valid")
                .socket
                .port(),
            80
        );
        assert_eq!(
            Address::parse("http://[::1]").expect("valid").socket.port(),
            80
        );
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        for wrong in [
            "https://127.0.0.1",
            "127.0.0.1:80",
            "http://",
            "http://127.0.0.1:80/v1",
        ] {
            let message = Address::parse(wrong).expect_err("refused").to_string();
            assert!(message.contains(wrong), "{message}");
        }
    }
}
