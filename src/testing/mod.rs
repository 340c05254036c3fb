//! For embedders' tests: bottles without an engine, with faults on demand.

pub use crate::backend::memory::{
    Call, CommandHook, ExecAnswer, Fault, FaultRule, MemberScript, MemoryBackend, ScriptIo,
};
