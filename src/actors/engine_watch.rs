//! Hears what happens on the engine and passes it to the bottles; says at once when the engine is lost.
//!
//! Restart type permanent; owner: the root. One task that holds the engine's event stream; it is opened with the
//! first bottle and opened again, with growing pauses, whenever it breaks.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::backend::Backend;
use crate::messages::RootMsg;
use crate::metrics;

/// First pause before the stream is opened again, doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What the watcher is started with.
#[derive(Debug)]
pub struct EngineWatchArgs {
    /// Which engine.
    pub backend: Arc<dyn Backend>,
    /// Who passes the news on.
    pub root: ActorRef<RootMsg>,
}

/// The worker.
#[derive(Debug)]
pub struct EngineWatch;

/// Its messages.
#[derive(Debug)]
pub enum EngineWatchMsg {
    /// From its task: it panicked. The worker fails with it.
    Panicked,
}

impl Actor for EngineWatch {
    type Msg = EngineWatchMsg;
    type State = DropGuard;
    type Arguments = EngineWatchArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<EngineWatchMsg>,
        args: EngineWatchArgs,
    ) -> Result<DropGuard, ActorProcessingErr> {
        let cancel = CancellationToken::new();
        let ends_task = cancel.clone().drop_guard();
        let watching = tokio::spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = watch(&args) => {}
            }
        });
        tokio::spawn(async move {
            if watching.await.is_err_and(|error| error.is_panic()) {
                let _ = myself.cast(EngineWatchMsg::Panicked);
            }
        });
        Ok(ends_task)
    }

    async fn handle(
        &self,
        _myself: ActorRef<EngineWatchMsg>,
        message: EngineWatchMsg,
        _state: &mut DropGuard,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            EngineWatchMsg::Panicked => Err("the watch of the engine panicked".into()),
        }
    }
}

async fn watch(args: &EngineWatchArgs) {
    let mut pause = FIRST_PAUSE;
    let mut heard = true;
    loop {
        if let Ok(mut news) = args.backend.watch().await {
            pause = FIRST_PAUSE;
            heard = true;
            // What happened before is not told: who cares looks for himself.
            let _ = args.root.cast(RootMsg::EngineHeard);
            while let Some(Ok(item)) = news.next().await {
                let _ = args.root.cast(RootMsg::News(item));
            }
        }
        if std::mem::take(&mut heard) {
            metrics::engine_lost();
        }
        let _ = args.root.cast(RootMsg::EngineLost);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
