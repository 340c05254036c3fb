//! Resolving and connecting in one step: the addresses that are judged are the addresses that are dialled.
//!
//! A name is resolved once, after the allowlist let it through. If any of its addresses is reserved, none is
//! dialled: a name that mixes public and private answers is under somebody's attack.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::address::{self, Reserved};
use super::host::Host;
use super::policy::SsrfPolicy;

const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Ports that no policy of a bottle asks for and that would carry mail or names.
const REFUSED_PORTS: [u16; 3] = [0, 25, 53];

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// The port is never dialled.
    #[error("port {0} is never dialled")]
    Port(u16),
    /// The name has no address, or the resolver does not answer.
    #[error("the name does not resolve")]
    Resolve,
    /// One of the addresses is reserved.
    #[error("resolves to an address that is not dialled: {0}")]
    Reserved(#[from] Reserved),
    /// No address answered.
    #[error("no address accepts the connection")]
    Connect(#[source] io::Error),
}

/// Refuses ports that are never dialled.
pub(super) fn permit_port(port: u16) -> Result<(), DialError> {
    if REFUSED_PORTS.contains(&port) { Err(DialError::Port(port)) } else { Ok(()) }
}

/// Resolves a host and judges every address.
pub(super) async fn resolve(host: &Host, ssrf: &SsrfPolicy) -> Result<Vec<IpAddr>, DialError> {
    resolve_with(host, ssrf, |name| async move {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    })
    .await
}

/// As [`resolve`], with the resolver as an argument for the tests.
async fn resolve_with<F>(
    host: &Host,
    ssrf: &SsrfPolicy,
    look_up: impl FnOnce(String) -> F,
) -> Result<Vec<IpAddr>, DialError>
where
    F: Future<Output = io::Result<Vec<IpAddr>>>,
{
    let addresses = match host {
        Host::Address { ip, .. } => vec![*ip],
        Host::Name(name) => match timeout(RESOLVE_TIMEOUT, look_up(name.clone())).await {
            Ok(Ok(addresses)) if !addresses.is_empty() => addresses,
            _ => return Err(DialError::Resolve),
        },
    };
    let trusted = ssrf.trusted.contains(host);
    for &ip in &addresses {
        address::permit(ip, trusted, &ssrf.exempt, &ssrf.internal)?;
    }
    Ok(addresses)
}

/// Opens a connection to one of the judged addresses, in the resolver's order.
pub(super) async fn connect(host: &Host, port: u16, ssrf: &SsrfPolicy) -> Result<TcpStream, DialError> {
    permit_port(port)?;
    let addresses = resolve(host, ssrf).await?;
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    let attempts = async {
        for &ip in &addresses {
            match TcpStream::connect(SocketAddr::new(ip, port)).await {
                Ok(stream) => return Some(stream),
                Err(error) => last = error,
            }
        }
        None
    };
    match timeout(CONNECT_TIMEOUT, attempts).await {
        Ok(Some(stream)) => Ok(stream),
        _ => Err(DialError::Connect(last)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    async fn resolved(answers: &[&str]) -> Result<Vec<IpAddr>, DialError> {
        let host = Host::parse("a.test").unwrap();
        resolve_with(&host, &SsrfPolicy::default(), |_| async { Ok(ips(answers)) }).await
    }

    #[tokio::test]
    async fn one_reserved_answer_spoils_all() {
        assert_eq!(resolved(&["1.1.1.1"]).await.unwrap(), ips(&["1.1.1.1"]));
        assert!(matches!(resolved(&["1.1.1.1", "127.0.0.1"]).await, Err(DialError::Reserved(_))));
        assert!(matches!(resolved(&["::ffff:127.0.0.1"]).await, Err(DialError::Reserved(_))));
        assert!(matches!(resolved(&[]).await, Err(DialError::Resolve)));
    }

    #[tokio::test]
    async fn a_name_that_changes_its_answer_gets_one_look_up() {
        // A rebinding server answers with a public address first and a private one next. What is dialled is
        // the judged list itself, so there is no second question to answer.
        let mut asked = 0;
        let host = Host::parse("rebind.test").unwrap();
        let ssrf = SsrfPolicy::default();
        let look_up = |_| {
            asked += 1;
            async { Ok(ips(&["1.1.1.1"])) }
        };
        assert_eq!(resolve_with(&host, &ssrf, look_up).await.unwrap(), ips(&["1.1.1.1"]));
        assert_eq!(asked, 1);
    }

    #[tokio::test]
    async fn a_literal_is_never_looked_up() {
        let host = Host::parse("127.0.0.1").unwrap();
        let result = resolve_with(&host, &SsrfPolicy::default(), |_| async { panic!("looked up") }).await;
        assert!(matches!(result, Err(DialError::Reserved(_))));
    }

    #[test]
    fn mail_and_name_ports_are_refused() {
        assert!([0, 25, 53].into_iter().all(|port| permit_port(port).is_err()));
        assert!([22, 443, 8443].into_iter().all(|port| permit_port(port).is_ok()));
    }
}
