//! Networks of the model.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::super::{BackendErrorKind, BackendResult, Happening, Op, Subject, subnets};
use super::model::{Attachment, Model, Network, refused};
use crate::ids::{BottleId, MemberId};
use crate::plan::spec::{Ground, GroundSpec, MemberSpec, Zone};

/// Where a new network's subnet comes from.
#[derive(Clone, Copy)]
enum From {
    Exactly(Ipv4Net),
    Pool,
    TopOfPool,
}

impl Model {
    pub(super) fn ensure_ground(&mut self, spec: &GroundSpec) -> BackendResult<Ground> {
        let before = self.networks.len();
        let (int, mid) = match spec.subnets {
            Some((int, mid)) => (From::Exactly(int), From::Exactly(mid)),
            None => (From::Pool, From::Pool),
        };
        let shared = self.ensure_network(spec, &spec.egress_name, From::TopOfPool);
        let kept = shared.as_ref().map_or(before, |_| self.networks.len());
        let both = shared.and_then(|_| {
            let int = self.ensure_network(spec, &spec.int_name, int)?;
            Ok((int, self.ensure_network(spec, &spec.mid_name, mid)?))
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

    fn ensure_network(&mut self, spec: &GroundSpec, name: &str, from: From) -> BackendResult<Ipv4Net> {
        let refuse = |kind, why| Err(refused(Op::CreateZone, Subject::Network(name.to_owned()), kind, why));
        let shared = matches!(from, From::TopOfPool);
        if let Some(found) = self.networks.iter().find(|network| network.name == name) {
            let owner = found.ownership.as_ref().map(|ownership| &ownership.bottle);
            let ours = if shared { owner.is_none() } else { owner == Some(&spec.ownership.bottle) };
            return match from {
                _ if !ours => {
                    let why = "a network of that name belongs to somebody else";
                    refuse(BackendErrorKind::NameConflict, why)
                }
                From::Exactly(subnet) if subnet != found.subnet => {
                    refuse(BackendErrorKind::Denied, "it has another subnet; remove the ground first")
                }
                _ => Ok(found.subnet),
            };
        }
        let taken: Vec<Ipv4Net> = self.networks.iter().map(|network| network.subnet).collect();
        let subnet = match from {
            From::Exactly(subnet) => Some(subnet).filter(|subnet| subnets::free(*subnet, &taken)),
            From::Pool => subnets::inner(spec.pool, &spec.ownership.bottle, taken).next(),
            From::TopOfPool => subnets::shared(spec.pool, taken).next(),
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
        let found: Vec<String> =
            self.networks.iter().filter(|net| ours(net)).map(|net| net.id.clone()).collect();
        for network in self.networks.iter().filter(|network| ours(network)) {
            if self.members.values().any(|member| member.is_alive() && member.is_on(&network.id)) {
                let subject = Subject::Network(network.name.clone());
                let why = "the network has active endpoints";
                return Err(refused(Op::RemoveZone, subject, BackendErrorKind::Denied, why));
            }
        }
        found.iter().for_each(|id| self.drop_network(id));
        Ok(())
    }

    pub(super) fn remove_shared(&mut self, name: &str) -> bool {
        let members = &self.members;
        self.networks.retain(|network| {
            let used = members.values().any(|member| member.is_on(&network.id));
            network.name != name || network.ownership.is_some() || used
        });
        !self.networks.iter().any(|network| network.name == name && network.ownership.is_none())
    }

    pub(super) fn network_named(&self, name: &str) -> Option<String> {
        self.networks.iter().find(|network| network.name == name).map(|network| network.id.clone())
    }

    /// Takes a network away from under whoever runs on it.
    pub(super) fn tear_network(&mut self, name: &str) -> bool {
        let Some(id) = self.network_named(name) else { return false };
        let on_it: Vec<MemberId> =
            self.members.iter().filter(|(_, member)| member.is_alive()).map(|(id, _)| id.clone()).collect();
        for member in on_it {
            self.detach(&member, &id);
        }
        self.drop_network(&id);
        true
    }

    fn drop_network(&mut self, id: &str) {
        let Some(at) = self.networks.iter().position(|network| network.id == id) else { return };
        let gone = self.networks.remove(at);
        if let Some(ownership) = gone.ownership {
            self.tell(&ownership.bottle, None, Happening::Removed);
        }
    }

    /// Where a member has to be attached.
    pub(super) fn resolve(&self, op: Op, spec: &MemberSpec) -> BackendResult<Vec<Attachment>> {
        let resolved = spec.endpoints.iter().map(|endpoint| {
            let subject = Subject::Network(endpoint.network.clone());
            let Some(network) = self.networks.iter().find(|network| network.name == endpoint.network) else {
                let why = "the network does not exist";
                return Err(refused(op, subject, BackendErrorKind::NotFound, why));
            };
            let bottle = network.ownership.as_ref().map(|ownership| &ownership.bottle);
            let wanted = (endpoint.zone != Zone::Egress).then_some(&spec.ownership.bottle);
            if bottle != wanted {
                let why = "a network of that name belongs to somebody else";
                return Err(refused(op, subject, BackendErrorKind::NameConflict, why));
            }
            let free = || Ipv4Addr::from(u32::from(network.subnet.network()) + 2);
            Ok(Attachment {
                network: network.id.clone(),
                address: endpoint.address.unwrap_or_else(free),
                fixed: endpoint.address.is_some(),
            })
        });
        resolved.collect()
    }

    /// Whether all networks exist that a member will be attached to.
    pub(super) fn has_networks(&self, id: &MemberId) -> bool {
        let attached = self.members.get(id).map(|member| member.attached.as_slice()).unwrap_or_default();
        attached.iter().all(|one| self.networks.iter().any(|network| network.id == one.network))
    }

    /// Takes a member off a network. `false` when it was not on it.
    pub(super) fn detach(&mut self, id: &MemberId, network: &str) -> bool {
        let Some(member) = self.members.get_mut(id).filter(|member| member.is_on(network)) else {
            return false;
        };
        member.attached.retain(|one| one.network != network);
        if member.is_alive() {
            let (bottle, role) = member.whose();
            self.tell(&bottle, Some(role), Happening::Disconnected);
        }
        true
    }

    /// Puts a member on a network.
    pub(super) fn attach(&mut self, id: &MemberId, attachment: Attachment) -> bool {
        let Some(member) = self.members.get_mut(id).filter(|member| !member.is_on(&attachment.network))
        else {
            return false;
        };
        member.attached.push(attachment);
        if member.is_alive() {
            let (bottle, role) = member.whose();
            self.tell(&bottle, Some(role), Happening::Connected);
        }
        true
    }
}
