//! The terminal: raw mode, hidden input and size. What was changed is restored on every way out: drop, panic
//! (by the hook of [`guard_panics`]), signals and `main`'s end all call [`restore`].

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use bottle::plan::spec::TtySize;
use rustix::termios::{self, LocalModes, OptionalActions, Termios};

/// The terminal that was changed, how it was before, and whether a command could write to it.
static CHANGED: Mutex<Option<(OwnedFd, Termios, bool)>> = Mutex::new(None);
/// Set once the process is about to end; read under the lock of [`CHANGED`].
static ENDING: AtomicBool = AtomicBool::new(false);
/// Whether the command shows the alternate screen.
static ALTERNATE: AtomicBool = AtomicBool::new(false);

/// Ends what full-screen programs turn on and a killed one leaves on: hidden cursor, mouse, focus and paste reports,
/// colours.
const RESET: &[u8] = b"\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1006l\x1b[?2004l\x1b[0m";
/// Back from the alternate screen. Elsewhere it would move the cursor.
const LEAVE: &[u8] = b"\x1b[?1049l";

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
    change(io::stdin(), true, Termios::make_raw)
}

/// Lets a terminal not show what is typed.
///
/// # Errors
/// As [`raw`].
pub(crate) fn hidden(terminal: impl AsFd) -> io::Result<Changed> {
    change(terminal, false, |modes| {
        modes.local_modes.remove(LocalModes::ECHO);
        modes.local_modes.insert(LocalModes::ECHONL);
    })
}

fn change(terminal: impl AsFd, is_shared: bool, edit: impl FnOnce(&mut Termios)) -> io::Result<Changed> {
    let mut changed = CHANGED.lock().unwrap_or_else(PoisonError::into_inner);
    if ENDING.load(Ordering::Relaxed) {
        return Err(io::Error::new(io::ErrorKind::Interrupted, "the process is about to end"));
    }
    if changed.is_some() {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "the terminal is in use"));
    }
    let fd = terminal.as_fd().try_clone_to_owned()?;
    let before = termios::tcgetattr(&fd)?;
    let mut modes = before.clone();
    edit(&mut modes);
    // Remembered first: a signal between the two lines then still finds what to restore.
    let kept = changed.insert((fd, before, is_shared));
    termios::tcsetattr(&kept.0, OptionalActions::Flush, &modes)?;
    Ok(Changed(()))
}

/// Restores what was changed. Safe to repeat and to call from anywhere.
pub(crate) fn restore() {
    let changed = CHANGED.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((fd, before, is_shared)) = changed {
        if is_shared {
            let leave = if ALTERNATE.swap(false, Ordering::Relaxed) { LEAVE } else { b"" };
            let _ = rustix::io::write(&fd, &[RESET, leave].concat());
        }
        let _ = termios::tcsetattr(&fd, OptionalActions::Now, &before);
    }
}

/// Restores for good: a thread that is about to hide the input, and outlives its caller by a moment, does not any
/// more.
pub(crate) fn leave() {
    {
        let _changing = CHANGED.lock().unwrap_or_else(PoisonError::into_inner);
        ENDING.store(true, Ordering::Relaxed);
    }
    restore();
}

/// Looks whether the command's output turns the alternate screen on or off. A sequence that is split over two pieces
/// is missed.
pub(crate) fn watch(output: &[u8]) {
    let last = |code: &[u8]| output.windows(code.len()).rposition(|part| part == code);
    match (last(b"\x1b[?1049h"), last(LEAVE)) {
        (None, None) => {}
        (on, off) => ALTERNATE.store(on > off, Ordering::Relaxed),
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

/// Text that is drawn over its last version.
#[derive(Debug)]
pub(crate) struct Redrawn {
    last: String,
    /// Lines of the terminal that it takes.
    lines: usize,
}

impl Redrawn {
    /// `None` when standard output is no terminal, or one that cannot move its cursor.
    pub(crate) fn of_stdout() -> Option<Self> {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        let is_terminal = io::IsTerminal::is_terminal(&io::stdout());
        (is_terminal && !is_dumb).then(|| Self { last: String::new(), lines: 0 })
    }

    /// What has to be written to show `text`; `None` when that is shown already. Wrapping is off meanwhile, so that a
    /// line of text is a line of the terminal, and what does not fit on the screen is left out.
    pub(crate) fn draw(&mut self, text: &str) -> Option<String> {
        let rows = size_of_stdout().map_or(24, |size| usize::from(size.rows)).max(3);
        let shown = fitting(text, rows - 1);
        if shown == self.last {
            return None;
        }
        let up = if self.lines > 0 { format!("\x1b[{}F", self.lines) } else { String::new() };
        self.lines = shown.lines().count();
        let drawn = format!("\x1b[?7l{up}\x1b[J{shown}\x1b[?7h");
        self.last = shown;
        Some(drawn)
    }
}

fn fitting(text: &str, rows: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let kept = if lines.len() > rows { rows - 1 } else { lines.len() };
    let mut shown: String = lines[..kept].iter().map(|line| format!("{line}\n")).collect();
    if kept < lines.len() {
        shown.push_str(&format!("… {} more lines\n", lines.len() - kept));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        assert_eq!(fitting("a\nb\nc\n", 3), "a\nb\nc\n");
        assert_eq!(fitting("a\nb\nc\nd\n", 3), "a\nb\n… 2 more lines\n");
        assert_eq!(fitting("", 2), "");
    }

    #[test]
    fn the_next_version_takes_the_place_of_the_last() {
        let mut screen = Redrawn { last: String::new(), lines: 0 };
        assert_eq!(screen.draw("a\nb\n").unwrap(), "\x1b[?7l\x1b[Ja\nb\n\x1b[?7h");
        assert_eq!(screen.draw("a\nb\n"), None);
        assert_eq!(screen.draw("c\n").unwrap(), "\x1b[?7l\x1b[2F\x1b[Jc\n\x1b[?7h");
    }
}
