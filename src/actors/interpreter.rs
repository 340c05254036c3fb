//! What a container's standard output means, by role. Only mitmproxy's addon speaks; its lines are parsed as
//! hostile input: a line that cannot be understood is counted and dropped.

use crate::egress::InterceptorEvent;
use crate::ids::Role;
use crate::messages::{MemberEvent, ProbeFailure};

use super::container::speaks_protocol;

/// Longest line that is kept while waiting for its end, in bytes.
const MAX_LINE_BYTES: usize = 256 * 1024;

/// Turns output into events.
#[derive(Debug)]
pub(super) struct Interpreter {
    role: Role,
    ready: bool,
    line: Vec<u8>,
    overlong: bool,
}

impl Interpreter {
    pub(super) fn new(role: Role) -> Self {
        Self { role, ready: !speaks_protocol(role), line: Vec::new(), overlong: false }
    }

    /// The container ran already, so it has said long ago that it is ready; a probe will tell.
    pub(super) fn found_running(&mut self) {
        self.ready = true;
    }

    /// Whether the container counts as running. pipelock listens within milliseconds and the probe proves it;
    /// the agent container only holds the agent's processes.
    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// Takes a piece of output, gives the events of the lines that it completes.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<MemberEvent> {
        if !speaks_protocol(self.role) {
            return Vec::new();
        }
        let mut events = Vec::new();
        for byte in bytes {
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                if !std::mem::take(&mut self.overlong) {
                    events.extend(self.line_event(&line));
                }
            } else if self.line.len() < MAX_LINE_BYTES {
                self.line.push(*byte);
            } else {
                self.overlong = true;
            }
        }
        events
    }

    fn line_event(&mut self, line: &[u8]) -> Option<MemberEvent> {
        match InterceptorEvent::parse(line) {
            Ok(InterceptorEvent::Ready) => {
                self.ready = true;
                Some(MemberEvent::Ready { adopted: false })
            }
            Ok(InterceptorEvent::Probe { id, ok: true, .. }) => Some(MemberEvent::Probed(id, Ok(()))),
            Ok(InterceptorEvent::Probe { id, detail, checks, .. }) => {
                Some(MemberEvent::Probed(id, Err(ProbeFailure { detail, checks })))
            }
            Ok(InterceptorEvent::Audit(record)) => Some(MemberEvent::Audited(Box::new(record))),
            Ok(InterceptorEvent::Fault { r#where, error }) => {
                tracing::warn!(part = r#where, error, "mitmproxy's addon reports a fault");
                None
            }
            Ok(
                InterceptorEvent::Policy { .. }
                | InterceptorEvent::Halted
                | InterceptorEvent::Resumed
                | InterceptorEvent::Pong { .. },
            ) => None,
            Err(error) => {
                tracing::warn!(%error, "line of mitmproxy not understood");
                None
            }
        }
    }
}
