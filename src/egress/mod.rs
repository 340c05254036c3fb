//! The egress policy and everything derived from it: pure data, no engine, no actor, no I/O.
//!
//! [`EgressPolicy`] is the one description; [`pipelock_config`] turns it into the gate's file and
//! [`InterceptorConfig`] into the line that the interceptor reads from its standard input. [`BottleCa`] is
//! the trust anchor of one bottle, [`AuditRecord`] one decision, [`InterceptorEvent`] what the interceptor
//! reports. Other modules map their own types into these; nothing here reads a manifest.

mod audit;
mod ca;
mod exact;
mod host;
mod interceptor;
mod pipelock;
mod policy;

pub use audit::{AuditKind, AuditRecord, AuditVerdict};
pub use ca::{BottleCa, CaError};
pub use exact::{ExactSecret, MIN_EXACT_SECRET_BYTES};
pub use host::{HostName, HostPattern, HostPatternError};
pub use interceptor::{
    Control, EventError, GateAddress, InterceptorConfig, InterceptorEvent, ListenAddress,
    MAX_EVENT_LINE_BYTES, ProbeChecks, SecretValues,
};
pub use pipelock::{DENY_ALL_HOST, PipelockListen, pipelock_config};
pub use policy::{
    CredentialRule, DEFAULT_HOSTS, DlpAction, EgressPolicy, Limits, PathRule, PolicyError, SshDestination,
};
