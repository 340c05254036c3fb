//! Carries a running command's streams: terminal or pipes, input, resizes, end.

use std::io::{self, IsTerminal as _, Read as _};

use bottle::backend::Output;
use bottle::{ExecEnd, ExecSession};
use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::error::{CliError, CliResult};
use crate::terminal;

/// Largest piece of input.
const PIECE: usize = 16 * 1024;

/// Whether a command can have a terminal here: both standard input and output are one.
pub(crate) fn has_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Carries the streams until the command ends. With `tty`, standard input's terminal is raw meanwhile, and
/// Ctrl-C goes to the command. Dropping the future restores the terminal and kills the command.
pub(crate) async fn carry(mut session: ExecSession, tty: bool) -> CliResult<ExecEnd> {
    let raw = if tty && io::stdin().is_terminal() {
        Some(terminal::raw().map_err(|source| CliError::io("put the terminal into raw mode", source))?)
    } else {
        None
    };
    if let Some(to) = session.take_stdin() {
        // Reading cannot be called off; the thread ends with the process, or at the next piece.
        std::thread::spawn(move || feed(&to));
    }
    let resizes = follow_size(&session, tty);
    let copied = tokio::select! {
        copied = print(&mut session) => copied,
        () = resizes => Ok(()),
    };
    let end = match copied {
        Ok(()) => session.wait().await.map_err(CliError::from),
        Err(error) => Err(error),
    };
    drop(raw);
    end
}

/// Ends at end of file, or when the command takes no more input.
fn feed(to: &mpsc::Sender<Bytes>) {
    let mut input = io::stdin().lock();
    let mut piece = vec![0; PIECE];
    loop {
        match input.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => {
                if to.blocking_send(Bytes::copy_from_slice(&piece[..count])).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Tells the command every new size of the terminal. Never ends.
fn follow_size(session: &ExecSession, tty: bool) -> impl Future<Output = ()> + use<> {
    let control = session.control();
    async move {
        let changes = signal(SignalKind::window_change()).ok().filter(|_| tty);
        let Some(mut changes) = changes else { return std::future::pending().await };
        while changes.recv().await.is_some() {
            // A command that has ended meanwhile needs no size.
            let _ = control.resize(terminal::size()).await;
        }
        std::future::pending().await
    }
}

async fn print(session: &mut ExecSession) -> CliResult<()> {
    let (mut out, mut err) = (tokio::io::stdout(), tokio::io::stderr());
    while let Some(piece) = session.next_output().await {
        write(piece, &mut out, &mut err).await?;
    }
    Ok(())
}

/// Writes one piece where it belongs.
pub(crate) async fn write(
    piece: Output,
    out: &mut (impl AsyncWrite + Unpin),
    err: &mut (impl AsyncWrite + Unpin),
) -> CliResult<()> {
    if let Output::Console(bytes) = &piece {
        terminal::watch(bytes);
    }
    let written = match piece {
        Output::Stdout(bytes) | Output::Console(bytes) => write_all(out, &bytes).await,
        // Without a standard error there is nobody to tell.
        Output::Stderr(bytes) => write_all(err, &bytes).await.or(Ok(())),
    };
    written.map_err(|source| {
        let closed = source.kind() == io::ErrorKind::BrokenPipe;
        let mut error = CliError::io("write to standard output", source);
        error.code = closed.then_some(crate::exit_code::OUTPUT_CLOSED);
        error
    })
}

async fn write_all(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}
