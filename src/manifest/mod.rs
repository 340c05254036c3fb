//! User files → validated [`Manifest`]. Pure but for `load`. See `docs/manifest.md`.
//!
//! `load` reads, `tree` parses and keeps positions, `merge` lays one tree over another, `validate` (with
//! `env`, `ssh`, `egress`) builds the model and collects every finding, `error` renders them.

mod model;

pub use model::{
    AgentManifest, BottleManifest, CredentialEntry, CredentialSource, DlpAction, EgressLimits,
    EgressManifest, EgressRule, EnvValue, Manifest, ResourcesManifest, Restart, SshEntry,
};
