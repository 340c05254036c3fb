//! [`prune`]: removes journals of bottles that are no more and whose owner cannot remove them any more.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::{Journal, files, read};
use crate::ids::{BottleId, OwnerId};
use crate::lease;

/// A journal that does not say whose it is may be one that is being opened, until this age.
const BEING_OPENED: Duration = Duration::from_secs(600);

/// What is known about one journal.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim {
    bottle: BottleId,
    owner: Option<OwnerId>,
    /// Since its directory last changed; `None` when nobody can tell.
    age: Option<Duration>,
}

/// Removes the journals of bottles that are neither owned by a living runtime nor on the engine; gives what it removed.
///
/// `alive` and `on_engine` may be a moment old: whose owner came alive meanwhile is left alone. A bottle that outlives
/// its owner is on the engine, so its journal stays. What cannot be removed is told to the log and left for the next
/// time. Safe to repeat and to run in several processes at once.
pub fn prune(
    state_dir: &Path,
    alive: &BTreeSet<OwnerId>,
    on_engine: &BTreeSet<BottleId>,
) -> BTreeSet<BottleId> {
    let mut removed = BTreeSet::new();
    let claims = match read::ids(state_dir) {
        Ok(ids) => ids.into_iter().map(|bottle| claim(state_dir, bottle)).collect::<Vec<_>>(),
        Err(error) => {
            tracing::warn!(%error, "the journals cannot be listed");
            return removed;
        }
    };
    let unclaimed = unclaimed(&claims, alive, on_engine);
    if unclaimed.is_empty() {
        return removed;
    }
    // A runtime takes its lease before it opens a journal, and the journals were listed before this look.
    let now = match lease::alive(state_dir) {
        Ok(now) => now,
        Err(error) => {
            tracing::warn!(%error, "the leases cannot be read; no journal is removed");
            return removed;
        }
    };
    for claim in unclaimed.into_iter().filter(|claim| !is_owned(claim, &now)) {
        match std::fs::remove_dir_all(Journal::dir(state_dir, &claim.bottle)) {
            Ok(()) => {
                removed.insert(claim.bottle.clone());
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(bottle = %claim.bottle, %error, "a journal cannot be removed"),
        }
    }
    removed
}

fn claim(state_dir: &Path, bottle: BottleId) -> Claim {
    let tree = || read::tree(state_dir, &bottle).ok().map(|tree| tree.owner);
    let owner = read::owner(state_dir, &bottle).or_else(tree);
    let meta = std::fs::symlink_metadata(files::bottles_dir(state_dir).join(bottle.as_str()));
    let age = meta.ok().and_then(|meta| meta.modified().ok()?.elapsed().ok());
    Claim { bottle, owner, age }
}

fn unclaimed<'a>(
    claims: &'a [Claim],
    alive: &BTreeSet<OwnerId>,
    on_engine: &BTreeSet<BottleId>,
) -> Vec<&'a Claim> {
    let is_left = |claim: &&Claim| !is_owned(claim, alive) && !on_engine.contains(&claim.bottle);
    claims.iter().filter(is_left).collect()
}

/// Nobody's journal is somebody's while it is young.
fn is_owned(claim: &Claim, alive: &BTreeSet<OwnerId>) -> bool {
    match &claim.owner {
        Some(owner) => alive.contains(owner),
        None => claim.age.is_none_or(|age| age < BEING_OPENED),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ownership, tree_of};
    use super::*;
    use crate::lease::Lease;

    fn decide(owner: Option<&str>, age_s: Option<u64>, alive: &[&str], on_engine: &[&str]) -> bool {
        let claim = Claim {
            bottle: BottleId::from("00aa"),
            owner: owner.map(OwnerId::from),
            age: age_s.map(Duration::from_secs),
        };
        let alive = alive.iter().map(|owner| OwnerId::from(*owner)).collect();
        let on_engine = on_engine.iter().map(|id| BottleId::from(*id)).collect();
        !unclaimed(&[claim], &alive, &on_engine).is_empty()
    }

    #[test]
    fn only_what_nobody_owns_and_no_engine_has_is_removed() {
        assert!(decide(Some("dead"), Some(0), &["other"], &["00bb"]));
        assert!(!decide(Some("o1"), None, &["o1"], &[]), "its owner lives");
        assert!(
            !decide(Some("dead"), Some(9999), &[], &["00aa"]),
            "it outlives its owner, or waits for cleanup"
        );
        assert!(!decide(None, Some(5), &[], &[]), "it may be being opened");
        assert!(decide(None, Some(601), &[], &[]));
        assert!(!decide(None, None, &[], &[]), "nobody can tell");
        assert!(!decide(None, Some(601), &[], &["00aa"]));
    }

    #[test]
    fn the_files_of_the_dead_go_and_all_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let lease = Lease::acquire(dir.path()).unwrap();
        let living = ownership("00aa", lease.owner().as_str());
        let dead = ownership("00bb", "dead");
        let detached = ownership("00cc", "dead");
        for owned in [&living, &dead, &detached] {
            Journal::open(dir.path(), owned).tree(&tree_of(owned, "ready"));
        }
        std::fs::create_dir(dir.path().join("bottles/00dd")).unwrap();
        std::fs::write(dir.path().join("bottles/00ee"), "no directory").unwrap();
        let on_engine = BTreeSet::from([detached.bottle]);
        // The list of the living is old: it does not know the one who came since.
        assert_eq!(prune(dir.path(), &BTreeSet::new(), &on_engine), BTreeSet::from([dead.bottle]));
        assert!(prune(dir.path(), &BTreeSet::new(), &on_engine).is_empty());
        let left: Vec<_> = read::ids(dir.path()).unwrap();
        assert_eq!(left, ["00aa", "00cc", "00dd"].map(BottleId::from));
        assert!(prune(&dir.path().join("nowhere"), &BTreeSet::new(), &BTreeSet::new()).is_empty());
    }

    #[test]
    fn a_journal_whose_owner_file_is_broken_goes_by_its_tree() {
        let dir = tempfile::tempdir().unwrap();
        let owned = ownership("00aa", "dead");
        Journal::open(dir.path(), &owned).tree(&tree_of(&owned, "ready"));
        std::fs::write(Journal::dir(dir.path(), &owned.bottle).join("owner"), [0xff; 999]).unwrap();
        assert_eq!(prune(dir.path(), &BTreeSet::new(), &BTreeSet::new()).len(), 1);
    }
}
