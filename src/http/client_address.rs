//! Who a client is, as far as its address tells: for limits and for the log of events.
//!
//! Anybody can write into a header whatever they like. `X-Forwarded-For` is believed from proxies that the operator names,
//! and from its right end only: each proxy adds the address that it saw itself, so the right-most one that is no proxy of
//! ours is the last that somebody of ours has seen.
//!
//! Deliberately absent: `Forwarded`, `X-Real-IP`, `X-User-Id` and their like are never read.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use actix_web::dev::Payload;
use actix_web::http::header::{HeaderMap, HeaderValue};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Addresses written into `X-Forwarded-For` that are looked at; if all of them are proxies, the last of them is the client.
pub(crate) const HOPS_MAX: usize = 16;

/// Proxies whose `X-Forwarded-For` is believed. None by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TrustedProxies(Vec<IpNet>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an address nor a net; write for example 127.0.0.1, 10.0.0.0/8, fd00::/8")]
pub(crate) struct BadNet(String);

/// The address of a client: never a mapped one, so that each IPv4 address has one form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ClientAddress(IpAddr);

impl TrustedProxies {
    fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }
}

impl FromStr for TrustedProxies {
    type Err = BadNet;

    /// Addresses and nets with commas between them, or nothing.
    fn from_str(text: &str) -> Result<Self, BadNet> {
        let words = text.split(',').map(str::trim);
        words
            .filter(|it| !it.is_empty())
            .map(|word| net(word).ok_or_else(|| BadNet(word.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl ClientAddress {
    /// Believes the proxies in the application's data, and nobody if there are none.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        // Without a peer (a test, a Unix socket) all clients are one.
        let peer = request
            .peer_addr()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |it| it.ip());
        match request.app_data::<Data<TrustedProxies>>() {
            Some(proxies) => Self::seen(peer, request.headers(), proxies),
            None => Self(peer.to_canonical()),
        }
    }

    #[cfg(test)]
    const fn ip(self) -> IpAddr {
        self.0
    }

    /// What is held responsible together: an IPv4 address, or the /64 that one IPv6 customer has at least, for example
    /// `203.0.113.7` or `2001:db8:1:2::/64`.
    pub(crate) fn bucket(self) -> String {
        match self.0 {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => {
                let network = u128::from(address) & (u128::MAX << 64);
                format!("{}/64", Ipv6Addr::from(network))
            }
        }
    }

    /// Walks from the peer to the left, as long as whoever is reached is a proxy of ours.
    fn seen(peer: IpAddr, headers: &HeaderMap, proxies: &TrustedProxies) -> Self {
        let mut client = peer.to_canonical();
        for hop in hops(headers).take(HOPS_MAX) {
            if !proxies.contain(client) {
                break;
            }
            // What cannot be read was not written by a proxy of ours: it and all to its left is hearsay.
            let Some(address) = hop else { break };
            client = address;
        }
        Self(client)
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl FromRequest for ClientAddress {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self::of(request)))
    }
}

/// All lines of `X-Forwarded-For` as one list, from its right end. `None` stands for what is no address.
fn hops(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let lines: Vec<&HeaderValue> = headers.get_all("x-forwarded-for").collect();
    lines
        .into_iter()
        .rev()
        // As bytes: what a client writes to the left must not make unreadable what a proxy of ours adds to the same line.
        .flat_map(|line| line.as_bytes().rsplit(|it| *it == b','))
        .map(|entry| address(str::from_utf8(entry).ok()?.trim()))
}

/// `203.0.113.7`, `2001:db8::1`, `[2001:db8::1]`, and each with a port, as some proxies write it.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|it| it.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse()
        .or_else(|_| text.parse().map(|it: SocketAddr| it.ip()))
        .ok()
        .map(|it: IpAddr| it.to_canonical())
}

fn net(text: &str) -> Option<IpNet> {
    let net = text
        .parse()
        .or_else(|_| text.parse().map(|it: IpAddr| IpNet::from(it)))
        .ok()?;
    match net {
        IpNet::V4(_) => Some(net),
        IpNet::V6(v6) => Some(unmapped(v6).map_or(net, IpNet::V4)),
    }
}

/// `::ffff:10.0.0.0/104` is 10.0.0.0/8, because clients are never of the mapped form.
fn unmapped(net: Ipv6Net) -> Option<Ipv4Net> {
    let address = net.addr().to_ipv4_mapped()?;
    Ipv4Net::new(address, net.prefix_len().checked_sub(96)?).ok()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const NETS: &str = "127.0.0.1, 10.0.0.0/8,fd00::/8";

    #[test]
    fn without_proxies_no_header_is_believed() {
        for proxies in ["", " , "] {
            check(proxies, "203.0.113.7", &["198.51.100.1"], "203.0.113.7");
            check(proxies, "127.0.0.1", &["198.51.100.1"], "127.0.0.1");
        }
        let request = TestRequest::default()
            .peer_addr(SocketAddr::new(ip("127.0.0.1"), 1))
            .insert_header(("X-Forwarded-For", "198.51.100.1"))
            .to_http_request();
        assert_eq!(ClientAddress::of(&request).ip(), ip("127.0.0.1"));
    }

    #[test]
    fn a_stranger_who_names_somebody_else_is_himself() {
        check(NETS, "203.0.113.7", &["198.51.100.1"], "203.0.113.7");
        check(NETS, "203.0.113.7", &["10.0.0.1"], "203.0.113.7");
    }

    #[test]
    fn behind_a_proxy_the_client_is_whom_it_saw() {
        check(NETS, "127.0.0.1", &["198.51.100.1"], "198.51.100.1");
        check(NETS, "10.255.0.1", &["2001:db8::1"], "2001:db8::1");
        check(NETS, "fd00::1", &[" 198.51.100.1\t"], "198.51.100.1");
    }

    #[test]
    fn what_a_client_wrote_itself_is_to_the_left_and_not_believed() {
        let words = "\u{e9}\u{1f511}, \"[::1, 198.51.100.1";
        check(NETS, "127.0.0.1", &[words], "198.51.100.1");
        check(
            NETS,
            "127.0.0.1",
            &["1.1.1.1, 198.51.100.1"],
            "198.51.100.1",
        );
        check(
            NETS,
            "127.0.0.1",
            &["10.0.0.9, 198.51.100.1"],
            "198.51.100.1",
        );
        check(
            NETS,
            "127.0.0.1",
            &["1.1.1.1", "198.51.100.1"],
            "198.51.100.1",
        );
    }

    #[test]
    fn proxies_behind_proxies_are_passed_by_also_on_several_lines() {
        let lines = ["1.1.1.1, 198.51.100.1,10.0.0.2", "10.0.0.3 , 10.0.0.4"];
        check(NETS, "127.0.0.1", &lines, "198.51.100.1");
        check(NETS, "127.0.0.1", &["10.0.0.2, 10.0.0.3"], "10.0.0.2");
    }

    #[test]
    fn what_cannot_be_read_ends_the_walk_at_the_last_good_hop() {
        for bad in ["unknown", "", "999.1.1.1", "198.51.100.1 ", "_hidden", "é"] {
            let line = format!("198.51.100.1, {bad}x, 10.0.0.3");
            check(NETS, "127.0.0.1", &[&line], "10.0.0.3");
        }
        check(NETS, "127.0.0.1", &["198.51.100.1,,10.0.0.3"], "10.0.0.3");
        check(NETS, "127.0.0.1", &["198.51.100.1", ""], "127.0.0.1");
        check(NETS, "127.0.0.1", &[], "127.0.0.1");
    }

    #[test]
    fn ports_and_brackets_are_no_part_of_an_address() {
        check(NETS, "127.0.0.1", &["198.51.100.1:4711"], "198.51.100.1");
        check(NETS, "127.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1");
        check(NETS, "127.0.0.1", &["[2001:db8::1]"], "2001:db8::1");
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        check(
            NETS,
            "::ffff:127.0.0.1",
            &["::ffff:198.51.100.1"],
            "198.51.100.1",
        );
        check(
            "::ffff:10.0.0.0/104",
            "10.1.2.3",
            &["198.51.100.1"],
            "198.51.100.1",
        );
        check(
            "::ffff:127.0.0.1",
            "127.0.0.1",
            &["198.51.100.1"],
            "198.51.100.1",
        );
        check("", "::ffff:203.0.113.7", &[], "203.0.113.7");
    }

    #[test]
    fn only_so_many_hops_are_looked_at() {
        let chain = |proxies: usize| {
            let mut hops = vec!["198.51.100.1".to_owned()];
            hops.extend((1..=proxies).map(|it| format!("10.0.0.{it}")));
            hops.join(",")
        };
        check(NETS, "127.0.0.1", &[&chain(HOPS_MAX - 1)], "198.51.100.1");
        check(NETS, "127.0.0.1", &[&chain(HOPS_MAX)], "10.0.0.1");
        check(NETS, "127.0.0.1", &[&chain(200)], "10.0.0.185");
    }

    #[test]
    fn other_headers_say_nothing() {
        let mut request = TestRequest::default()
            .app_data(Data::new(proxies(NETS)))
            .peer_addr(SocketAddr::new(ip("127.0.0.1"), 1));
        for name in ["X-Real-IP", "X-User-Id", "X-Client-IP", "True-Client-IP"] {
            request = request.insert_header((name, "198.51.100.1"));
        }
        request = request.insert_header(("Forwarded", "for=198.51.100.1"));
        assert_eq!(
            ClientAddress::of(&request.to_http_request()).ip(),
            ip("127.0.0.1")
        );
    }

    #[test]
    fn an_ipv6_customer_is_one_bucket_and_so_is_an_ipv4_address() {
        for (address, bucket) in [
            ("203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::", "2001:db8:1:3::/64"),
            ("::1", "::/64"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
        ] {
            let client = ClientAddress::of(&request("", address, &[]));
            assert_eq!(client.bucket(), bucket, "{address}");
        }
    }

    #[test]
    fn without_a_peer_all_clients_are_one() {
        let request = TestRequest::default().to_http_request();
        assert_eq!(ClientAddress::of(&request).bucket(), "0.0.0.0");
    }

    #[test]
    fn a_handler_gets_it_and_it_never_fails() {
        let request = request(NETS, "127.0.0.1", &["198.51.100.1"]);
        let Ok(client) = ClientAddress::from_request(&request, &mut Payload::None).into_inner();
        assert_eq!(client.to_string(), "198.51.100.1");
    }

    #[test]
    fn a_net_that_is_none_is_named() {
        for (text, bad) in [
            ("10.0.0.0/8, proxy.example", "proxy.example"),
            ("10.0.0.0/33", "10.0.0.0/33"),
            ("10.0.0.0/8 fd00::/8", "10.0.0.0/8 fd00::/8"),
        ] {
            let refused = text.parse::<TrustedProxies>();
            assert_eq!(refused, Err(BadNet(bad.to_owned())));
        }
    }

    #[track_caller]
    fn check(nets: &str, peer: &str, lines: &[&str], client: &str) {
        let found = ClientAddress::of(&request(nets, peer, lines));
        assert_eq!(found.ip(), ip(client), "{peer} says {lines:?}");
    }

    fn request(nets: &str, peer: &str, lines: &[&str]) -> HttpRequest {
        let mut request = TestRequest::default()
            .app_data(Data::new(proxies(nets)))
            .peer_addr(SocketAddr::new(ip(peer), 4711));
        for line in lines {
            let value = HeaderValue::from_bytes(line.as_bytes()).expect("a line");
            request = request.append_header(("X-Forwarded-For", value));
        }
        request.to_http_request()
    }

    fn proxies(nets: &str) -> TrustedProxies {
        nets.parse().expect("nets")
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }
}
