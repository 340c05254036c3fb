//! The images a launch needs: pulled by reference where a registry answers, built on the engine where none does.
//!
//! Theory of operation. An image built here is named `bottle/<name>:<hash>`; the hash covers the recipe, every file
//! that goes in and the hash of the image below, so "is the tag on the engine?" is the whole question whether
//! something has to be done. [`setup`] answers it for each image and builds what is missing; [`check`] only looks.
//!
//! Nothing survives a failure. Build containers live as long as the connection that attached to their standard input:
//! when the future is dropped or the process dies, the engine ends and removes them. An image gets its tag only as the
//! last step. What an engine crash leaves behind carries the label [`BUILD_LABEL`] and is swept by the next setup.
//!
//! Host material (certificate bundle, proxy variables) is seen by build steps only, never by an image: it comes by
//! archive and by the environment of one exec, and a build that leaves its directory behind is refused.
//!
//! This module prints nothing and writes no configuration; its caller does both.

mod artifact;
mod bootstrap;
mod build;
mod call;
mod certificates;
mod check;
mod embedded;
mod error;
mod helper_binary;
mod import;
mod progress;
mod pull;
mod recipe;
mod request;
mod setup;
mod sweep;

pub use artifact::{ImageName, Outcome, ReadyImage};
pub use build::BUILD_LABEL;
pub use check::{EngineFacts, Finding, ImageStatus, SetupCheck, Severity, check};
pub use embedded::{RecipeSet, pipelock_reference};
pub use error::{SetupError, SetupErrorKind, Step};
pub use helper_binary::{Helper, find_helper};
pub use progress::{ProgressEvent, Quiet, SetupProgress};
pub use pull::pull;
pub use recipe::{BuildFile, Kind, Recipe, RecipeError};
pub use request::{GateChoice, GateEngine, RegistryBases, SetupRequest, build_env_of_host};
pub use setup::{SetupReport, setup};
