//! Manifest + host facts → `LaunchPlan`, without side effects. See `docs/architecture.md`.

pub mod spec;
