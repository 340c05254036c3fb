//! [`CleanupPlan`]: what no living owner claims, and may therefore be removed. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::render::Page;
use super::spec::Ownership;
use crate::backend::{Owned, OwnedResource};
use crate::ids::{BottleId, MemberId, OwnerId, Slug};

/// Whether the owner of a bottle lives, as its lease tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerState {
    /// Its lease is held.
    Alive,
    /// Its lease is free (also after a reboot of this host).
    Dead,
    /// It is on another host, or nobody can tell: hands off.
    Unknown,
}

/// What this host knows about owners. A lease is a file lock, which no reboot survives: a lock that is held
/// is of this boot, so the boot id of the labels adds nothing here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LivingOwners {
    /// Hashed machine id of this host.
    pub host: String,
    /// Owners whose lease is held right now.
    pub alive: BTreeSet<OwnerId>,
}

impl LivingOwners {
    /// What can be said about the owner of a resource. A resource with damaged labels (no owner, no host)
    /// is unknown: it may belong to another host.
    pub fn state_of(&self, ownership: &Ownership) -> OwnerState {
        if ownership.host.is_empty() || ownership.host != self.host || ownership.owner.as_str().is_empty() {
            return OwnerState::Unknown;
        }
        if self.alive.contains(&ownership.owner) {
            return OwnerState::Alive;
        }
        OwnerState::Dead
    }
}

/// All that is left of one bottle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Orphan {
    /// The bottle.
    pub bottle: BottleId,
    /// Its visible name.
    pub slug: Slug,
    /// The agent of the manifest.
    pub agent: String,
    /// Its owner, who is dead.
    pub owner: OwnerId,
    /// Whether it was meant to outlive its owner: adopting it is another way out.
    pub detached: bool,
    /// Containers: engine id and name.
    pub members: Vec<(MemberId, String)>,
    /// How many of them run.
    pub running: usize,
    /// Names of networks.
    pub zones: Vec<String>,
}

/// What `cleanup` removes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CleanupPlan {
    /// By visible name.
    pub orphans: Vec<Orphan>,
    /// Bottles that are left alone because nobody here can tell whether their owner lives.
    pub unknown: Vec<Slug>,
}

impl CleanupPlan {
    /// Groups what carries our labels by bottle and takes those whose owner is dead.
    ///
    /// A bottle of which any part has a living or unknown owner (it was adopted halfway) is not an orphan.
    /// Detached bottles outlive their owner by intent: they are orphans only with `with_detached`.
    pub fn of(owned: &[Owned], owners: &LivingOwners, with_detached: bool) -> Self {
        let mut groups: BTreeMap<&BottleId, Vec<&Owned>> = BTreeMap::new();
        for item in owned {
            groups.entry(&item.ownership.bottle).or_default().push(item);
        }
        let mut plan = Self::default();
        for (bottle, items) in groups {
            let states: Vec<_> = items.iter().map(|item| owners.state_of(&item.ownership)).collect();
            let Some(first) = items.first() else { continue };
            if states.contains(&OwnerState::Alive) {
                continue;
            }
            if states.contains(&OwnerState::Unknown) {
                plan.unknown.push(first.ownership.slug.clone());
                continue;
            }
            let orphan = orphan(bottle, first, &items);
            if with_detached || !orphan.detached {
                plan.orphans.push(orphan);
            }
        }
        plan.orphans.sort_by(|a, b| (&a.slug, &a.bottle).cmp(&(&b.slug, &b.bottle)));
        plan.unknown.sort();
        plan
    }

    /// Whether there is nothing to remove.
    pub fn empty(&self) -> bool {
        self.orphans.is_empty()
    }

    /// The summary people confirm; ends with a newline.
    pub fn print(&self) -> String {
        let mut page = Page::default();
        if self.empty() {
            page.0.push_str("nothing to clean up\n");
        }
        for orphan in &self.orphans {
            let detached = if orphan.detached { ", detached" } else { "" };
            let head = format!("agent {}, {} running{detached}", orphan.agent, orphan.running);
            page.line(orphan.slug.as_str(), &head);
            page.lines("  container", orphan.members.iter().map(|(_, name)| name.clone()));
            page.lines("  network", orphan.zones.iter().cloned());
        }
        page.lines(
            "left alone",
            self.unknown.iter().map(|slug| format!("{slug}: its owner is on another host")),
        );
        page.0
    }
}

fn orphan(bottle: &BottleId, first: &Owned, items: &[&Owned]) -> Orphan {
    let mut orphan = Orphan {
        bottle: bottle.clone(),
        slug: first.ownership.slug.clone(),
        agent: first.ownership.agent.clone(),
        owner: first.ownership.owner.clone(),
        detached: items.iter().any(|item| item.ownership.detached),
        members: Vec::new(),
        running: 0,
        zones: Vec::new(),
    };
    for item in items {
        match &item.resource {
            OwnedResource::Member { id, name, running, .. } => {
                orphan.members.push((id.clone(), name.clone()));
                orphan.running += usize::from(*running);
            }
            OwnedResource::Zone { name, .. } => orphan.zones.push(name.clone()),
        }
    }
    orphan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Role;

    fn owned(bottle: &str, owner: &str, host: &str, detached: bool) -> [Owned; 2] {
        let ownership = Ownership {
            bottle: bottle.into(),
            owner: owner.into(),
            slug: Slug::new(format!("slug-{bottle}")),
            agent: "coder".into(),
            plan_hash: String::new(),
            generation: 1,
            host: host.into(),
            boot: "boot".into(),
            detached,
        };
        let name = format!("claude-bottle-slug-{bottle}");
        let member = OwnedResource::Member {
            id: "id".into(),
            name,
            role: Role::Agent,
            running: true,
            status: "Up".into(),
            created_at: 0,
        };
        let zone = OwnedResource::Zone { id: "z".into(), name: format!("claude-bottle-int-slug-{bottle}") };
        [Owned { ownership: ownership.clone(), resource: member }, Owned { ownership, resource: zone }]
    }

    fn owners() -> LivingOwners {
        LivingOwners { host: "here".into(), alive: BTreeSet::from(["alive".into()]) }
    }

    #[test]
    fn only_dead_owners_of_this_host_leave_orphans() {
        let all = [
            owned("a", "dead", "here", false),
            owned("b", "alive", "here", false),
            owned("c", "dead", "elsewhere", false),
            owned("d", "", "", false),
            owned("e", "dead", "here", true),
        ]
        .concat();
        let plan = CleanupPlan::of(&all, &owners(), false);
        assert_eq!(plan.orphans.iter().map(|orphan| orphan.slug.as_str()).collect::<Vec<_>>(), ["slug-a"]);
        assert_eq!(plan.unknown, ["slug-c".into(), "slug-d".into()]);
        let with_detached = CleanupPlan::of(&all, &owners(), true);
        assert_eq!(with_detached.orphans.len(), 2);
        insta::assert_snapshot!(with_detached.print());
    }

    #[test]
    fn a_bottle_that_is_partly_adopted_is_no_orphan() {
        let mut items = owned("a", "dead", "here", false);
        items[1].ownership.owner = "alive".into();
        assert!(CleanupPlan::of(&items, &owners(), true).empty());
    }

    #[test]
    fn nothing_to_clean_up_says_so() {
        let plan = CleanupPlan::of(&[], &owners(), true);
        assert!(plan.empty());
        assert_eq!(plan.print(), "nothing to clean up\n");
    }
}
