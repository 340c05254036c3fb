//! Ctrl-C, SIGTERM, SIGHUP and SIGQUIT: the first one asks for an orderly end, the second one ends at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::output::Ui;
use crate::terminal;

const CAUGHT: [SignalKind; 4] =
    [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];

/// Tells whether a signal has come.
#[derive(Clone, Debug)]
pub(crate) struct Signals {
    first: watch::Receiver<Option<i32>>,
}

impl Signals {
    /// Starts to listen. From here on no signal ends the process by itself.
    ///
    /// # Errors
    /// The system refuses a handler.
    pub(crate) fn listen(ui: Ui) -> std::io::Result<Self> {
        let (tell, first) = watch::channel(None);
        for kind in CAUGHT {
            let mut stream = signal(kind)?;
            let tell = tell.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    if tell.borrow().is_some() {
                        give_up(ui, kind.as_raw_value());
                    }
                    tell.send_replace(Some(kind.as_raw_value()));
                }
            });
        }
        Ok(Self { first })
    }

    /// Resolves once a signal has come, also when it came before; with the exit code that tells so.
    pub(crate) async fn wait(&self) -> u8 {
        let mut first = self.first.clone();
        loop {
            let signal = *first.borrow_and_update();
            if let Some(number) = signal {
                return code(number);
            }
            if first.changed().await.is_err() {
                // The listening tasks are gone with the runtime: nobody is interested any more.
                std::future::pending::<()>().await;
            }
        }
    }
}

fn code(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(crate::exit_code::INTERRUPTED)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the second signal is the person's order not to wait for teardown"
)]
fn give_up(ui: Ui, signal: i32) {
    terminal::leave();
    ui.say("stopped before everything was removed; `bottle cleanup` takes the rest");
    std::process::exit(i32::from(code(signal)));
}
