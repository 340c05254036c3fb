//! The bottle's children: role → worker and what is known of it, the provisioner, the commands under way.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use ractor::{ActorCell, ActorId, ActorRef};
use tokio::time::Instant;

use super::tree::timestamp;
use crate::actors::container::{Entry, WorkerSerial};
use crate::actors::supervision::{Shutdown, shutdown};
use crate::ids::{MemberId, Role};
use crate::messages::{ChildState, ContainerMsg};

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

/// One member and its worker.
#[derive(Debug)]
pub(super) struct Member {
    worker: Option<ActorRef<ContainerMsg>>,
    serial: WorkerSerial,
    id: Option<MemberId>,
    /// How the next worker comes to the container.
    pub(super) entry: Entry,
    /// Counts its workers.
    pub(super) incarnation: u32,
    pub(super) state: ChildState,
    pub(super) since: String,
    pub(super) why: Option<String>,
    /// Since when it cannot be used; cleared when it is back.
    pub(super) down_since: Option<Instant>,
}

impl Member {
    fn new() -> Self {
        Self {
            worker: None,
            serial: 0,
            id: None,
            entry: Entry::Start,
            incarnation: 0,
            state: ChildState::Waiting,
            since: timestamp(),
            why: None,
            down_since: None,
        }
    }

    /// Notes what it is doing now.
    pub(super) fn mark(&mut self, state: ChildState, why: Option<String>) {
        if self.state != state {
            self.since = timestamp();
        }
        self.state = state;
        self.why = why;
    }
}

#[derive(Debug)]
pub(super) struct Children {
    members: BTreeMap<Role, Member>,
    provisioner: Option<ActorCell>,
    execs: HashMap<ActorId, ActorCell>,
    serials: WorkerSerial,
}

impl Default for Children {
    fn default() -> Self {
        Self {
            members: Role::ALL.into_iter().map(|role| (role, Member::new())).collect(),
            provisioner: None,
            execs: HashMap::new(),
            serials: 0,
        }
    }
}

impl Children {
    /// What is known of a member.
    pub(super) fn of(&mut self, role: Role) -> &mut Member {
        self.members.entry(role).or_insert_with(Member::new)
    }

    /// All members in start order.
    pub(super) fn all(&self) -> impl Iterator<Item = (Role, &Member)> {
        self.members.iter().map(|(role, member)| (*role, member))
    }

    /// The number of the worker that is about to be started; messages of earlier ones do not count any more.
    pub(super) fn next_worker(&mut self, role: Role) -> WorkerSerial {
        self.serials += 1;
        let serial = self.serials;
        let member = self.of(role);
        member.serial = serial;
        member.incarnation += 1;
        serial
    }

    pub(super) fn set_worker(&mut self, role: Role, worker: ActorRef<ContainerMsg>) {
        self.of(role).worker = Some(worker);
    }

    /// Whether a message comes from the worker that counts.
    pub(super) fn is_current(&self, role: Role, serial: WorkerSerial) -> bool {
        self.members.get(&role).is_some_and(|member| member.serial == serial)
    }

    /// Takes the worker out of the table, to be stopped.
    pub(super) fn take_worker(&mut self, role: Role) -> Option<ActorCell> {
        self.of(role).worker.take().map(|worker| worker.get_cell())
    }

    pub(super) fn set_provisioner(&mut self, worker: ActorCell) {
        self.provisioner = Some(worker);
    }

    pub(super) fn take_provisioner(&mut self) -> Option<ActorCell> {
        self.provisioner.take()
    }

    pub(super) fn add_exec(&mut self, worker: ActorCell) {
        self.execs.insert(worker.get_id(), worker);
    }

    pub(super) fn execs(&self) -> usize {
        self.execs.len()
    }

    /// Notes the container of a member; whether it is another one than before.
    pub(super) fn created(&mut self, role: Role, id: MemberId) -> bool {
        let before = self.of(role).id.replace(id.clone());
        before.is_some_and(|before| before != id)
    }

    pub(super) fn member(&self, role: Role) -> Option<&ActorRef<ContainerMsg>> {
        self.members.get(&role)?.worker.as_ref()
    }

    pub(super) fn member_id(&self, role: Role) -> Option<&MemberId> {
        self.members.get(&role)?.id.as_ref()
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
        let is_it = |member: &Member| member.worker.as_ref().is_some_and(|worker| worker.get_id() == id);
        let (role, member) = self.members.iter_mut().find(|(_, member)| is_it(member))?;
        member.worker = None;
        Some(ChildKey::Member(*role))
    }

    /// Everything in stop order: commands, provisioner, agent, mitmproxy, pipelock.
    pub(super) fn take_in_stop_order(&mut self) -> Vec<(ActorCell, Shutdown)> {
        let execs = std::mem::take(&mut self.execs).into_values();
        let members = self.members.values_mut().rev().filter_map(|member| member.worker.take());
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

/// Stops a worker that is replaced, in the background: its successor does not wait for it.
pub(super) fn dismiss(worker: Option<ActorCell>) {
    if let Some(worker) = worker {
        tokio::spawn(shutdown::stop(worker, WORKER_PATIENCE));
    }
}
