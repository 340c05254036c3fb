//! What a test does to the modelled engine: construction, scripts, faults, and events by an outside hand.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::super::{Happening, Op};
use super::model::{Attachment, Member};
use super::script::{CommandHook, ExecAnswer, MemberScript};
use super::{Call, FaultRule, MemoryBackend};
use crate::ids::{ImageRef, MemberId, Role};
use crate::plan::spec::{MemberExit, MemberSpec, MemberState, Zone};

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryBackend {
    /// An empty engine that has every image; mitmproxy members answer their control channel, the others idle.
    pub fn new() -> Self {
        Self { inner: Arc::default() }
    }

    /// Makes one call go wrong.
    pub fn fault(&self, rule: FaultRule) {
        self.inner.script_book().rules.push(rule);
    }

    /// Forgets all fault rules, also those that have not hit yet.
    pub fn clear_faults(&self) {
        self.inner.script_book().rules.clear();
    }

    /// Every call so far, in order; calls of [`watch`](crate::backend::Backend::watch) left out, as in
    /// [`FaultRule::nth_call`].
    pub fn journal(&self) -> Vec<Call> {
        self.inner.script_book().journal.clone()
    }

    /// Empties the journal.
    pub fn clear_journal(&self) {
        self.inner.script_book().journal.clear();
    }

    /// Every call takes this long (on `tokio::time`).
    pub fn set_latency(&self, latency: Duration) {
        self.inner.script_book().latency = latency;
    }

    /// Every call of `op` takes this long in place of what [`MemoryBackend::set_latency`] says.
    pub fn set_latency_of(&self, op: Op, latency: Duration) {
        self.inner.script_book().latency_of.insert(op, latency);
    }

    /// Every call takes up to `most` longer; the same seed gives the same delays in the order of the calls.
    pub fn set_jitter(&self, most: Duration, seed: u64) {
        self.inner.script_book().set_jitter(most, seed);
    }

    /// How long a call lasts that gets no answer ([`Fault::Timeout`](super::Fault::Timeout),
    /// [`MemoryBackend::engine_stall`]); 30 s at first.
    pub fn set_deadline(&self, deadline: Duration) {
        self.inner.script_book().deadline = deadline;
    }

    /// What members of a role do from their next start on.
    pub fn set_script(&self, role: Role, script: MemberScript) {
        self.inner.script_book().scripts.insert(role, script);
    }

    /// Answers commands; asked before the built-in programs.
    pub fn set_hook(
        &self,
        hook: impl Fn(&MemberSpec, &[String]) -> Option<ExecAnswer> + Send + Sync + 'static,
    ) {
        let hook: CommandHook = Arc::new(hook);
        self.inner.script_book().hook = Some(hook);
    }

    /// From now on the image is not at hand.
    pub fn forget_image(&self, image: &ImageRef) {
        self.inner.model().absent_images.insert(image.clone());
    }

    /// The image is at hand again.
    pub fn learn_image(&self, image: &ImageRef) {
        self.inner.model().absent_images.remove(image);
    }

    /// Members of this image have this file from their creation on.
    pub fn add_image_file(&self, image: &ImageRef, path: &str, content: &[u8]) {
        self.inner.model().image_files.push((image.clone(), path.to_owned(), content.to_vec()));
    }

    /// The id of the member that has that name now.
    pub fn member_named(&self, name: &str) -> Option<MemberId> {
        let model = self.inner.model();
        model.members.iter().find(|(_, member)| member.name == name).map(|(id, _)| id.clone())
    }

    /// The member's name now, which an outside hand may have changed.
    pub fn name_of(&self, id: &MemberId) -> Option<String> {
        self.inner.model().members.get(id).map(|member| member.name.clone())
    }

    /// Names of the networks the member is attached to, and its address in each.
    pub fn attachments(&self, id: &MemberId) -> Vec<(String, Ipv4Addr)> {
        let model = self.inner.model();
        let attached = model.members.get(id).map(|member| member.attached.as_slice()).unwrap_or_default();
        let name =
            |id: &str| model.networks.iter().find(|network| network.id == id).map(|net| net.name.clone());
        attached.iter().filter_map(|one| Some((name(&one.network)?, one.address))).collect()
    }

    /// How many listen to the news now.
    pub fn watchers(&self) -> usize {
        let mut model = self.inner.model();
        model.watchers.retain(|watcher| !watcher.is_closed());
        model.watchers.len()
    }

    /// The addresses of a member, in the order of its endpoints.
    pub fn addresses(&self, id: &MemberId) -> Vec<Ipv4Addr> {
        self.inner
            .model()
            .members
            .get(id)
            .map(|member| member.attached.iter().map(|one| one.address).collect())
            .unwrap_or_default()
    }

    /// A file inside a member.
    pub fn file(&self, id: &MemberId, path: &str) -> Option<Vec<u8>> {
        self.inner.model().members.get(id).and_then(|member| member.files.read(path))
    }

    /// The member ends with this code. `false` when it does not run.
    pub fn end_member(&self, id: &MemberId, code: i64) -> bool {
        self.exit(id, MemberExit { code, oom_killed: false })
    }

    /// The member is killed by a signal 9 from outside.
    pub fn kill_member(&self, id: &MemberId) -> bool {
        self.end_member(id, 137)
    }

    /// The kernel kills the member for memory.
    pub fn oom(&self, id: &MemberId) -> bool {
        self.exit(id, MemberExit { code: 137, oom_killed: true })
    }

    /// The kernel kills a process of the member for memory, not its first one: the member runs on.
    pub fn oom_of_a_child(&self, id: &MemberId) -> bool {
        self.tell_alive(id, Happening::OutOfMemory)
    }

    fn tell_alive(&self, id: &MemberId, what: Happening) -> bool {
        let mut model = self.inner.model();
        let Some((bottle, role)) = model.members.get(id).filter(|one| one.is_alive()).map(Member::whose)
        else {
            return false;
        };
        model.tell(&bottle, Some(role), what);
        true
    }

    fn exit(&self, id: &MemberId, exit: MemberExit) -> bool {
        self.inner.model().end_member(id, exit)
    }

    /// Pauses a running member by hand. Its script goes on, but calls see it paused.
    pub fn pause(&self, id: &MemberId) -> bool {
        self.inner.model().swap_state(id, &MemberState::Running, MemberState::Paused)
    }

    /// Resumes a paused member.
    pub fn unpause(&self, id: &MemberId) -> bool {
        self.inner.model().swap_state(id, &MemberState::Paused, MemberState::Running)
    }

    /// Removes a member by hand, running or not.
    pub fn remove_by_hand(&self, id: &MemberId) {
        self.inner.model().remove_member(id);
    }

    /// Renames a member by hand. `false` when it is missing or somebody has the name.
    pub fn rename_by_hand(&self, id: &MemberId, name: &str) -> bool {
        self.inner.model().rename_member(id, name)
    }

    /// Takes a member off a zone by hand. `false` when it was not on it.
    pub fn disconnect_by_hand(&self, id: &MemberId, zone: Zone) -> bool {
        let mut model = self.inner.model();
        let endpoints =
            model.members.get(id).map(|member| member.spec.endpoints.as_slice()).unwrap_or_default();
        let name =
            endpoints.iter().find(|endpoint| endpoint.zone == zone).map(|endpoint| endpoint.network.clone());
        let network = name.and_then(|name| model.network_named(&name));
        network.is_some_and(|network| model.detach(id, &network))
    }

    /// Attaches a member to a network by hand, at an address of the caller's choice or the last one of the subnet.
    /// `false` when there is no such network or the member is on it already.
    pub fn connect_by_hand(&self, id: &MemberId, network: &str, address: Option<Ipv4Addr>) -> bool {
        let mut model = self.inner.model();
        let Some(found) = model.networks.iter().find(|one| one.name == network) else { return false };
        let last = Ipv4Addr::from(u32::from(found.subnet.broadcast()) - 1);
        let fixed = address.is_some();
        let attachment = Attachment { network: found.id.clone(), address: address.unwrap_or(last), fixed };
        model.attach(id, attachment)
    }

    /// A container that is none of ours has this name from now on. `false` when the name is taken.
    pub fn foreign_container(&self, name: &str) -> bool {
        let mut model = self.inner.model();
        let free = model.members.values().all(|member| member.name != name);
        free && model.foreign.insert(name.to_owned())
    }

    /// The container that is none of ours is gone. `false` when there was none.
    pub fn remove_foreign(&self, name: &str) -> bool {
        self.inner.model().foreign.remove(name)
    }

    /// Removes a network by hand, whoever is on it.
    pub fn remove_network(&self, name: &str) -> bool {
        self.inner.model().tear_network(name)
    }

    /// The engine goes away. Calls, also those under way and those that wait for an end, fail with `Unreachable`;
    /// attached streams, those of commands, and news end, also when the engine is back at once. Members run on, as
    /// with live-restore. Nothing is heard later of what happens meanwhile.
    pub fn engine_down(&self) {
        self.inner.line.cut();
        let mut model = self.inner.model();
        model.watchers.clear();
        model.members.values_mut().for_each(|member| member.listeners.clear());
    }

    /// The engine is back, with its members as they are.
    pub fn engine_up(&self) {
        self.inner.line.restore();
    }

    /// The engine is back and, being without live-restore, has ended what ran. An engine that was not down is
    /// restarted: its connections are lost all the same.
    pub fn engine_up_without_members(&self) {
        self.engine_down();
        let mut model = self.inner.model();
        let alive: Vec<MemberId> =
            model.members.iter().filter(|(_, member)| member.is_alive()).map(|(id, _)| id.clone()).collect();
        for id in alive {
            model.end_member(&id, MemberExit { code: 137, oom_killed: false });
        }
        drop(model);
        self.inner.line.restore();
    }

    /// The engine hangs (`true`) or goes on (`false`). While it hangs a call gets no answer: it fails with
    /// `Deadline` and without effect once its deadline has passed (see [`MemoryBackend::set_deadline`]), or is
    /// carried out when the engine goes on in time. Streams are silent, what happens is heard afterwards; a watch
    /// gives it up with an error after half a deadline.
    pub fn engine_stall(&self, on: bool) {
        self.inner.line.stall(on);
    }
}
