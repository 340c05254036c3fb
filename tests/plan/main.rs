//! Plans from manifests: golden files of the JSON contract, members, problems, and no secret anywhere.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod canary;
mod facts;
mod golden;
mod members;
mod problems;
mod support;
