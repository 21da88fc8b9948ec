//! Who is held responsible for a request that carries no token: the address it comes from.
//!
//! `X-Forwarded-For` is believed from configured proxies alone, and from the right, where they write. Everything before the first hop
//! that is not one of them could have been written by anybody.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use actix_web::HttpRequest;
use actix_web::web::Data;
use ipnet::IpNet;

/// Hops that are looked at, from the right. Nobody has more proxies of their own.
const HOPS_MAX: usize = 16;

/// Nets of proxies whose word is taken.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

#[derive(Debug, thiserror::Error)]
#[error("`{0}` is neither an address nor a net such as 10.0.0.0/8")]
pub struct BadNet(String);

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(IpAddr);

impl FromStr for TrustedProxies {
    type Err = BadNet;

    /// Addresses and nets, separated by commas.
    fn from_str(text: &str) -> Result<Self, BadNet> {
        let nets = text.split(',').map(str::trim).filter(|it| !it.is_empty());
        nets.map(parse_net).collect::<Result<_, _>>().map(Self)
    }
}

impl TrustedProxies {
    fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }
}

impl ClientAddress {
    pub fn of(request: &HttpRequest) -> Self {
        let peer = request.peer_addr().map_or(UNKNOWN, |it| plain(it.ip()));
        let Some(proxies) = request.app_data::<Data<TrustedProxies>>() else {
            return Self(peer);
        };
        if !proxies.contain(peer) {
            return Self(peer);
        }
        let headers = request.headers().get_all("x-forwarded-for");
        let lines: Vec<&str> = headers.filter_map(|line| line.to_str().ok()).collect();
        Self(walk_back(peer, &lines.join(","), proxies))
    }

    /// What a limit counts by: an IPv6 client has a whole /64 to itself.
    pub fn bucket(self) -> String {
        match self.0 {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => {
                let net = u128::from(address) >> 64 << 64;
                format!("{}/64", Ipv6Addr::from(net))
            }
        }
    }
}

/// A request that did not come over a socket, as in tests.
const UNKNOWN: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// From the right to the first hop that is not a proxy; what cannot be read ends the walk at the last good hop.
fn walk_back(peer: IpAddr, forwarded_for: &str, proxies: &TrustedProxies) -> IpAddr {
    let mut client = peer;
    for hop in forwarded_for.rsplit(',').take(HOPS_MAX) {
        let Some(address) = parse_hop(hop.trim()) else {
            break;
        };
        client = address;
        if !proxies.contain(address) {
            break;
        }
    }
    client
}

/// Some proxies write a port, too.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse().ok();
    address
        .or_else(|| text.parse::<SocketAddr>().ok().map(|it| it.ip()))
        .map(plain)
}

/// An IPv4 client on a socket for IPv6 is an IPv4 client.
fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

fn parse_net(text: &str) -> Result<IpNet, BadNet> {
    let net = text.parse::<IpNet>().ok();
    net.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
        .ok_or_else(|| BadNet(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn client(peer: &str, proxies: &str, forwarded_for: &[&str]) -> String {
        let peer: IpAddr = peer.parse().expect("an address");
        let proxies: TrustedProxies = proxies.parse().expect("nets");
        let mut request = TestRequest::default()
            .peer_addr(SocketAddr::from((peer, 1)))
            .app_data(Data::new(proxies))
            .insert_header(("X-Real-IP", "6.6.6.6"))
            .insert_header(("Forwarded", "for=6.6.6.6"))
            .insert_header(("X-User-Id", "6"));
        for line in forwarded_for {
            request = request.append_header(("X-Forwarded-For", *line));
        }
        ClientAddress::of(&request.to_http_request()).bucket()
    }

    #[test]
    fn a_stranger_is_not_believed() {
        assert_eq!(client("203.0.113.7", "", &["1.2.3.4"]), "203.0.113.7");
        assert_eq!(
            client("203.0.113.7", "10.0.0.0/8", &["1.2.3.4"]),
            "203.0.113.7"
        );
    }

    #[test]
    fn a_proxy_is_believed_as_far_as_it_wrote() {
        let proxies = "10.0.0.0/8, 127.0.0.1";
        assert_eq!(client("127.0.0.1", proxies, &["1.2.3.4"]), "1.2.3.4");
        assert_eq!(
            client("127.0.0.1", proxies, &["6.6.6.6, 1.2.3.4, 10.0.0.2"]),
            "1.2.3.4"
        );
        assert_eq!(
            client("127.0.0.1", proxies, &["6.6.6.6", "1.2.3.4"]),
            "1.2.3.4"
        );
        assert_eq!(client("127.0.0.1", proxies, &["1.2.3.4:5678"]), "1.2.3.4");
        assert_eq!(client("127.0.0.1", proxies, &[]), "127.0.0.1");
        assert_eq!(
            client("127.0.0.1", proxies, &["6.6.6.6, nonsense"]),
            "127.0.0.1"
        );
        assert_eq!(
            client("127.0.0.1", proxies, &["6.6.6.6, nonsense, 10.0.0.2"]),
            "10.0.0.2"
        );
    }

    #[test]
    fn a_long_chain_is_not_walked_to_its_end() {
        let chain = format!("1.2.3.4{}", ", 10.0.0.2".repeat(HOPS_MAX));
        assert_eq!(client("10.0.0.1", "10.0.0.0/8", &[&chain]), "10.0.0.2");
    }

    #[test]
    fn an_ipv6_client_is_its_net() {
        assert_eq!(client("2001:db8:1:2:3:4:5:6", "", &[]), "2001:db8:1:2::/64");
        assert_eq!(client("::ffff:203.0.113.7", "", &[]), "203.0.113.7");
        assert_eq!(client("::1", "::1", &["[2001:db8::9]:80"]), "2001:db8::/64");
    }

    #[test]
    fn what_is_no_net_is_refused() {
        assert!("10.0.0.0/8, proxy".parse::<TrustedProxies>().is_err());
        assert!("10.0.0.0/33".parse::<TrustedProxies>().is_err());
    }
}
