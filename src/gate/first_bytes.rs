//! What may go through a tunnel: TLS for the host that was asked for, or SSH-2. Decided on the first bytes.
//!
//! pipelock 2.3.0 lets every other protocol pass, and TLS without a server name; here both end the tunnel.

use super::client_hello::{self, Hello};
use super::host::Host;

/// Longest identification string of SSH, CR LF included (RFC 4253, 4.2).
const MAX_SSH_BANNER_BYTES: usize = 255;

const SSH_BANNER: &[u8] = b"SSH-2.0-";

/// The protocol of an admitted tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TLS whose SNI is the `CONNECT` host.
    Tls,
    /// SSH-2, never inspected further.
    Ssh,
}

/// Why a tunnel ends before its first byte leaves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Neither a ClientHello nor an SSH banner.
    #[error("the tunnel carries neither TLS nor SSH-2")]
    Protocol,
    /// A ClientHello that is broken or too long.
    #[error("the TLS ClientHello is malformed")]
    MalformedHello,
    /// TLS that does not say for whom.
    #[error("the TLS ClientHello names no server")]
    NoServerName,
    /// TLS for another host than the one judged.
    #[error("the TLS server name is not the CONNECT host")]
    WrongServerName,
}

/// Judges the bytes so far; `Ok(None)` asks for more.
///
/// # Errors
/// [`Refusal`] as soon as no continuation could be admitted.
pub fn judge(bytes: &[u8], host: &Host) -> Result<Option<Protocol>, Refusal> {
    let common = bytes.len().min(SSH_BANNER.len());
    if bytes[..common] == SSH_BANNER[..common] {
        let banner = &bytes[..bytes.len().min(MAX_SSH_BANNER_BYTES)];
        // The whole line has to be there: a banner without an end is a way to smuggle free text.
        return match banner.iter().position(|&byte| byte == b'\n') {
            Some(end) if is_banner_text(&banner[..end]) => Ok(Some(Protocol::Ssh)),
            Some(_) => Err(Refusal::Protocol),
            None if bytes.len() >= MAX_SSH_BANNER_BYTES => Err(Refusal::Protocol),
            None => Ok(None),
        };
    }
    if bytes.first() != Some(&22) {
        return Err(Refusal::Protocol);
    }
    match client_hello::read(bytes) {
        Hello::Incomplete => Ok(None),
        Hello::Malformed => Err(Refusal::MalformedHello),
        // RFC 6066, 3 forbids addresses in SNI, so a listed address is the one case without a name.
        Hello::Complete { server_name: None } if host.literal().is_some() => Ok(Some(Protocol::Tls)),
        Hello::Complete { server_name: None } => Err(Refusal::NoServerName),
        Hello::Complete { server_name: Some(name) } => {
            let same = Host::parse(&name).is_ok_and(|named| named == *host);
            if same { Ok(Some(Protocol::Tls)) } else { Err(Refusal::WrongServerName) }
        }
    }
}

/// True when the bytes begin an SSH-2 identification string, for the server's side of an SSH tunnel.
pub fn is_ssh_server(bytes: &[u8]) -> bool {
    bytes.starts_with(SSH_BANNER) || bytes.starts_with(b"SSH-1.99-")
}

fn is_banner_text(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.len() > SSH_BANNER.len() && line.iter().all(|byte| (0x20..0x7f).contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(bytes: &[u8]) -> Result<Option<Protocol>, Refusal> {
        judge(bytes, &Host::parse("a.test").unwrap())
    }

    #[test]
    fn ssh_needs_a_whole_banner_line() {
        assert_eq!(judged(b"SSH-2.0-OpenSSH_9.6\r\n"), Ok(Some(Protocol::Ssh)));
        for part in [&b"S"[..], b"SSH-2.0-", b"SSH-2.0-OpenSSH"] {
            assert_eq!(judged(part), Ok(None));
        }
        for text in [&b"SSH-1.5-x\r\n"[..], b"SSH-2.0-\r\n", b"SSH-2.0-a\0b\r\n", b"SSH-3"] {
            assert_eq!(judged(text), Err(Refusal::Protocol));
        }
        assert_eq!(judged(&[b"SSH-2.0-".as_slice(), &[b'x'; 300]].concat()), Err(Refusal::Protocol));
    }

    #[test]
    fn other_protocols_are_refused_at_their_first_byte() {
        for text in [&b"G"[..], b"\0", b"EHLO x", b"\x17\x03\x03", b"PRI * HTTP/2.0"] {
            assert_eq!(judged(text), Err(Refusal::Protocol), "{text:?}");
        }
    }
}
