//! The bottle's children: role → worker, and the commands under way.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use ractor::{ActorCell, ActorId, ActorRef};

use crate::actors::supervision::{Shutdown, shutdown};
use crate::ids::{MemberId, Role};
use crate::messages::ContainerMsg;

/// How long a worker may take to stop. Workers only cancel their tasks, so this is generous.
const WORKER_PATIENCE: Shutdown = Shutdown::Timeout(Duration::from_secs(5));

/// Which child an actor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChildKey {
    Member(Role),
    Provisioner,
}

impl fmt::Display for ChildKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChildKey::Member(role) => write!(f, "{role}"),
            ChildKey::Provisioner => f.write_str("provisioner"),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Children {
    members: BTreeMap<Role, ActorRef<ContainerMsg>>,
    ids: BTreeMap<Role, MemberId>,
    provisioner: Option<ActorCell>,
    execs: HashMap<ActorId, ActorCell>,
}

impl Children {
    pub(super) fn add_member(&mut self, role: Role, worker: ActorRef<ContainerMsg>) {
        self.members.insert(role, worker);
    }

    pub(super) fn set_provisioner(&mut self, worker: ActorCell) {
        self.provisioner = Some(worker);
    }

    pub(super) fn add_exec(&mut self, worker: ActorCell) {
        self.execs.insert(worker.get_id(), worker);
    }

    pub(super) fn created(&mut self, role: Role, id: MemberId) {
        self.ids.insert(role, id);
    }

    pub(super) fn member(&self, role: Role) -> Option<&ActorRef<ContainerMsg>> {
        self.members.get(&role)
    }

    pub(super) fn member_id(&self, role: Role) -> Option<&MemberId> {
        self.ids.get(&role)
    }

    /// Takes an ended child out of the table. `None` for a command's worker or a stranger.
    pub(super) fn forget(&mut self, cell: &ActorCell) -> Option<ChildKey> {
        let id = cell.get_id();
        if self.execs.remove(&id).is_some() {
            return None;
        }
        if self.provisioner.as_ref().is_some_and(|worker| worker.get_id() == id) {
            self.provisioner = None;
            return Some(ChildKey::Provisioner);
        }
        let role = self.members.iter().find(|(_, worker)| worker.get_id() == id).map(|(role, _)| *role)?;
        self.members.remove(&role);
        Some(ChildKey::Member(role))
    }

    /// Everything in stop order: commands, provisioner, agent, mitmproxy, pipelock.
    pub(super) fn take_in_stop_order(&mut self) -> Vec<(ActorCell, Shutdown)> {
        let execs = std::mem::take(&mut self.execs).into_values();
        let members = std::mem::take(&mut self.members).into_values().rev();
        execs
            .chain(self.provisioner.take())
            .chain(members.map(|worker| worker.get_cell()))
            .map(|cell| (cell, WORKER_PATIENCE))
            .collect()
    }

    pub(super) async fn stop_all(&mut self) {
        shutdown::stop_in_order(self.take_in_stop_order()).await;
    }
}
