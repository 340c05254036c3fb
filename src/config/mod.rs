//! Configuration of this machine: gate engine, images, address pool, limits. Read once, written by `setup`.
//!
//! Unknown keys are errors; a missing file means defaults.

mod error;
mod file;
mod host;
mod paths;

pub use error::ConfigError;
pub use file::{Config, Engine, ImageConfig, Images};
pub use host::HostEnv;
pub use paths::Paths;
