//! OTP supervision, as far as ractor leaves it to us: pure decisions, ordered shutdown, flattened calls.
//!
//! `spec`, `intensity`, `strategy` and `exit` are pure and know no actor. `shutdown` and `call` are the only
//! files that stop or call actors through raw ractor: it kills the children of an ending supervisor without
//! their `post_stop`, and hides a lost reply inside an `Ok` (ractor `docs/runtime-semantics.md`).

pub mod call;
pub mod exit;
pub mod intensity;
pub mod shutdown;
pub mod spec;
pub mod strategy;

pub use call::{CallError, call};
pub use exit::ExitReason;
pub use intensity::{Budget, Intensity};
pub use spec::{ChildSpec, RestartType, Shutdown};
pub use strategy::{Decision, Strategy, decide};
