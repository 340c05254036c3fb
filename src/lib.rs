//! `bottle` launches coding agents in *bottles*: containers whose every byte of egress is judged before it
//! leaves, each one supervised as a whole by a tree of actors.
//!
//! # Theory of operation
//!
//! ```text
//! Runtime ── root supervisor
//!   └─ bottle <slug> × N     supervisor
//!        ├─ pipelock         destination lock: the only member with a way out
//!        ├─ mitmproxy        content lock: TLS interception, verdicts, credentials
//!        ├─ agent            where the agent's processes run
//!        │    └─ exec × M    one worker per command
//!        └─ provisioner      ca → prompt → skills → ssh → git
//! ```
//!
//! Data goes one way: manifest → plan → launch → [`Bottle`] → teardown. [`Runtime::prepare`] creates
//! nothing; [`Runtime::launch`] is transactional: it returns a ready bottle, or an error that names the
//! failed step, with everything rolled back. The caller gets the handle only after one allowed and one
//! denied request have gone through the whole chain.
//!
//! *Order.* Members start in parallel; they are stopped agent first. *Ownership.* Truth lies on the engine:
//! every resource is labelled at its creation, and a teardown goes by labels. *Cancellation.* Dropping the
//! future of a launch, or the last clone of a handle, closes the bottle in the background; a dropped exec
//! kills what it started. *Death of the process.* The kernel drops the runtime's lease; `cleanup` removes
//! what no living owner claims.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use bottle::backend::docker::DockerBackend;
//! use bottle::{BottleSpec, Config, ExecRequest, HostEnv, Material, NoPrompt, Runtime, RuntimeOptions};
//!
//! let host = HostEnv::from_process()?;
//! let config = Config::load(&bottle::config::Paths::resolve(&host).config_file)?;
//! let backend = Arc::new(DockerBackend::connect().await?);
//! let runtime = Runtime::start(RuntimeOptions::new(backend, config, host.clone())).await?;
//! let manifest = bottle::manifest::load(&host, None)?;
//! let plan = runtime.prepare(&BottleSpec::new(manifest, "coder", host.cwd()), false).await?;
//! let material = Material::gather(&plan, &host, &mut NoPrompt).await?;
//! let bottle = runtime.launch(plan, material).await?;
//! let result = bottle.exec(ExecRequest::new(["claude", "-p", "Say hello"])).await?;
//! println!("{}", String::from_utf8_lossy(&result.stdout));
//! bottle.close().await;
//! # Ok(()) }
//! ```

pub mod channel;
pub mod gate;
pub mod ids;
pub mod init;

#[cfg(feature = "runtime")]
pub mod actors;
#[cfg(feature = "runtime")]
pub mod audit_log;
#[cfg(feature = "runtime")]
pub mod backend;
#[cfg(feature = "runtime")]
pub mod config;
#[cfg(feature = "runtime")]
pub mod egress;
#[cfg(feature = "runtime")]
pub mod error;
#[cfg(feature = "runtime")]
pub mod handle;
#[cfg(feature = "runtime")]
pub mod journal;
#[cfg(feature = "runtime")]
pub mod lease;
#[cfg(feature = "runtime")]
pub mod manifest;
#[cfg(feature = "runtime")]
pub mod messages;
#[cfg(feature = "runtime")]
pub mod metrics;
#[cfg(feature = "runtime")]
pub mod plan;
#[cfg(feature = "runtime")]
pub mod runtime;
#[cfg(feature = "testing")]
pub mod testing;

#[cfg(feature = "runtime")]
pub use actors::bottle::SupervisionOptions;
#[cfg(feature = "runtime")]
pub use config::{Config, HostEnv};
#[cfg(feature = "runtime")]
pub use handle::{Bottle, ClaudeOptions, ExecResult, ExecSession};
#[cfg(feature = "runtime")]
pub use messages::{ExecEnd, ExecRequest};
#[cfg(feature = "runtime")]
pub use plan::{BottleSpec, LaunchPlan, Material, NoPrompt, PromptReader};
#[cfg(feature = "runtime")]
pub use runtime::{
    ActiveBottle, AttachError, AttachedBottle, LaunchError, PrepareError, Runtime, RuntimeError,
    RuntimeOptions,
};
