//! What a test does to the modelled engine: construction, scripts, faults, and events by an outside hand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::model::Model;
use super::script::{CommandHook, ExecAnswer, MemberScript};
use super::{Book, Call, DEADLINE, FaultRule, Inner, MemoryBackend};
use crate::ids::{ImageRef, MemberId, Role};
use crate::plan::spec::{MemberExit, MemberSpec, MemberState};

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryBackend {
    /// An empty engine that has every image; mitmproxy members answer their control channel, the others idle.
    pub fn new() -> Self {
        let book = Book {
            journal: Vec::new(),
            rules: Vec::new(),
            latency: Duration::ZERO,
            deadline: DEADLINE,
            scripts: HashMap::from([(Role::Mitmproxy, MemberScript::mitmproxy())]),
            hook: None,
        };
        Self { inner: Arc::new(Inner { model: Mutex::new(Model::default()), book: Mutex::new(book) }) }
    }

    /// Makes one call go wrong.
    pub fn fault(&self, rule: FaultRule) {
        self.inner.script_book().rules.push(rule);
    }

    /// Forgets all fault rules, also those that have not hit yet.
    pub fn clear_faults(&self) {
        self.inner.script_book().rules.clear();
    }

    /// Every call so far, in order.
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

    /// How long a call lasts that gets no answer ([`Fault::Timeout`](super::Fault::Timeout)); 30 s at first.
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

    /// The id of the member of that name.
    pub fn member_named(&self, name: &str) -> Option<MemberId> {
        let model = self.inner.model();
        model.members.iter().find(|(_, member)| member.spec.name == name).map(|(id, _)| id.clone())
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

    fn exit(&self, id: &MemberId, exit: MemberExit) -> bool {
        let mut model = self.inner.model();
        let alive = |state: &MemberState| matches!(state, MemberState::Running | MemberState::Paused);
        let member = model.members.get_mut(id).filter(|member| alive(&member.state));
        member.map(|member| member.end(exit)).is_some()
    }

    /// Pauses a running member by hand. Its script goes on, but calls see it paused.
    pub fn pause(&self, id: &MemberId) -> bool {
        self.swap_state(id, &MemberState::Running, MemberState::Paused)
    }

    /// Resumes a paused member.
    pub fn unpause(&self, id: &MemberId) -> bool {
        self.swap_state(id, &MemberState::Paused, MemberState::Running)
    }

    fn swap_state(&self, id: &MemberId, from: &MemberState, to: MemberState) -> bool {
        let mut model = self.inner.model();
        let Some(member) = model.members.get_mut(id).filter(|member| member.state == *from) else {
            return false;
        };
        member.state = to;
        member.changed.send_modify(|version| *version += 1);
        true
    }

    /// Removes a member by hand, running or not.
    pub fn remove_by_hand(&self, id: &MemberId) {
        self.inner.model().remove_member(id);
    }

    /// Removes a network by hand, whoever is on it.
    pub fn remove_network(&self, name: &str) -> bool {
        let mut model = self.inner.model();
        let before = model.networks.len();
        model.networks.retain(|network| network.name != name);
        model.networks.len() < before
    }

    /// The engine goes away: calls fail, attached streams end, members run on (as with live-restore).
    pub fn engine_down(&self) {
        let mut model = self.inner.model();
        model.down = true;
        for member in model.members.values_mut() {
            member.listeners.clear();
            member.changed.send_modify(|version| *version += 1);
        }
    }

    /// The engine is back.
    pub fn engine_up(&self) {
        self.inner.model().down = false;
    }

    /// The engine is back and, being without live-restore, has ended what ran.
    pub fn engine_up_without_members(&self) {
        let mut model = self.inner.model();
        model.down = false;
        for member in model.members.values_mut().filter(|member| member.is_running()) {
            member.end(MemberExit { code: 137, oom_killed: false });
        }
    }
}
