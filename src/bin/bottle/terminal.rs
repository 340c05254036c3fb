//! The terminal: raw mode, hidden input and size. What was changed is restored on every way out: drop, panic
//! (by the hook of [`guard_panics`]), signals and `main`'s end all call [`restore`].

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use bottle::plan::spec::TtySize;
use rustix::termios::{self, LocalModes, OptionalActions, Termios};

/// The terminal that was changed, and how it was before.
static CHANGED: Mutex<Option<(OwnedFd, Termios)>> = Mutex::new(None);

/// A changed terminal. Dropping it restores.
#[derive(Debug)]
pub(crate) struct Changed(());

impl Drop for Changed {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the terminal of standard input into raw mode: every key goes to the agent, Ctrl-C too.
///
/// # Errors
/// Standard input is no terminal, or it is changed already.
pub(crate) fn raw() -> io::Result<Changed> {
    change(io::stdin(), Termios::make_raw)
}

/// Lets a terminal not show what is typed.
///
/// # Errors
/// As [`raw`].
pub(crate) fn hidden(terminal: impl AsFd) -> io::Result<Changed> {
    change(terminal, |modes| {
        modes.local_modes.remove(LocalModes::ECHO);
        modes.local_modes.insert(LocalModes::ECHONL);
    })
}

fn change(terminal: impl AsFd, edit: impl FnOnce(&mut Termios)) -> io::Result<Changed> {
    let mut changed = CHANGED.lock().unwrap_or_else(PoisonError::into_inner);
    if changed.is_some() {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "the terminal is in use"));
    }
    let fd = terminal.as_fd().try_clone_to_owned()?;
    let before = termios::tcgetattr(&fd)?;
    let mut modes = before.clone();
    edit(&mut modes);
    // Remembered first: a signal between the two lines then still finds what to restore.
    let kept = changed.insert((fd, before));
    termios::tcsetattr(&kept.0, OptionalActions::Flush, &modes)?;
    Ok(Changed(()))
}

/// Restores what was changed. Safe to repeat and to call from anywhere.
pub(crate) fn restore() {
    let changed = CHANGED.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((fd, before)) = changed {
        let _ = termios::tcsetattr(&fd, OptionalActions::Now, &before);
    }
}

/// Restores before a panic prints, so that its text can be read.
pub(crate) fn guard_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        restore();
        print(panic);
    }));
}

/// The size of standard output's terminal.
pub(crate) fn size_of_stdout() -> Option<TtySize> {
    let size = termios::tcgetwinsize(io::stdout()).ok()?;
    Some(TtySize { rows: size.ws_row, cols: size.ws_col })
}

/// The size for a new terminal inside: standard output's, else standard input's, else 24 × 80.
pub(crate) fn size() -> TtySize {
    let of_input = || {
        let size = termios::tcgetwinsize(io::stdin()).ok()?;
        Some(TtySize { rows: size.ws_row, cols: size.ws_col })
    };
    let known = size_of_stdout().or_else(of_input).filter(|size| size.rows > 0 && size.cols > 0);
    known.unwrap_or(TtySize { rows: 24, cols: 80 })
}
