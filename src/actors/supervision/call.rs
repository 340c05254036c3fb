//! One call for all actors: a deadline always, and the three ways to get no answer as one error.

use std::time::Duration;

use ractor::rpc::CallResult;
use ractor::{ActorRef, Message, RpcReplyPort};

/// No answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The actor is not there, or went away before it answered.
    #[error("the bottle's supervisor is gone")]
    Gone,
    /// No answer within the deadline; the actor may still act on the message.
    #[error("no answer within {0:?}")]
    Deadline(Duration),
}

/// Sends a message that carries a reply port and waits for the reply.
///
/// Dropping the future drops the reply port; the receiver sees that with `is_closed()`.
///
/// # Errors
/// [`CallError::Gone`] when the actor has ended or drops the port, [`CallError::Deadline`] after `deadline`.
#[expect(clippy::disallowed_methods, reason = "the one place that may use ractor's raw call")]
pub async fn call<M: Message, R: Send + 'static>(
    actor: &ActorRef<M>,
    message: impl FnOnce(RpcReplyPort<R>) -> M,
    deadline: Duration,
) -> Result<R, CallError> {
    match actor.call(message, Some(deadline)).await {
        Ok(CallResult::Success(reply)) => Ok(reply),
        Ok(CallResult::Timeout) => Err(CallError::Deadline(deadline)),
        Ok(CallResult::SenderError) | Err(_) => Err(CallError::Gone),
    }
}
