//! Frames between a runtime and `bottle-init`, the first process of an agent's container.
//!
//! Pure: bytes in, frames out, no I/O, no clock. Both sides use the same code, so neither can drift.
//!
//! ```text
//! marker F5 'b' 'c' | length u32 | type u8 | stream u32 | check u16 | payload      big endian, 14 + length bytes
//! ```
//!
//! *What comes in is hostile.* The marker is no valid UTF-8, so stray text on the same pipe is an error and never a
//! frame. `check` (CRC-16 of length, type and stream) keeps a header that another writer's bytes completed from
//! swallowing what follows. A length is checked before anything is kept for it; memory holds at most one frame besides
//! what was fed since the last [`Decoder::next`](Iterator::next). A [`FrameError`] quotes no payload.
//!
//! *Growth.* Fields are appended to a payload and types are added within one family: an old reader ignores the tail,
//! and reports an unknown type as [`Frame::Unknown`]. What an old reader could not skip gets another marker.
//! [`VERSION`] in [`Frame::Hello`] says what the other side knows.
//!
//! | types | for | stream | payload |
//! |---|---|---|---|
//! | 1..=15 | this module's own: who is there, who is alive | always 0 | at most [`MAX_CONTROL`] |
//! | 16..=63 | reserved: exec | its number | at most [`MAX_PAYLOAD`] |
//! | 64..=95 | reserved: archives | its number | at most [`MAX_PAYLOAD`] |
//! | the rest | unassigned | | at most [`MAX_PAYLOAD`] |
//!
//! Design: `docs/design/2026-11-23-dead-mans-switch.md`.

mod decoder;
mod error;
mod frame;
#[cfg(test)]
mod tests;

pub use decoder::Decoder;
pub use error::FrameError;
pub use frame::{Frame, Leaving, MAX_CONTROL, MAX_PAYLOAD, VERSION, encode};
