//! The Docker backend: the only code that names bollard.

pub mod images;
