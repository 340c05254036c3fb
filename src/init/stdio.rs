//! Standard input, output and error of a process that must never wait for any of them.

use std::fs::{File, OpenOptions};
use std::io::{self, Stdin, Stdout, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::channel::{Decoder, Frame, encode};

/// Read at once. A turn of the loop reads no more, so that no writer keeps it from its other duties.
const CHUNK: usize = 4096;

/// Heartbeats from standard input. Whatever else comes is passed over.
#[derive(Debug)]
pub(super) struct Inbox {
    stdin: Stdin,
    decoder: Decoder,
    /// Whether it is worth waiting for. After the end of file it is only looked at.
    open: bool,
    /// Whether garbage came, ever.
    garbage: bool,
}

/// What one reading gave.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Numbers of the heartbeats, in order.
    pub(super) heartbeats: Vec<u64>,
    /// Nothing was there to read.
    pub(super) empty: bool,
    /// Garbage came for the first time.
    pub(super) garbage: bool,
}

impl Inbox {
    pub(super) fn new() -> Self {
        let stdin = io::stdin();
        never_wait(stdin.as_fd());
        Self { stdin, decoder: Decoder::new(), open: true, garbage: false }
    }

    /// What to wait for.
    pub(super) fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        self.open.then(|| self.stdin.as_fd())
    }

    /// Reads what is there, at most one chunk.
    pub(super) fn read(&mut self) -> Heard {
        let mut bytes = [0; CHUNK];
        // Not through the standard library's buffer: what it kept would be invisible to a poll.
        match rustix::io::read(&self.stdin, &mut bytes) {
            Ok(0) => {
                // A pipe whose writers are gone. A named one may get another.
                self.open = false;
                Heard { empty: true, ..Heard::default() }
            }
            Ok(length) => {
                self.open = true;
                self.decoder.feed(&bytes[..length]);
                self.decode()
            }
            Err(Errno::AGAIN | Errno::INTR) => Heard { empty: true, ..Heard::default() },
            Err(_) => {
                self.open = false;
                Heard { empty: true, ..Heard::default() }
            }
        }
    }

    /// Gives up a frame that was never completed, and reads what it hid.
    pub(super) fn unearth(&mut self) -> Heard {
        let mut heard = Heard::default();
        while self.decoder.is_mid_frame() {
            self.decoder.resync();
            heard.heartbeats.extend(self.decode().heartbeats);
        }
        heard
    }

    fn decode(&mut self) -> Heard {
        let mut heard = Heard::default();
        while let Some(result) = self.decoder.next() {
            match result {
                Ok(Frame::Heartbeat { seq }) => heard.heartbeats.push(seq),
                // Of a controller that knows more than we do.
                Ok(_) => {}
                Err(_) => {
                    heard.garbage |= !std::mem::replace(&mut self.garbage, true);
                    self.decoder.resync();
                }
            }
        }
        heard
    }
}

/// Frames to standard output, as long as somebody takes them.
#[derive(Debug)]
pub(super) struct Outbox {
    stdout: Stdout,
    /// What the pipe did not take of a frame. A pipe takes all or nothing of one this short; other files may not.
    rest: Vec<u8>,
}

impl Outbox {
    pub(super) fn new() -> Self {
        let stdout = io::stdout();
        never_wait(stdout.as_fd());
        Self { stdout, rest: Vec::new() }
    }

    /// Writes the frame, or drops it when nobody reads.
    pub(super) fn send(&mut self, frame: &Frame) {
        match rustix::io::write(&self.stdout, &self.rest) {
            Ok(length) => drop(self.rest.drain(..length)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.rest.clear(),
        }
        if self.rest.is_empty() {
            let bytes = encode(frame);
            if let Ok(length) = rustix::io::write(&self.stdout, &bytes) {
                self.rest.extend_from_slice(&bytes[length..]);
            }
        }
    }
}

/// A few lines to standard error.
#[derive(Debug)]
pub(super) struct Log(Option<File>);

impl Log {
    /// Opened anew, so that not waiting is our own choice: a program shares the original.
    pub(super) fn new() -> Self {
        let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or(0);
        Self(OpenOptions::new().append(true).custom_flags(flags).open("/proc/self/fd/2").ok())
    }

    pub(super) fn say(&mut self, text: &str) {
        if let Some(file) = &mut self.0 {
            // In one piece; lost when nobody reads.
            let _ = file.write(format!("bottle-init: {text}\n").as_bytes());
        }
    }
}

fn never_wait(file: BorrowedFd<'_>) {
    // Fails for a file that is not open. Reading it will fail as well.
    let _ = fcntl_getfl(file).and_then(|flags| fcntl_setfl(file, flags | OFlags::NONBLOCK));
}
