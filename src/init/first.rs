//! The loop of the first process.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{DumpableBehavior, Pid, Signal, WaitStatus, set_dumpable_behavior};

use super::arguments::Options;
use super::namespace::Namespace;
use super::signals::Signals;
use super::stdio::{Heard, Inbox, Log, Outbox};
use super::switch::Switch;
use super::{EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, EXIT_ORPHANED, EXIT_SIGNAL, EXIT_SYSTEM, EXIT_USAGE};
use crate::channel::{Frame, Leaving, VERSION};

/// How often the remaining processes are looked at during the grace. The end of our children wakes us besides.
const GRACE_TURN: Duration = Duration::from_millis(20);
/// Chunks read before silence is judged: more than a pipe holds.
const LAST_CHUNKS: u32 = 256;

/// Why there is nothing to hold.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error(
        "has to be the first process of a pid namespace: when it leaves, it ends every process it can reach"
    )]
    NotFirst,
    #[error("listen for signals: {0}")]
    Signals(io::Error),
    #[error("become untraceable: {0}")]
    Dumpable(io::Error),
    #[error("start {}: {error}", program.display())]
    Program { program: OsString, error: io::Error },
}

impl StartError {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::NotFirst => EXIT_USAGE,
            Self::Signals(_) | Self::Dumpable(_) => EXIT_SYSTEM,
            Self::Program { error, .. } if error.kind() == io::ErrorKind::NotFound => EXIT_NOT_FOUND,
            Self::Program { .. } => EXIT_NOT_EXECUTABLE,
        }
    }
}

/// The first process of a pid namespace, in charge of it.
#[derive(Debug)]
pub(super) struct First {
    namespace: Namespace,
    signals: Signals,
    inbox: Inbox,
    outbox: Outbox,
    log: Log,
    switch: Switch,
    grace: Duration,
    /// The given program, until it has ended.
    program: Option<Pid>,
}

impl First {
    /// Takes charge: signals, standard streams, the program. The time-out begins.
    pub(super) fn begin(options: &Options) -> Result<Self, StartError> {
        let namespace = Namespace::claim().ok_or(StartError::NotFirst)?;
        // Before the change below, which would keep a user other than root from opening its own descriptors.
        let log = Log::new();
        // Nobody of the same user may trace us, nor open our standard streams by way of /proc.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(|error| StartError::Dumpable(error.into()))?;
        let signals = Signals::register().map_err(StartError::Signals)?;
        let mut first = Self {
            namespace,
            signals,
            inbox: Inbox::new(),
            outbox: Outbox::new(),
            log,
            switch: Switch::armed(options.orphan_after, Instant::now()),
            grace: options.grace,
            program: None,
        };
        let orphan_after_ms = u64::try_from(options.orphan_after.as_millis()).unwrap_or(u64::MAX);
        first.outbox.send(&Frame::Hello { version: VERSION, orphan_after_ms });
        if let Some((program, arguments)) = options.program.split_first() {
            first.program = Some(start(program, arguments)?);
        }
        Ok(first)
    }

    /// Holds the namespace until it has to end. The exit code.
    pub(super) fn run(mut self) -> u8 {
        loop {
            self.wait(self.switch.wait(Instant::now()), true);
            let asked = self.signals.take();
            if let Some(code) = self.reap() {
                return code;
            }
            if let Some(signal) = asked {
                let number = signal.as_raw();
                self.leave(Leaving::Signal(number), signal);
                return EXIT_SIGNAL.saturating_add(u8::try_from(number).unwrap_or(u8::MAX));
            }
            let heard = self.inbox.read();
            self.answer(&heard);
            if self.switch.look(Instant::now()) && !self.hears_at_last() {
                self.leave(Leaving::Orphaned, Signal::TERM);
                return EXIT_ORPHANED;
            }
        }
    }

    /// Waits for a signal, for standard input if that is wanted, and for no longer than `at_most`.
    fn wait(&self, at_most: Duration, listening: bool) {
        let time = Timespec {
            tv_sec: i64::try_from(at_most.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: at_most.subsec_nanos().into(),
        };
        let wake = PollFd::new(self.signals.wake(), PollFlags::IN);
        // An error is an interruption; the caller looks at everything anyway.
        let _ = match self.inbox.waits_for().filter(|_| listening) {
            Some(stdin) => poll(&mut [wake, PollFd::from_borrowed_fd(stdin, PollFlags::IN)], Some(&time)),
            None => poll(&mut [wake], Some(&time)),
        };
    }

    /// Reaps all that have ended. The exit code of the given program, if it is among them.
    fn reap(&mut self) -> Option<u8> {
        let mut code = None;
        while let Some((pid, status)) = self.namespace.reap() {
            if self.program == Some(pid) {
                code = Some(exit_code(status));
            }
        }
        code
    }

    fn answer(&mut self, heard: &Heard) {
        if heard.garbage {
            self.log.say("standard input carries something else than frames; it is passed over from here on");
        }
        if heard.heartbeats.is_empty() {
            return;
        }
        self.switch.heard(Instant::now());
        let processes = self.namespace.count();
        for seq in &heard.heartbeats {
            self.outbox.send(&Frame::Beat { seq: *seq, processes });
        }
    }

    /// The time-out has passed: whether a heartbeat waits that was not read yet, or hides behind half a frame.
    fn hears_at_last(&mut self) -> bool {
        for _ in 0..LAST_CHUNKS {
            let heard = self.inbox.read();
            self.answer(&heard);
            if !heard.heartbeats.is_empty() {
                return true;
            }
            if heard.empty {
                break;
            }
        }
        let heard = self.inbox.unearth();
        self.answer(&heard);
        !heard.heartbeats.is_empty()
    }

    /// Says why, asks everybody to end, and waits for those who heard it. Our exit ends the rest.
    fn leave(&mut self, reason: Leaving, signal: Signal) {
        self.outbox.send(&Frame::Leaving(reason));
        self.log.say(match reason {
            Leaving::Orphaned => "no heartbeat within the orphan time-out: the container ends",
            Leaving::Signal(_) => "asked to end",
        });
        let began = Instant::now();
        if !self.namespace.signal_all(signal) {
            return;
        }
        while self.namespace.anyone_hears() {
            let rest = self.grace.saturating_sub(began.elapsed());
            if rest.is_zero() {
                return;
            }
            self.wait(rest.min(GRACE_TURN), false);
            self.signals.take();
            self.reap();
        }
    }
}

/// Starts the program. Standard output carries frames only, so its output goes to standard error.
fn start(program: &OsString, arguments: &[OsString]) -> Result<Pid, StartError> {
    let failed = |error| StartError::Program { program: program.clone(), error };
    let output = io::stderr().as_fd().try_clone_to_owned().map_err(failed)?;
    let child = std::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output)
        .spawn()
        .map_err(failed)?;
    // Reaped with all others, never by the standard library.
    Pid::from_raw(child.id().cast_signed()).ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))
}

fn exit_code(status: WaitStatus) -> u8 {
    let signal = status.terminating_signal().map(|number| i32::from(EXIT_SIGNAL) + number);
    status.exit_status().or(signal).and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
