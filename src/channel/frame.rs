//! The frames and how they are written.

use bytes::{BufMut, Bytes, BytesMut};

use super::FrameError;

/// What this build speaks. Raised by additions; see the module for what a reader does with a newer one.
pub const VERSION: u16 = 1;
/// Longest payload of a frame, in bytes.
pub const MAX_PAYLOAD: u32 = 64 * 1024;
/// Longest payload of the types 1..=15, in bytes.
pub const MAX_CONTROL: u32 = 256;

/// `F5` never occurs in UTF-8, and the three bytes differ, so that a search for them needs no backtracking.
pub(super) const MARKER: [u8; 3] = [0xF5, b'b', b'c'];
/// Marker, length, type, stream, check.
pub(super) const HEADER: usize = 14;
/// Where the checked part of a header lies.
const CHECKED: std::ops::Range<usize> = 3..12;

/// Begins the payload of `Hello`.
const MAGIC: [u8; 6] = *b"bottle";

const HELLO: u8 = 1;
const HEARTBEAT: u8 = 2;
const BEAT: u8 = 3;
const LEAVING: u8 = 4;

const ORPHANED: u8 = 1;
const SIGNAL: u8 = 2;

/// One message of either side.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame {
    /// From init, once, before everything else.
    Hello {
        /// What init speaks, as [`VERSION`].
        version: u16,
        /// How long init waits for a heartbeat before it ends the container, in milliseconds.
        orphan_after_ms: u64,
    },
    /// To init: the controller is alive.
    Heartbeat {
        /// Chosen by the controller; comes back in the answer.
        seq: u64,
    },
    /// From init: the answer to one heartbeat.
    Beat {
        /// Of the heartbeat that is answered.
        seq: u64,
        /// Processes in the container besides init itself.
        processes: u32,
    },
    /// From init, last: it ends the container.
    Leaving(Leaving),
    /// Either way: a type this build does not know. Its payload was skipped.
    Unknown {
        /// The type.
        kind: u8,
    },
}

/// Why init ends the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Leaving {
    /// No heartbeat within the orphan time-out.
    Orphaned,
    /// It was asked to by this signal.
    Signal(i32),
}

/// Writes one frame. [`Frame::Unknown`] becomes an empty frame of its type.
pub fn encode(frame: &Frame) -> Bytes {
    let mut payload = BytesMut::new();
    let kind = match frame {
        Frame::Hello { version, orphan_after_ms } => {
            payload.put_slice(&MAGIC);
            payload.put_u16(*version);
            payload.put_u64(*orphan_after_ms);
            HELLO
        }
        Frame::Heartbeat { seq } => {
            payload.put_u64(*seq);
            HEARTBEAT
        }
        Frame::Beat { seq, processes } => {
            payload.put_u64(*seq);
            payload.put_u32(*processes);
            BEAT
        }
        Frame::Leaving(Leaving::Orphaned) => {
            payload.put_u8(ORPHANED);
            payload.put_i32(0);
            LEAVING
        }
        Frame::Leaving(Leaving::Signal(number)) => {
            payload.put_u8(SIGNAL);
            payload.put_i32(*number);
            LEAVING
        }
        Frame::Unknown { kind } => *kind,
    };
    raw(kind, 0, &payload)
}

/// Writes a frame of any type.
///
/// # Panics
/// When the payload is longer than the type allows: a defect of the caller, which has to split what it sends.
pub(super) fn raw(kind: u8, stream: u32, payload: &[u8]) -> Bytes {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    assert!(length <= max_payload(kind), "a frame of type {kind} cannot carry {length} bytes");
    let mut bytes = BytesMut::with_capacity(HEADER + payload.len());
    bytes.put_slice(&header(kind, stream, length));
    bytes.put_slice(payload);
    bytes.freeze()
}

/// Writes a header.
pub(super) fn header(kind: u8, stream: u32, length: u32) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    let mut rest = &mut bytes[..];
    rest.put_slice(&MARKER);
    rest.put_u32(length);
    rest.put_u8(kind);
    rest.put_u32(stream);
    let check = crc16(&bytes[CHECKED]);
    bytes[CHECKED.end..].copy_from_slice(&check.to_be_bytes());
    bytes
}

/// A header that passed its checks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    kind: u8,
    pub(super) length: u32,
    stream: u32,
}

impl Header {
    /// Reads what follows the marker, and refuses what no frame of this type can be.
    pub(super) fn read(bytes: &[u8; HEADER]) -> Result<Self, FrameError> {
        let [_, _, _, l0, l1, l2, l3, kind, s0, s1, s2, s3, c0, c1] = *bytes;
        if crc16(&bytes[CHECKED]) != u16::from_be_bytes([c0, c1]) {
            return Err(FrameError::Header);
        }
        let header = Self {
            kind,
            length: u32::from_be_bytes([l0, l1, l2, l3]),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
        };
        let max = max_payload(kind);
        if header.length > max {
            return Err(FrameError::TooLong { kind, length: header.length, max });
        }
        // Known before the payload has come: what cannot become a frame does not swallow what follows it.
        match fields(kind) {
            Some(needed) if header.length < needed || header.stream != 0 => Err(header.malformed()),
            _ => Ok(header),
        }
    }

    /// Reads the payload, of which there are `length` bytes.
    pub(super) fn frame(self, payload: &[u8]) -> Result<Frame, FrameError> {
        let mut fields = Fields(payload);
        let frame = match self.kind {
            HELLO => fields.take().filter(|magic| *magic == MAGIC).and_then(|_| {
                let version = u16::from_be_bytes(fields.take()?);
                Some(Frame::Hello { version, orphan_after_ms: u64::from_be_bytes(fields.take()?) })
            }),
            HEARTBEAT => fields.take().map(|seq| Frame::Heartbeat { seq: u64::from_be_bytes(seq) }),
            BEAT => fields.take().and_then(|seq| {
                let seq = u64::from_be_bytes(seq);
                Some(Frame::Beat { seq, processes: u32::from_be_bytes(fields.take()?) })
            }),
            LEAVING => fields.take().zip(fields.take()).and_then(|(reason, number)| match reason {
                [ORPHANED] => Some(Frame::Leaving(Leaving::Orphaned)),
                [SIGNAL] => Some(Frame::Leaving(Leaving::Signal(i32::from_be_bytes(number)))),
                _ => None,
            }),
            kind => Some(Frame::Unknown { kind }),
        };
        frame.ok_or_else(|| self.malformed())
    }

    fn malformed(self) -> FrameError {
        FrameError::Malformed { kind: self.kind, length: self.length }
    }
}

/// Bytes that all fields of a known type take; `None` for an unknown one.
fn fields(kind: u8) -> Option<u32> {
    match kind {
        HELLO => Some(16),
        HEARTBEAT => Some(8),
        BEAT => Some(12),
        LEAVING => Some(5),
        _ => None,
    }
}

fn max_payload(kind: u8) -> u32 {
    if (1..=15).contains(&kind) { MAX_CONTROL } else { MAX_PAYLOAD }
}

/// CRC-16/CCITT-FALSE.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

/// A payload read from the front; what a newer peer appended stays unread.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_check_is_the_standard_one() {
        assert_eq!(super::crc16(b"123456789"), 0x29B1);
    }
}
