//! A defensive reader of the TLS ClientHello: finds the SNI and believes nothing else.
//!
//! RFC 8446 (5.1, 4.1.2) and RFC 6066 (3). Handshake messages may be spread over several records and several
//! segments; the caller feeds all bytes so far and asks again while the answer is [`Hello::Incomplete`].

/// More bytes than any honest ClientHello needs, post-quantum key shares included.
pub const MAX_HELLO_BYTES: usize = 32 * 1024;

/// What the first bytes of a TLS client say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// A prefix of a plausible ClientHello; more bytes are needed.
    Incomplete,
    /// Not a ClientHello, or one that contradicts itself.
    Malformed,
    /// A whole ClientHello, with its host name when it has one.
    Complete {
        /// The `host_name` of the server_name extension, as sent.
        server_name: Option<String>,
    },
}

/// Reads the bytes a client sent so far. Never panics; work is linear in `bytes`.
pub fn read(bytes: &[u8]) -> Hello {
    let (message, whole) = match handshake_bytes(bytes) {
        Some(found) => found,
        None => return Hello::Malformed,
    };
    if message.first().is_some_and(|&kind| kind != 1) {
        return Hello::Malformed;
    }
    let Some(header) = message.get(..4) else {
        return if whole { Hello::Malformed } else { Hello::Incomplete };
    };
    let length = u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize;
    if length > MAX_HELLO_BYTES {
        return Hello::Malformed;
    }
    match message.get(4..4 + length) {
        // Data after the hello in the same record would be a second handshake message: no client sends that.
        Some(body) if message.len() == 4 + length => match server_name(body) {
            Some(server_name) => Hello::Complete { server_name },
            None => Hello::Malformed,
        },
        Some(_) => Hello::Malformed,
        None if bytes.len() > MAX_HELLO_BYTES => Hello::Malformed,
        None => Hello::Incomplete,
    }
}

/// Joins the fragments of consecutive handshake records, up to the end of the first message or of the bytes.
/// The flag is false when more bytes may follow. `None` means: these are not handshake records.
fn handshake_bytes(bytes: &[u8]) -> Option<(Vec<u8>, bool)> {
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        if message.len() >= 4 {
            let length = u32::from_be_bytes([0, message[1], message[2], message[3]]) as usize;
            if message.len() >= 4 + length {
                return Some((message, true));
            }
        }
        let known = rest.len().min(5);
        let (header, body) = rest.split_at(known);
        let version_is_tls =
            header.get(1).is_none_or(|&major| major == 3) && header.get(2).is_none_or(|&minor| minor <= 4);
        if header.first().is_some_and(|&kind| kind != 22) || !version_is_tls {
            return None;
        }
        if header.len() < 5 {
            return Some((message, false));
        }
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        // RFC 8446, 5.1: no empty handshake fragments, at most 2^14 bytes each.
        if length == 0 || length > 1 << 14 {
            return None;
        }
        message.extend_from_slice(&body[..length.min(body.len())]);
        if body.len() < length {
            return Some((message, false));
        }
        rest = &body[length..];
    }
}

/// Takes `n` bytes off the front.
fn take<'a>(rest: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(n)?;
    *rest = tail;
    Some(head)
}

/// Takes a vector with a length prefix of `width` bytes.
fn take_vector<'a>(rest: &mut &'a [u8], width: usize) -> Option<&'a [u8]> {
    let length = take(rest, width)?.iter().fold(0_usize, |n, &byte| n << 8 | usize::from(byte));
    take(rest, length)
}

/// Walks the body of a ClientHello. The outer `None` means malformed.
fn server_name(body: &[u8]) -> Option<Option<String>> {
    let mut rest = body;
    take(&mut rest, 2 + 32)?;
    let session = take_vector(&mut rest, 1)?;
    let suites = take_vector(&mut rest, 2)?;
    let compression = take_vector(&mut rest, 1)?;
    if session.len() > 32 || suites.len() < 2 || suites.len() % 2 != 0 || compression.is_empty() {
        return None;
    }
    if rest.is_empty() {
        return Some(None);
    }
    let mut extensions = take_vector(&mut rest, 2)?;
    if !rest.is_empty() {
        return None;
    }
    let mut found = None;
    while !extensions.is_empty() {
        let kind = take(&mut extensions, 2)?;
        let mut data = take_vector(&mut extensions, 2)?;
        if kind != [0, 0] {
            continue;
        }
        let mut list = take_vector(&mut data, 2)?;
        let name_type = take(&mut list, 1)?;
        let name = take_vector(&mut list, 2)?;
        // One extension, one entry, one type: anything more is a way to show two names to two readers.
        if found.is_some() || !data.is_empty() || !list.is_empty() || name_type != [0] {
            return None;
        }
        if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        found = Some(String::from_utf8(name.to_vec()).ok()?);
    }
    Some(found)
}

#[cfg(test)]
#[path = "client_hello_tests.rs"]
pub(crate) mod tests;
