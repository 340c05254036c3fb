//! The state of the modelled engine and its pure rules. Behind one lock; nothing here waits.

use std::collections::{BTreeMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use ipnet::Ipv4Net;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::super::streams::Output;
use super::super::{
    BackendError, BackendErrorKind, BackendResult, Op, Owned, OwnedBy, OwnedResource, Subject, subnets,
};
use super::files::Files;
use crate::ids::{BottleId, ImageRef, MemberId};
use crate::plan::spec::{Ground, GroundSpec, MemberExit, MemberSpec, MemberState, Ownership, Zone};

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

/// A modelled container.
pub(super) struct Member {
    pub(super) spec: MemberSpec,
    pub(super) networks: Vec<String>,
    pub(super) addresses: Vec<Ipv4Addr>,
    pub(super) state: MemberState,
    pub(super) pid: i64,
    pub(super) started_at: Option<String>,
    pub(super) created_at: i64,
    pub(super) order: u64,
    /// Counts starts, so that the end of an earlier run is told apart.
    pub(super) run: u64,
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
    pub(super) fn end(&mut self, exit: MemberExit) {
        self.state = MemberState::Exited(exit);
        self.pid = 0;
        self.stdin = None;
        self.listeners.clear();
        self.kill.cancel();
        self.changed.send_modify(|version| *version += 1);
    }

    pub(super) fn is_running(&self) -> bool {
        self.state == MemberState::Running
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
    pub(super) down: bool,
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

    pub(super) fn ensure_ground(&mut self, spec: &GroundSpec) -> BackendResult<Ground> {
        let before = self.networks.len();
        let shared = self.ensure_network(spec, &spec.egress_name, true);
        let kept = shared.as_ref().map_or(before, |_| self.networks.len());
        let both = shared.and_then(|_| {
            let int = self.ensure_network(spec, &spec.int_name, false)?;
            Ok((int, self.ensure_network(spec, &spec.mid_name, false)?))
        });
        let (int, mid) = both.inspect_err(|_| self.networks.truncate(kept))?;
        let at = |net: Ipv4Net, offset: u32| Ipv4Addr::from(u32::from(net.network()) + offset);
        Ok(Ground {
            spec: spec.clone(),
            mitmproxy_int: at(int, 2),
            agent_int: at(int, 3),
            pipelock_mid: at(mid, 2),
            mitmproxy_mid: at(mid, 3),
        })
    }

    fn ensure_network(&mut self, spec: &GroundSpec, name: &str, shared: bool) -> BackendResult<Ipv4Net> {
        let refuse = |kind, why| Err(refused(Op::CreateZone, Subject::Network(name.to_owned()), kind, why));
        if let Some(found) = self.networks.iter().find(|network| network.name == name) {
            let owner = found.ownership.as_ref().map(|ownership| &ownership.bottle);
            let ours = if shared { owner.is_none() } else { owner == Some(&spec.ownership.bottle) };
            if ours {
                return Ok(found.subnet);
            }
            return refuse(BackendErrorKind::NameConflict, "a network of that name belongs to somebody else");
        }
        let taken: Vec<Ipv4Net> = self.networks.iter().map(|network| network.subnet).collect();
        let subnet = if shared {
            subnets::shared(spec.pool, taken).next()
        } else {
            subnets::inner(spec.pool, &spec.ownership.bottle, taken).next()
        };
        let Some(subnet) = subnet else {
            return refuse(BackendErrorKind::NoAddressSpace, "no free subnet is left");
        };
        let order = self.next();
        self.networks.push(Network {
            id: format!("{order:064x}"),
            name: name.to_owned(),
            ownership: (!shared).then(|| spec.ownership.clone()),
            subnet,
            order,
        });
        Ok(subnet)
    }

    pub(super) fn remove_ground(&mut self, bottle: &BottleId) -> BackendResult<()> {
        let ours = |network: &Network| network.ownership.as_ref().is_some_and(|own| own.bottle == *bottle);
        for network in self.networks.iter().filter(|network| ours(network)) {
            let used = |member: &Member| {
                matches!(member.state, MemberState::Running | MemberState::Paused)
                    && member.networks.contains(&network.id)
            };
            if self.members.values().any(used) {
                let subject = Subject::Network(network.name.clone());
                let why = "the network has active endpoints";
                return Err(refused(Op::RemoveZone, subject, BackendErrorKind::Denied, why));
            }
        }
        self.networks.retain(|network| !ours(network));
        Ok(())
    }

    pub(super) fn remove_shared(&mut self, name: &str) -> bool {
        let members = &self.members;
        self.networks.retain(|network| {
            let used = members.values().any(|member| member.networks.contains(&network.id));
            network.name != name || network.ownership.is_some() || used
        });
        !self.networks.iter().any(|network| network.name == name && network.ownership.is_none())
    }

    pub(super) fn ensure_member(&mut self, spec: &MemberSpec) -> BackendResult<MemberId> {
        let refuse =
            |kind, why| Err(refused(Op::CreateMember, Subject::Container(spec.name.clone()), kind, why));
        let (networks, addresses) = self.resolve(spec)?;
        if let Some((id, found)) = self.members.iter().find(|(_, member)| member.spec.name == spec.name) {
            let ours = found.spec.ownership.bottle == spec.ownership.bottle && found.spec.role == spec.role;
            if !ours {
                let why = "a container of that name belongs to somebody else";
                return refuse(BackendErrorKind::NameConflict, why);
            }
            let wanted = MemberSpec { ownership: found.spec.ownership.clone(), ..spec.clone() };
            let same = found.spec == wanted && found.networks == networks;
            let id = id.clone();
            match (found.state.clone(), same) {
                (_, true) => return Ok(id),
                (MemberState::Running | MemberState::Paused, false) => {
                    let why = "it runs with another specification; stop it first";
                    return refuse(BackendErrorKind::Denied, why);
                }
                _ => self.remove_member(&id),
            }
        }
        if self.absent_images.contains(&spec.image) {
            let subject = Subject::Image(spec.image.to_string());
            return Err(refused(Op::CreateMember, subject, BackendErrorKind::NotFound, "no such image"));
        }
        let order = self.next();
        let id = MemberId::new(format!("{order:064x}"));
        let places = spec.tmpfs.iter().map(|fs| fs.path.as_str()).chain(spec.workdir.as_deref());
        let mut files = Files::new(places);
        for (_, path, content) in self.image_files.iter().filter(|(image, ..)| *image == spec.image) {
            files.put(path, content);
        }
        let member = Member {
            files,
            spec: spec.clone(),
            networks,
            addresses,
            state: MemberState::Created,
            pid: 0,
            started_at: None,
            created_at: jiff::Timestamp::now().as_second(),
            order,
            run: 0,
            log: Vec::new(),
            listeners: Vec::new(),
            stdin: None,
            processes: BTreeMap::new(),
            term: CancellationToken::new(),
            kill: CancellationToken::new(),
            ignores_term: Arc::default(),
            changed: watch::Sender::new(0),
        };
        self.members.insert(id.clone(), member);
        Ok(id)
    }

    /// Ids of the networks and the member's addresses.
    fn resolve(&self, spec: &MemberSpec) -> BackendResult<(Vec<String>, Vec<Ipv4Addr>)> {
        let resolved = spec.endpoints.iter().map(|endpoint| {
            let subject = Subject::Network(endpoint.network.clone());
            let Some(network) = self.networks.iter().find(|network| network.name == endpoint.network) else {
                let why = "the network does not exist";
                return Err(refused(Op::ConnectMember, subject, BackendErrorKind::NotFound, why));
            };
            let bottle = network.ownership.as_ref().map(|ownership| &ownership.bottle);
            let wanted = (endpoint.zone != Zone::Egress).then_some(&spec.ownership.bottle);
            if bottle != wanted {
                let why = "a network of that name belongs to somebody else";
                return Err(refused(Op::ConnectMember, subject, BackendErrorKind::NameConflict, why));
            }
            let free = || Ipv4Addr::from(u32::from(network.subnet.network()) + 2);
            Ok((network.id.clone(), endpoint.address.unwrap_or_else(free)))
        });
        Ok(resolved.collect::<BackendResult<Vec<_>>>()?.into_iter().unzip())
    }

    /// Whether all networks of a member exist.
    pub(super) fn has_networks(&self, id: &MemberId) -> bool {
        let wanted = self.members.get(id).map(|member| member.networks.as_slice()).unwrap_or_default();
        wanted.iter().all(|id| self.networks.iter().any(|network| network.id == *id))
    }

    pub(super) fn remove_member(&mut self, id: &MemberId) {
        if let Some(mut member) = self.members.remove(id) {
            member.end(MemberExit { code: 137, oom_killed: false });
        }
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
                name: member.spec.name.clone(),
                role: member.spec.role,
                running: matches!(member.state, MemberState::Running | MemberState::Paused),
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
