//! Who listens to the model's news.

use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use tokio::sync::mpsc;

use super::super::{BackendErrorKind, NewsStream, Op, Subject};
use super::book::Inner;
use super::model::refused;

/// What happens from now on. Ends when the engine goes away.
pub(super) fn listen(inner: &Arc<Inner>) -> NewsStream {
    let (sender, receiver) = mpsc::unbounded_channel();
    inner.model().watchers.push(sender);
    // A real one is given up after 15 s at first, half of what a call may last here.
    let patience: Duration = inner.script_book().deadline / 2;
    let connection = inner.line.open();
    Box::pin(stream::unfold(Some((receiver, connection)), move |state| async move {
        let (mut receiver, connection) = state?;
        let next = async {
            let news = receiver.recv().await;
            connection.answers().await;
            news
        };
        tokio::select! {
            biased;
            () = connection.lost() => None,
            () = connection.silent(patience) => {
                let subject = Subject::Engine("memory".into());
                let hung = refused(Op::Watch, subject, BackendErrorKind::Deadline, "the engine does not answer");
                Some((Err(hung), None))
            }
            news = next => news.map(|news| (Ok(news), Some((receiver, connection)))),
        }
    }))
}
