//! Signals as something the loop can wait for and ask.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;
use signal_hook::{flag, low_level::pipe};

/// The signals that ask for the end. The first process of a namespace gets only signals it has a handler for.
const ENDING: [Signal; 4] = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT];

/// Registered for the life of the process.
#[derive(Debug)]
pub(super) struct Signals {
    /// Readable when any signal came.
    wake: UnixStream,
    /// Number of the last signal that asks for the end, 0 before.
    asked: Arc<AtomicUsize>,
}

impl Signals {
    /// Begins to listen for the end of children and for what asks for our own.
    pub(super) fn register() -> io::Result<Self> {
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        let asked = Arc::new(AtomicUsize::new(0));
        for signal in ENDING {
            let number = signal.as_raw();
            // In this order: the number is there when the wake-up is seen.
            flag::register_usize(number, Arc::clone(&asked), usize::try_from(number).unwrap_or(0))?;
            pipe::register(number, waker.try_clone()?)?;
        }
        pipe::register(Signal::CHILD.as_raw(), waker)?;
        Ok(Self { wake, asked })
    }

    /// What to poll for.
    pub(super) fn wake(&self) -> &UnixStream {
        &self.wake
    }

    /// Takes the wake-ups; then the signal that asks for the end, if one came.
    pub(super) fn take(&self) -> Option<Signal> {
        let mut bytes = [0; 64];
        while matches!((&self.wake).read(&mut bytes), Ok(1..)) {}
        let number = self.asked.load(Ordering::SeqCst);
        ENDING.into_iter().find(|signal| usize::try_from(signal.as_raw()) == Ok(number))
    }
}
