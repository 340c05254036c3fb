//! backend

pub mod docker;
