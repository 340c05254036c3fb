//! The label keys that say what is ours. The one place that knows them.

use std::collections::HashMap;

use crate::ids::{BottleId, OwnerId, Role, Slug};
use crate::plan::spec::Ownership;

/// Bottle id; its presence makes a resource ours.
pub const BOTTLE: &str = "bottle.id";
/// Owner id (lease).
pub const OWNER: &str = "bottle.owner";
/// Visible name.
pub const SLUG: &str = "bottle.slug";
/// Agent of the manifest.
pub const AGENT: &str = "bottle.agent";
/// Role of a container, or `int`/`mid`/`egress` of a network.
pub const ROLE: &str = "bottle.role";
/// SHA-256 of the plan.
pub const PLAN: &str = "bottle.plan";
/// Generation of the ground.
pub const GENERATION: &str = "bottle.generation";
/// Hashed machine id.
pub const HOST: &str = "bottle.host";
/// Boot id.
pub const BOOT: &str = "bottle.boot";
/// `true` when the bottle may outlive its owner.
pub const DETACHED: &str = "bottle.detached";
/// SHA-256 of a member's specification without its ownership: tells whether a found one is the one that is wanted.
pub const SPEC: &str = "bottle.spec";
/// Ids of the networks a member was created on, joined by commas: tells whether they were made anew since.
pub const NETWORKS: &str = "bottle.networks";
/// Marks the shared network, which belongs to no bottle.
pub const SHARED: &str = "bottle.shared";

/// The labels of a resource of `ownership`.
pub fn of(ownership: &Ownership, role: &str) -> HashMap<String, String> {
    [
        (BOTTLE, ownership.bottle.to_string()),
        (OWNER, ownership.owner.to_string()),
        (SLUG, ownership.slug.to_string()),
        (AGENT, ownership.agent.clone()),
        (ROLE, role.to_owned()),
        (PLAN, ownership.plan_hash.clone()),
        (GENERATION, ownership.generation.to_string()),
        (HOST, ownership.host.clone()),
        (BOOT, ownership.boot.clone()),
        (DETACHED, ownership.detached.to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// Reads labels back. `None` when the bottle id is missing: then it is not ours. Other missing or broken
/// labels become empty, so that a damaged resource is still found and can be cleaned up.
pub fn parse(labels: &HashMap<String, String>) -> Option<Ownership> {
    let text = |key: &str| labels.get(key).cloned().unwrap_or_default();
    Some(Ownership {
        bottle: BottleId::new(labels.get(BOTTLE).filter(|id| !id.is_empty())?.clone()),
        owner: OwnerId::new(text(OWNER)),
        slug: Slug::new(text(SLUG)),
        agent: text(AGENT),
        plan_hash: text(PLAN),
        generation: text(GENERATION).parse().unwrap_or(0),
        host: text(HOST),
        boot: text(BOOT),
        detached: text(DETACHED) == "true",
    })
}

/// Reads a role label back.
pub fn parse_role(text: &str) -> Option<Role> {
    Role::ALL.into_iter().find(|role| role.as_str() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ownership() -> Ownership {
        Ownership {
            bottle: BottleId::from("00ff00ff00ff00ff"),
            owner: OwnerId::from("owner-1"),
            slug: Slug::from("coder"),
            agent: "coder".into(),
            plan_hash: "ab".repeat(32),
            generation: 3,
            host: "h".into(),
            boot: "b".into(),
            detached: true,
        }
    }

    #[test]
    fn labels_come_back_as_they_were_written() {
        assert_eq!(parse(&of(&ownership(), "agent")), Some(ownership()));
    }

    #[test]
    fn a_resource_without_a_bottle_id_is_not_ours() {
        assert_eq!(parse(&HashMap::new()), None);
    }

    #[test]
    fn a_damaged_resource_is_still_found() {
        let labels =
            HashMap::from([(BOTTLE.to_owned(), "x".to_owned()), (GENERATION.to_owned(), "?".to_owned())]);
        assert_eq!(parse(&labels).map(|found| found.generation), Some(0));
    }
}
