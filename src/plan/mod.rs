//! Manifest + configuration + host facts → [`LaunchPlan`], without side effects. See `docs/architecture.md`.
//!
//! [`facts`] looks at the host and the engine (read-only), [`resolve()`] decides and reports every problem at
//! once, [`members`] turns a plan and its ground into the three containers, [`material`] holds the secrets,
//! apart from the plan. Only [`resolve()`] builds a plan; only the plan says what a launch makes.

pub mod bottle_spec;
pub mod egress;
pub mod facts;
pub mod json;
pub mod launch;
pub mod launch_material;
pub mod material;
pub mod members;
pub mod names;
mod policy;
pub mod problems;
pub mod provision;
mod render;
pub mod resolve;
pub mod spec;
pub mod teardown;

pub use bottle_spec::BottleSpec;
pub use egress::{EgressPlan, HeaderCredential, SshRoute};
pub use facts::HostFacts;
pub use json::to_json;
pub use launch::{LaunchPlan, PlannedImage, SkillDir, SshKeyFile};
pub use material::{Material, MaterialErrors, MaterialProblem, NoPrompt, PromptReader};
pub use names::{Names, next_slug, slug};
pub use policy::credential_name;
pub use problems::{PlanErrors, PlanProblem};
pub use resolve::resolve;
pub use teardown::{CleanupPlan, LivingOwners, Orphan, OwnerState};
