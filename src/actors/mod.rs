//! a
pub mod supervision;
