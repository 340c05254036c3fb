//! Who listens to the model's news.

use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use tokio::sync::mpsc;

use super::super::{BackendErrorKind, NewsStream, Op, Subject};
use super::book::Inner;
use super::model::refused;

/// How long an engine may hang before a watch gives it up, as with a real one.
const SILENCE: Duration = Duration::from_secs(15);

/// What happens from now on. Ends when the engine goes away.
pub(super) fn listen(inner: &Arc<Inner>) -> NewsStream {
    let (sender, receiver) = mpsc::unbounded_channel();
    inner.model().watchers.push(sender);
    let connection = inner.line.open();
    Box::pin(stream::unfold(Some((receiver, connection)), |state| async move {
        let (mut receiver, connection) = state?;
        let next = async {
            let news = receiver.recv().await;
            connection.answers().await;
            news
        };
        tokio::select! {
            biased;
            () = connection.lost() => None,
            () = connection.silent(SILENCE) => {
                let subject = Subject::Engine("memory".into());
                let hung = refused(Op::Watch, subject, BackendErrorKind::Deadline, "the engine does not answer");
                Some((Err(hung), None))
            }
            news = next => news.map(|news| (Ok(news), Some((receiver, connection)))),
        }
    }))
}
