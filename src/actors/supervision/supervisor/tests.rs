//! The rules one by one, and random events against a second, naive reading of OTP's text.

mod model;
mod otp;
mod random;
mod rules;
mod world;

use std::time::Duration;

use super::*;
use crate::actors::supervision::backoff::Backoff;
use crate::actors::supervision::spec::RestartType;

const SECOND: Duration = Duration::from_secs(1);
