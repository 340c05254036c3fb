//! Members of the model: made, found again, put right.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::super::{BackendErrorKind, BackendResult, Happening, Mended, Op, Repair, Subject};
use super::files::Files;
use super::model::{Attachment, Member, Model, refused};
use crate::ids::{MemberId, Role};
use crate::plan::spec::{MemberSpec, MemberState};

fn same_but_ownership(found: &MemberSpec, wanted: &MemberSpec) -> bool {
    *found == MemberSpec { ownership: found.ownership.clone(), ..wanted.clone() }
}

impl Model {
    pub(super) fn ensure_member(&mut self, spec: &MemberSpec) -> BackendResult<MemberId> {
        let wanted = self.resolve(Op::ConnectMember, spec)?;
        while let Some(id) = self.find(spec)? {
            if self.reuse(&id, spec, &wanted)? {
                return Ok(id);
            }
        }
        if self.absent_images.contains(&spec.image) {
            let subject = Subject::Image(spec.image.to_string());
            return Err(refused(Op::CreateMember, subject, BackendErrorKind::NotFound, "no such image"));
        }
        Ok(self.create(spec, wanted))
    }

    fn create(&mut self, spec: &MemberSpec, attached: Vec<Attachment>) -> MemberId {
        let order = self.next();
        let id = MemberId::new(format!("{order:064x}"));
        let places = spec.tmpfs.iter().map(|fs| fs.path.as_str()).chain(spec.workdir.as_deref());
        let mut files = Files::new(places);
        for (_, path, content) in self.image_files.iter().filter(|(image, ..)| *image == spec.image) {
            files.put(path, content);
        }
        let member = Member {
            files,
            name: spec.name.clone(),
            spec: spec.clone(),
            attached,
            state: MemberState::Created,
            pid: 0,
            started_at: None,
            created_at: jiff::Timestamp::now().as_second(),
            order,
            run: 0,
            last_end: None,
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
        id
    }

    /// The container that has the name, else the one of this bottle and role that was renamed.
    fn find(&self, spec: &MemberSpec) -> BackendResult<Option<MemberId>> {
        let ours = |member: &Member| {
            member.spec.ownership.bottle == spec.ownership.bottle && member.spec.role == spec.role
        };
        let named = self.members.iter().find(|(_, member)| member.name == spec.name);
        match named {
            _ if self.foreign.contains(&spec.name) => Err(self.taken(Op::CreateMember, &spec.name)),
            Some((_, member)) if !ours(member) => Err(self.taken(Op::CreateMember, &spec.name)),
            Some((id, _)) => Ok(Some(id.clone())),
            None => {
                let renamed = self.members.iter().filter(|(_, member)| ours(member));
                let best = renamed.min_by_key(|(_, member)| (!member.is_alive(), member.order));
                Ok(best.map(|(id, _)| id.clone()))
            }
        }
    }

    /// `false`: the found member was removed, because it does not run and is not what is wanted.
    fn reuse(&mut self, id: &MemberId, spec: &MemberSpec, wanted: &[Attachment]) -> BackendResult<bool> {
        let Some(found) = self.members.get(id) else { return Ok(false) };
        let same = same_but_ownership(&found.spec, spec);
        let in_place = wanted.len() == found.attached.len()
            && wanted.iter().all(|one| found.attached.iter().any(|at| at.satisfies(one)));
        // Nobody waits for a sidecar that is paused.
        let keeps = found.is_running() || found.state == MemberState::Paused && spec.role == Role::Agent;
        match (found.is_alive(), same) {
            (true, true) => {
                self.repair_attachments(id, spec, wanted);
            }
            (false, true) if in_place => {}
            (true, false) if keeps => {
                let why = "it runs with another specification; stop it first";
                let subject = Subject::Container(spec.name.clone());
                return Err(refused(Op::CreateMember, subject, BackendErrorKind::Denied, why));
            }
            _ => {
                self.remove_member(id);
                return Ok(false);
            }
        }
        self.rename(Op::CreateMember, id, &spec.name)?;
        Ok(true)
    }

    pub(super) fn mend_member(&mut self, id: &MemberId, spec: &MemberSpec) -> BackendResult<Mended> {
        let state = self.members.get(id).map_or(MemberState::Gone, |member| member.state.clone());
        let paused = match state {
            MemberState::Running => false,
            MemberState::Paused => true,
            state => return Ok(Mended::NotRunning(state)),
        };
        let wanted = self.resolve(Op::MendMember, spec)?;
        let mut repairs = self.repair_attachments(id, spec, &wanted);
        if paused && spec.role != Role::Agent {
            self.swap_state(id, &MemberState::Paused, MemberState::Running);
            repairs.push(Repair::Resumed);
        }
        if self.rename(Op::MendMember, id, &spec.name)? {
            repairs.push(Repair::Renamed);
        }
        Ok(if repairs.is_empty() { Mended::Intact } else { Mended::Repaired(repairs) })
    }

    fn repair_attachments(&mut self, id: &MemberId, spec: &MemberSpec, wanted: &[Attachment]) -> Vec<Repair> {
        let mut repairs = Vec::new();
        let attached = self.members.get(id).map(|member| member.attached.clone()).unwrap_or_default();
        for extra in attached.iter().filter(|one| wanted.iter().all(|wanted| wanted.network != one.network)) {
            self.detach(id, &extra.network);
            repairs.push(Repair::Disconnected);
        }
        for (endpoint, wanted) in spec.endpoints.iter().zip(wanted) {
            if !attached.iter().any(|at| at.satisfies(wanted)) {
                self.detach(id, &wanted.network);
                self.attach(id, wanted.clone());
                repairs.push(Repair::Reconnected(endpoint.zone));
            }
        }
        repairs
    }

    /// Gives a member a name. `false` when it has it already.
    fn rename(&mut self, op: Op, id: &MemberId, name: &str) -> BackendResult<bool> {
        if self.members.get(id).is_none_or(|member| member.name == name) {
            return Ok(false);
        }
        if self.rename_member(id, name) { Ok(true) } else { Err(self.taken(op, name)) }
    }

    fn taken(&self, op: Op, name: &str) -> super::super::BackendError {
        let why = "a container of that name belongs to somebody else";
        refused(op, Subject::Container(name.to_owned()), BackendErrorKind::NameConflict, why)
    }

    /// `false` when the member is missing, or somebody has the name.
    pub(super) fn rename_member(&mut self, id: &MemberId, name: &str) -> bool {
        if self.foreign.contains(name) || self.members.values().any(|member| member.name == name) {
            return false;
        }
        let Some(member) = self.members.get_mut(id) else { return false };
        member.name = name.to_owned();
        let (bottle, role) = member.whose();
        self.tell(&bottle, Some(role), Happening::Renamed);
        true
    }

    /// Pauses or resumes.
    pub(super) fn swap_state(&mut self, id: &MemberId, from: &MemberState, to: MemberState) -> bool {
        let Some(member) = self.members.get_mut(id).filter(|member| member.state == *from) else {
            return false;
        };
        let what = if to == MemberState::Paused { Happening::Paused } else { Happening::Resumed };
        member.state = to;
        member.changed.send_modify(|version| *version += 1);
        let (bottle, role) = member.whose();
        self.tell(&bottle, Some(role), what);
        true
    }
}
