//! The state of the modelled engine and its pure rules. Behind one lock; nothing here waits.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use ipnet::Ipv4Net;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::super::streams::Output;
use super::super::{
    BackendError, BackendErrorKind, BackendResult, Happening, News, Op, Owned, OwnedBy, OwnedResource,
    Subject,
};
use super::files::Files;
use crate::ids::{BottleId, ImageRef, MemberId, Role};
use crate::plan::spec::{MemberExit, MemberSpec, MemberState, Ownership};

/// Why the model refuses, in the words of an engine.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refusal(pub(super) &'static str);

pub(super) fn refused(op: Op, subject: Subject, kind: BackendErrorKind, why: &'static str) -> BackendError {
    BackendError::new(op, subject, kind, Refusal(why))
}

/// A modelled network; `ownership` is empty on the shared one.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) ownership: Option<Ownership>,
    pub(super) subnet: Ipv4Net,
    pub(super) order: u64,
}

/// One place of a member on a network.
#[derive(Clone, Debug)]
pub(super) struct Attachment {
    pub(super) network: String,
    pub(super) address: Ipv4Addr,
    /// Whether the address was asked for.
    pub(super) fixed: bool,
}

impl Attachment {
    /// Whether this is what is wanted: an address counts only where one was asked for.
    pub(super) fn satisfies(&self, wanted: &Attachment) -> bool {
        self.network == wanted.network && (!wanted.fixed || self.address == wanted.address)
    }
}

/// A modelled container.
pub(super) struct Member {
    pub(super) spec: MemberSpec,
    /// Its name now; `spec` has the one it was created with.
    pub(super) name: String,
    /// Where it is attached now, or will be once it is started.
    pub(super) attached: Vec<Attachment>,
    pub(super) state: MemberState,
    pub(super) pid: i64,
    pub(super) started_at: Option<String>,
    pub(super) created_at: i64,
    pub(super) order: u64,
    /// Counts starts, so that the end of an earlier run is told apart.
    pub(super) run: u64,
    /// How the last run ended.
    pub(super) last_end: Option<MemberExit>,
    pub(super) files: Files,
    pub(super) log: Vec<(String, Output)>,
    pub(super) listeners: Vec<mpsc::UnboundedSender<Output>>,
    pub(super) stdin: Option<mpsc::UnboundedSender<Bytes>>,
    pub(super) processes: BTreeMap<i64, String>,
    pub(super) term: CancellationToken,
    pub(super) kill: CancellationToken,
    pub(super) ignores_term: Arc<AtomicBool>,
    pub(super) changed: watch::Sender<u64>,
}

impl Member {
    /// Prints on a stream of the first process.
    pub(super) fn print(&mut self, output: Output) {
        self.log.push((jiff::Timestamp::now().to_string(), output.clone()));
        self.listeners.retain(|listener| listener.send(output.clone()).is_ok());
    }

    /// Ends the current run.
    fn end(&mut self, exit: MemberExit) {
        self.state = MemberState::Exited(exit);
        self.last_end = Some(exit);
        self.pid = 0;
        self.stdin = None;
        self.listeners.clear();
        self.kill.cancel();
        self.changed.send_modify(|version| *version += 1);
    }

    pub(super) fn is_running(&self) -> bool {
        self.state == MemberState::Running
    }

    /// Running or paused.
    pub(super) fn is_alive(&self) -> bool {
        matches!(self.state, MemberState::Running | MemberState::Paused)
    }

    pub(super) fn is_on(&self, network: &str) -> bool {
        self.attached.iter().any(|one| one.network == network)
    }

    pub(super) fn whose(&self) -> (BottleId, Role) {
        (self.spec.ownership.bottle.clone(), self.spec.role)
    }
}

/// Everything the modelled engine knows.
#[derive(Default)]
pub(super) struct Model {
    pub(super) networks: Vec<Network>,
    pub(super) members: BTreeMap<MemberId, Member>,
    pub(super) absent_images: HashSet<ImageRef>,
    /// Files of images: path and content.
    pub(super) image_files: Vec<(ImageRef, String, Vec<u8>)>,
    /// Names of containers that are not ours.
    pub(super) foreign: BTreeSet<String>,
    pub(super) watchers: Vec<mpsc::UnboundedSender<News>>,
    counter: u64,
}

impl Model {
    pub(super) fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub(super) fn member(&mut self, op: Op, id: &MemberId) -> BackendResult<&mut Member> {
        self.members.get_mut(id).ok_or_else(|| {
            refused(op, Subject::Container(id.to_string()), BackendErrorKind::NotFound, "no such container")
        })
    }

    pub(super) fn running(&mut self, op: Op, id: &MemberId) -> BackendResult<&mut Member> {
        let member = self.member(op, id)?;
        if member.is_running() {
            return Ok(member);
        }
        let subject = Subject::Container(id.to_string());
        Err(refused(op, subject, BackendErrorKind::NotRunning, "the container is not running"))
    }

    /// Ends a member that is alive.
    pub(super) fn end_member(&mut self, id: &MemberId, exit: MemberExit) -> bool {
        let Some(member) = self.members.get_mut(id).filter(|member| member.is_alive()) else { return false };
        member.end(exit);
        let (bottle, role) = member.whose();
        if exit.oom_killed {
            self.tell(&bottle, Some(role), Happening::OutOfMemory);
        }
        self.tell(&bottle, Some(role), Happening::Ended);
        true
    }

    pub(super) fn remove_member(&mut self, id: &MemberId) {
        self.end_member(id, MemberExit { code: 137, oom_killed: false });
        if let Some(member) = self.members.remove(id) {
            let (bottle, role) = member.whose();
            self.tell(&bottle, Some(role), Happening::Removed);
        }
    }

    /// Tells all who listen.
    pub(super) fn tell(&mut self, bottle: &BottleId, role: Option<Role>, what: Happening) {
        let news = News { bottle: bottle.clone(), role, what };
        self.watchers.retain(|watcher| watcher.send(news.clone()).is_ok());
    }

    pub(super) fn owned(&self, by: &OwnedBy) -> Vec<Owned> {
        let wanted = |ownership: &Ownership| match by {
            OwnedBy::Anyone => true,
            OwnedBy::Bottle(bottle) => ownership.bottle == *bottle,
            OwnedBy::Owner(owner) => ownership.owner == *owner,
        };
        let zones = self.networks.iter().filter_map(|network| {
            let resource = OwnedResource::Zone { id: network.id.clone(), name: network.name.clone() };
            Some((network.order, Owned { ownership: network.ownership.clone()?, resource }))
        });
        let members = self.members.iter().map(|(id, member)| {
            let resource = OwnedResource::Member {
                id: id.clone(),
                name: member.name.clone(),
                role: member.spec.role,
                running: member.is_alive(),
                status: words(&member.state),
                created_at: member.created_at,
            };
            (member.order, Owned { ownership: member.spec.ownership.clone(), resource })
        });
        let mut all: Vec<_> = zones.chain(members).filter(|(_, owned)| wanted(&owned.ownership)).collect();
        all.sort_by_key(|(order, _)| *order);
        all.into_iter().map(|(_, owned)| owned).collect()
    }
}

fn words(state: &MemberState) -> String {
    match state {
        MemberState::Created => "Created".into(),
        MemberState::Running => "Up".into(),
        MemberState::Paused => "Up (Paused)".into(),
        MemberState::Exited(exit) => format!("Exited ({})", exit.code),
        MemberState::Gone => "Gone".into(),
    }
}
