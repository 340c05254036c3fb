//! The connection to the modelled engine: up, lost, or hung.

use std::time::Duration;

use tokio::sync::watch;

/// How the engine answers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LineState {
    /// How often it went away.
    losses: u64,
    down: bool,
    stalled: bool,
}

/// The engine's end.
#[derive(Debug, Default)]
pub(super) struct Line(watch::Sender<LineState>);

impl Line {
    /// A caller's end, opened now.
    pub(super) fn open(&self) -> Connection {
        let state = self.0.subscribe();
        let (losses, was_down) = (state.borrow().losses, state.borrow().down);
        Connection { state, losses, was_down }
    }

    /// Cuts every connection; later ones are refused.
    pub(super) fn cut(&self) {
        self.0
            .send_modify(|state| (state.losses, state.down) = (state.losses + u64::from(!state.down), true));
    }

    /// Later connections are taken again.
    pub(super) fn restore(&self) {
        self.0.send_modify(|state| state.down = false);
    }

    pub(super) fn stall(&self, on: bool) {
        self.0.send_modify(|state| state.stalled = on);
    }

    pub(super) fn is_down(&self) -> bool {
        self.0.borrow().down
    }
}

/// One connection. It does not come back: the next call opens its own.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    state: watch::Receiver<LineState>,
    losses: u64,
    was_down: bool,
}

impl Connection {
    pub(super) fn is_lost(&self) -> bool {
        self.was_down || self.state.borrow().losses != self.losses
    }

    /// Resolves when the connection is lost, also if it was from the start.
    pub(super) async fn lost(&self) {
        if !self.was_down {
            let mut state = self.state.clone();
            let gone = state.wait_for(|now| now.losses != self.losses).await.is_ok();
            if !gone {
                // The engine itself was dropped: nothing will be heard any more.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Resolves at once, or when a hung engine goes on.
    pub(super) async fn answers(&self) {
        let _ = self.state.clone().wait_for(|now| !now.stalled).await;
    }

    /// Resolves when the engine has been hung for `limit` without a break.
    pub(super) async fn silent(&self, limit: Duration) {
        let mut state = self.state.clone();
        while state.wait_for(|now| now.stalled).await.is_ok() {
            if tokio::time::timeout(limit, self.answers()).await.is_err() {
                return;
            }
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[test]
    fn a_connection_stays_lost_when_the_engine_comes_back() {
        let line = Line::default();
        let before = line.open();
        assert!(before.lost().now_or_never().is_none());
        line.cut();
        let refused = line.open();
        line.restore();
        assert!(before.is_lost() && before.lost().now_or_never().is_some());
        assert!(refused.is_lost() && refused.lost().now_or_never().is_some());
        assert!(!line.open().is_lost());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_only_without_a_break() {
        let line = Line::default();
        let (connection, limit) = (line.open(), Duration::from_secs(15));
        let start = tokio::time::Instant::now();
        let breaks = async {
            for on in [true, false, true] {
                tokio::time::sleep(Duration::from_secs(10)).await;
                line.stall(on);
            }
        };
        futures::join!(connection.silent(limit), breaks);
        assert_eq!(start.elapsed(), Duration::from_secs(45));
    }
}
