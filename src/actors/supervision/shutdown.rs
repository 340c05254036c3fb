//! Ordered shutdown: the only way down.
//!
//! ractor kills the children of an ending supervisor, all at once and without their `post_stop`. So every
//! supervisor calls [`stop_in_order`] itself before it ends.

use std::time::Duration;

use ractor::ActorCell;

use super::spec::Shutdown;

/// Extra time for a killed actor to be gone; a kill interrupts at the next await.
const KILL_GRACE: Duration = Duration::from_secs(1);

/// Stops the children one after the other, in the order given (the reverse of the start order).
///
/// A child that does not stop in time is killed. Repeating it with children that have ended is success.
pub async fn stop_in_order(children: impl IntoIterator<Item = (ActorCell, Shutdown)>) {
    for (child, shutdown) in children {
        stop(child, shutdown).await;
    }
}

/// Stops one actor; kills it after its time-out.
#[expect(clippy::disallowed_methods, reason = "the one place that may stop and kill actors")]
pub async fn stop(child: ActorCell, shutdown: Shutdown) {
    let Shutdown::Timeout(patience) = shutdown else {
        let _ = child.kill_and_wait(Some(KILL_GRACE)).await;
        return;
    };
    // A second stop request fails at once (the stop port takes one), so it is followed by waiting, not by asking again.
    child.stop(Some("shutdown".into()));
    if child.wait(Some(patience)).await.is_err() {
        let _ = child.kill_and_wait(Some(KILL_GRACE)).await;
    }
}
