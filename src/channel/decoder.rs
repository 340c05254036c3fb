//! Bytes → frames, however the bytes are cut.

use bytes::{Buf, BytesMut};

use super::frame::{HEADER, Header, MARKER};
use super::{Frame, FrameError};

/// Finds the frames in a stream of bytes.
///
/// Feed what was read, then take frames until there is none: `None` means "not yet", more may be fed. The same bytes
/// give the same frames however they are cut. An error ends the stream: what is fed afterwards is dropped and
/// [`next`](Iterator::next) gives `None`, until [`resync`](Self::resync).
///
/// ```
/// use bottle::channel::{Decoder, Frame, encode};
///
/// let bytes = encode(&Frame::Heartbeat { seq: 7 });
/// let mut decoder = Decoder::default();
/// decoder.feed(&bytes[..5]);
/// assert_eq!(decoder.next(), None);
/// decoder.feed(&bytes[5..]);
/// assert_eq!(decoder.next(), Some(Ok(Frame::Heartbeat { seq: 7 })));
/// ```
#[derive(Debug, Default)]
pub struct Decoder {
    /// Begins where a frame is expected to begin.
    buffer: BytesMut,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The buffer begins with a frame, or with nothing.
    #[default]
    Framed,
    /// An error was reported.
    Failed,
    /// Everything up to the next marker is passed over.
    Searching,
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what was read. Nothing is parsed yet; after an error it is dropped.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.state != State::Failed {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Gives up the frame at the front, broken or not complete yet, and goes on at the next marker.
    ///
    /// For a reader whose writers may die in the middle of a frame. At least one byte is given up each time, so
    /// that a loop of `next` and `resync` ends.
    pub fn resync(&mut self) {
        if !self.buffer.is_empty() && self.state != State::Searching {
            self.buffer.advance(1);
        }
        self.state = State::Searching;
    }

    /// Whether a frame has begun and is not complete.
    pub fn is_mid_frame(&self) -> bool {
        self.state == State::Framed && !self.buffer.is_empty()
    }

    /// Bytes held, and bytes allocated for them.
    #[cfg(test)]
    pub(super) fn memory(&self) -> (usize, usize) {
        (self.buffer.len(), self.buffer.capacity())
    }

    fn skip_to_marker(&mut self) {
        // A marker that has only begun is kept: its rest may come with the next bytes.
        let begins = |at: &usize| {
            let here = &self.buffer[*at..];
            here.iter().zip(MARKER).all(|(found, wanted)| *found == wanted)
        };
        let at = (0..self.buffer.len()).find(begins).unwrap_or(self.buffer.len());
        self.buffer.advance(at);
        if self.buffer.len() >= MARKER.len() {
            self.state = State::Framed;
        }
    }

    fn frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.buffer.iter().zip(MARKER).any(|(found, wanted)| *found != wanted) {
            return Err(FrameError::Marker);
        }
        let Some(header) = self.buffer.first_chunk::<HEADER>() else { return Ok(None) };
        let header = Header::read(header)?;
        let end = HEADER + header.length as usize;
        let Some(payload) = self.buffer.get(HEADER..end) else { return Ok(None) };
        let frame = header.frame(payload)?;
        self.buffer.advance(end);
        Ok(Some(frame))
    }
}

impl Iterator for Decoder {
    type Item = Result<Frame, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Searching {
            self.skip_to_marker();
        }
        if self.state != State::Framed {
            return None;
        }
        let result = self.frame();
        if result.is_err() {
            self.state = State::Failed;
        }
        if self.buffer.is_empty() {
            // What one burst needed is not held for ever.
            self.buffer = BytesMut::new();
        }
        result.transpose()
    }
}
