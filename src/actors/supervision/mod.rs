//! OTP supervision, as far as ractor leaves it to us: a pure core, ordered shutdown, flattened calls.
//!
//! `supervisor` is the core: the state machine that decides what a death leads to. It and what it is made of (`spec`,
//! `strategy`, `intensity`, `backoff`, `exit`) are pure and know no actor. `shutdown` and `call` are the only files
//! that stop or call actors through raw ractor: it kills the children of an ending supervisor without their
//! `post_stop`, and hides a lost reply inside an `Ok` (ractor `docs/runtime-semantics.md`).

pub mod backoff;
pub mod call;
pub mod exit;
pub mod intensity;
pub mod shutdown;
pub mod spec;
pub mod strategy;
pub mod supervisor;

pub use backoff::Backoff;
pub use call::{CallError, call};
pub use exit::ExitReason;
pub use intensity::{Budget, BudgetScope, Intensity};
pub use spec::{ChildSpec, RestartType, Shutdown};
pub use strategy::Strategy;
pub use supervisor::{AutoShutdown, ChildPhase, Ending, Flags, Incarnation, Input, Output, Supervisor};
