//! b
pub mod phase;
