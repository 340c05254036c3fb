//! Plans from manifests: golden files of the JSON contract, members, problems, and no secret anywhere.

mod canary;
mod facts;
mod golden;
mod members;
mod problems;
mod support;
