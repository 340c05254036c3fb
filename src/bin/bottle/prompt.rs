//! Questions to the person at the terminal (`/dev/tty`), whatever standard input and output are.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use bottle::error::ErrorKind;
use bottle::ids::Secret;
use bottle::plan::PromptReader;
use tokio::sync::oneshot;

use crate::error::{CliError, CliResult};
use crate::terminal;

/// Whether a question stands on the screen without an answer.
static ASKING: AtomicBool = AtomicBool::new(false);

/// Longest answer.
const MAX_ANSWER: usize = 4096;

/// The terminal of this process.
#[derive(Debug)]
pub(crate) struct Console(File);

impl Console {
    /// Opens it.
    ///
    /// # Errors
    /// The process has none.
    pub(crate) fn open() -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).open("/dev/tty").map(Self)
    }

    /// Whether somebody can be asked.
    pub(crate) fn is_there() -> bool {
        Self::open().is_ok()
    }

    /// Asks; one line without its end. `None` at end of file.
    fn ask(&mut self, question: &str) -> io::Result<Option<String>> {
        self.0.write_all(printable(question).as_bytes())?;
        self.0.flush()?;
        ASKING.store(true, Ordering::Relaxed);
        let answer = read_line(&mut self.0);
        ASKING.store(false, Ordering::Relaxed);
        let answer = answer?;
        if answer.is_none() {
            self.0.write_all(b"\n")?;
        }
        Ok(answer)
    }
}

impl PromptReader for Console {
    fn read_secret(&mut self, question: &str) -> io::Result<Secret<String>> {
        let hidden = terminal::hidden(&self.0)?;
        let answer = self.ask(&format!("{question}: "));
        drop(hidden);
        let answer = answer?.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "it was closed"))?;
        Ok(Secret::from(answer))
    }
}

/// Byte by byte: what follows the line belongs to whoever reads next.
fn read_line(from: &mut File) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        match from.read(&mut byte)? {
            0 if line.is_empty() => return Ok(None),
            0 => break,
            _ if byte == [b'\n'] => break,
            _ if line.len() == MAX_ANSWER => {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the answer is too long"));
            }
            _ => line.extend(byte),
        }
    }
    String::from_utf8(line)
        .map(Some)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the answer is not UTF-8"))
}

/// A question may come from a manifest; it must not rewrite the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

/// Asks one question without blocking the runtime. `None` at end of file. Dropping the future leaves the
/// thread behind, which waits for a line that nobody reads; the process is about to end then.
pub(crate) async fn ask(question: String) -> CliResult<Option<String>> {
    let (tell, answer) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = tell.send(Console::open().and_then(|mut console| console.ask(&question)));
    });
    let answer = answer.await.unwrap_or_else(|_| Err(io::Error::other("the reading thread ended")));
    answer.map_err(|source| {
        CliError::new(ErrorKind::Input, "ask: there is no terminal to ask on").because(source)
    })
}

/// Ends the line of a question that a signal left without an answer.
pub(crate) fn leave() {
    if ASKING.swap(false, Ordering::Relaxed) {
        let _ = Console::open().and_then(|mut console| console.0.write_all(b"\n"));
    }
}

/// A question with no as its default: only y, Y, yes and YES are yes.
pub(crate) async fn confirm(question: &str) -> CliResult<bool> {
    let answer = ask(format!("{question} [y/N] "))
        .await
        .map_err(|error| error.remedy("pass --yes to go on without a question"))?;
    Ok(answer.is_some_and(|answer| is_yes(&answer)))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim(), "y" | "Y" | "yes" | "YES")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_four_words_are_yes() {
        assert!(["y", "Y", "yes", "YES", " y\r"].iter().all(|answer| is_yes(answer)));
        assert!(["", "n", "Yes", "yEs", "yy", "no", "j", "1", "true"].iter().all(|answer| !is_yes(answer)));
    }
}
