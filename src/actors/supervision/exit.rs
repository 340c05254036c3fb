//! Why a child ended, as one typed value; text never crosses supervision.

use std::fmt;

use crate::plan::spec::MemberExit;

/// Why a child of a supervisor ended.
///
/// OTP's `normal`, `shutdown` and everything else: a kill is abnormal here, as in OTP, although ractor
/// reports it as a termination.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitReason {
    /// It finished its work.
    Normal,
    /// Its supervisor asked it to stop.
    Shutdown,
    /// It was killed without a chance to stop.
    Killed,
    /// It panicked or its handler returned an error; the text is for people.
    Failed(String),
    /// The container behind it ended by itself.
    ContainerExited(MemberExit),
    /// The container behind it is not there any more.
    ContainerGone,
    /// The container behind it runs but does not answer; the text says what went unanswered.
    Hung(String),
    /// The container behind it runs as far as anybody knows, but its channel broke.
    Unheard(String),
    /// The container behind it could not be started.
    StartFailed(String),
}

impl ExitReason {
    /// Whether a transient child stays down after it.
    pub fn is_normal(&self) -> bool {
        match self {
            ExitReason::Normal | ExitReason::Shutdown => true,
            ExitReason::ContainerExited(exit) => exit.code == 0 && !exit.oom_killed,
            ExitReason::Killed
            | ExitReason::Failed(_)
            | ExitReason::ContainerGone
            | ExitReason::Hung(_)
            | ExitReason::Unheard(_)
            | ExitReason::StartFailed(_) => false,
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitReason::Normal => f.write_str("finished"),
            ExitReason::Shutdown => f.write_str("was stopped"),
            ExitReason::Killed => f.write_str("was killed"),
            ExitReason::Failed(why) => write!(f, "failed: {why}"),
            ExitReason::ContainerExited(MemberExit { oom_killed: true, .. }) => {
                f.write_str("was ended by the kernel for memory")
            }
            ExitReason::ContainerExited(exit) => write!(f, "exited with code {}", exit.code),
            ExitReason::ContainerGone => f.write_str("was removed by somebody else"),
            ExitReason::Hung(what) => write!(f, "does not answer ({what})"),
            ExitReason::Unheard(why) => write!(f, "cannot be heard any more: it {why}"),
            ExitReason::StartFailed(why) => write!(f, "could not be started: {why}"),
        }
    }
}
