//! Images on a real engine: built, found again, pulled, and nothing left behind by what fails.
//!
//! Needs an engine and fails without one; `BOTTLE_TEST_ENGINE=none` opts out and says so. The first run builds the
//! images. Behind a TLS-inspecting proxy name its certificates in `SSL_CERT_FILE`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, helpers included")]

mod failures;
mod helpers;
mod images;
mod registry;
mod support;
