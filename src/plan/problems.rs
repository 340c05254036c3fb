//! [`PlanErrors`]: every reason why a wish cannot become a plan, all at once.

use crate::error::ErrorKind;

/// One reason. Names places and rules; never holds a secret value.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PlanProblem {
    /// Where the cause lies: `agents.coder.skills`, `images.agent`.
    pub place: String,
    /// What was found, and what the rule is.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl std::fmt::Display for PlanProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

/// All reasons why a plan cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PlanErrors {
    /// The agent that was asked for.
    pub agent: String,
    /// In the order of the manifest; never empty.
    pub problems: Vec<PlanProblem>,
}

impl PlanErrors {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Input
    }
}

impl std::fmt::Display for PlanErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "plan a bottle for agent {:?}", self.agent)?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for PlanErrors {}

/// Collects problems while resolving goes on.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<PlanProblem>);

impl Problems {
    pub(super) fn add(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.0.push(PlanProblem { place: place.into(), message: message.into(), hint: None });
    }

    pub(super) fn hint(
        &mut self,
        place: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.0.push(PlanProblem {
            place: place.into(),
            message: message.into(),
            hint: Some(hint.into()).filter(|hint: &String| !hint.is_empty()),
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_errors(self, agent: &str) -> PlanErrors {
        PlanErrors { agent: agent.to_owned(), problems: self.0 }
    }
}
