//! The fault script and the journal of calls.

use std::time::Duration;

use super::super::{BackendErrorKind, Op, Subject};
use crate::ids::Role;

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Refused, without effect.
    Error(BackendErrorKind),
    /// No answer until the deadline, without effect.
    Timeout,
    /// Takes effect this long *after* `Deadline` was returned, as an engine does that was only slow.
    LateSuccess(Duration),
    /// Takes effect, but the answer is lost: `Unreachable`.
    LostAnswer,
    /// The call succeeds, but its output stream ends at once while the process lives on.
    HalfClosed,
}

/// Which call a fault hits: the `nth` (from 1) of those that match.
#[derive(Clone, Debug)]
pub struct FaultRule {
    op: Option<Op>,
    role: Option<Role>,
    nth: u32,
    fault: Fault,
    seen: u32,
}

impl FaultRule {
    /// Hits the `nth` call of any kind, counted from the moment the rule is added. Calls of
    /// [`watch`](crate::backend::Backend::watch) are not counted: only [`FaultRule::on`] hits them.
    pub fn nth_call(nth: u32, fault: Fault) -> Self {
        Self { op: None, role: None, nth, fault, seen: 0 }
    }

    /// Hits the first call of `op`.
    pub fn on(op: Op, fault: Fault) -> Self {
        Self { op: Some(op), ..Self::nth_call(1, fault) }
    }

    /// Only calls about members of this role.
    #[must_use]
    pub fn role(self, role: Role) -> Self {
        Self { role: Some(role), ..self }
    }

    /// The `nth` matching call in place of the first.
    #[must_use]
    pub fn nth(self, nth: u32) -> Self {
        Self { nth, ..self }
    }

    /// Counts a call; the fault if this is the one.
    pub(super) fn hit(&mut self, call: &Call) -> Option<Fault> {
        let matches = self.op.map_or(call.op != Op::Watch, |op| op == call.op)
            && self.role.is_none_or(|role| Some(role) == call.role);
        if !matches {
            return None;
        }
        self.seen += 1;
        (self.seen == self.nth).then_some(self.fault)
    }
}

/// One call as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What was asked.
    pub op: Op,
    /// Of what.
    pub subject: Subject,
    /// The member's role where one is concerned.
    pub role: Option<Role>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_hits_one_call_of_its_kind() {
        let call = |role| Call { op: Op::StartMember, subject: Subject::Image(String::new()), role };
        let mut rule = FaultRule::on(Op::StartMember, Fault::LostAnswer).role(Role::Agent).nth(2);
        let hits: Vec<bool> = [Some(Role::Agent), None, Some(Role::Agent), Some(Role::Agent)]
            .map(|role| rule.hit(&call(role)).is_some())
            .into();
        assert_eq!(hits, [false, false, true, false]);
    }

    #[test]
    fn only_a_rule_that_names_it_hits_a_watch() {
        let watch = Call { op: Op::Watch, subject: Subject::Engine(String::new()), role: None };
        let other = Call { op: Op::ListOwned, ..watch.clone() };
        let mut any = FaultRule::nth_call(1, Fault::LostAnswer);
        assert!(any.hit(&watch).is_none() && any.hit(&other).is_some());
        assert!(FaultRule::on(Op::Watch, Fault::LostAnswer).hit(&watch).is_some());
    }
}
