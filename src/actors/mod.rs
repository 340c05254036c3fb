//! a
pub mod bottle;
pub mod supervision;
