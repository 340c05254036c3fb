//! What is heard of an outside hand, and what a lost engine means to those who listen or wait.

use std::time::Duration;

use bottle::backend::{BackendErrorKind, Happening, NewsStream};
use bottle::ids::{BottleId, Role};
use bottle::plan::spec::{Ground, MemberSpec, MemberState, Zone};
use futures::StreamExt as _;

use crate::lab::{Lab, endpoint, read_all};

/// The news of one bottle; what the others do is passed over.
struct Ears {
    news: NewsStream,
    bottle: BottleId,
}

impl Ears {
    async fn of(lab: &Lab, bottle: &str) -> Self {
        Self { news: lab.backend.watch().await.unwrap(), bottle: lab.ownership(bottle).bottle }
    }

    async fn next(&mut self) -> (Option<Role>, Happening) {
        let next = async {
            loop {
                let news = self.news.next().await.expect("the news go on").unwrap();
                if news.bottle == self.bottle {
                    return (news.role, news.what);
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), next).await.expect("news come")
    }

    /// Exactly these come next.
    async fn hear(&mut self, role: impl Into<Option<Role>>, expected: &[Happening]) {
        let role = role.into();
        for what in expected {
            assert_eq!(self.next().await, (role, *what), "of {expected:?}");
        }
    }
}

pub fn on_int(lab: &Lab, ground: &Ground, bottle: &str) -> MemberSpec {
    let mut spec = lab.member_spec(bottle, &["sleep", "600"]);
    spec.endpoints = vec![endpoint(Zone::Int, &ground.spec.int_name, Some(ground.agent_int))];
    spec
}

pub async fn what_an_outside_hand_does_is_heard_in_order(lab: &Lab) {
    use Happening as H;
    let ground = lab.ground("a").await;
    let spec = on_int(lab, &ground, "a");
    let (id, _io) = lab.started(&spec).await;
    let mut ears = Ears::of(lab, "a").await;
    lab.hand.pause(&id);
    lab.hand.unpause(&id);
    ears.hear(Role::Agent, &[H::Paused, H::Resumed]).await;
    lab.hand.rename(&id, &format!("{}-other", spec.name));
    ears.hear(Role::Agent, &[H::Renamed]).await;
    lab.hand.disconnect(&id, Zone::Int, &ground.spec.int_name);
    lab.hand.connect(&id, &ground.spec.int_name, None);
    ears.hear(Role::Agent, &[H::Disconnected, H::Connected]).await;
    lab.hand.exhaust_memory(&id);
    ears.hear(Role::Agent, &[H::OutOfMemory]).await;
    // An end takes the attachments, a start makes them anew: neither is news of its own.
    lab.hand.kill(&id);
    lab.backend.wait_member(&id).await.unwrap();
    lab.backend.start_member(&id, None).await.unwrap();
    lab.backend.stop_member(&id, Duration::ZERO).await.unwrap();
    ears.hear(Role::Agent, &[H::Ended, H::Ended]).await;
    lab.hand.remove(&id);
    ears.hear(Role::Agent, &[H::Removed]).await;
}

pub async fn a_network_taken_away_is_heard_of_its_members_and_of_the_ground(lab: &Lab) {
    use Happening as H;
    // One that was there when the watch began is known; one that comes later is learnt.
    let first = lab.ground("a").await;
    let (_, _io) = lab.started(&on_int(lab, &first, "a")).await;
    let mut ears = Ears::of(lab, "a").await;
    lab.hand.remove_network(&first.spec.int_name);
    ears.hear(Role::Agent, &[H::Disconnected]).await;
    ears.hear(None, &[H::Removed]).await;

    let mut ears = Ears::of(lab, "b").await;
    let later = async {
        let second = lab.ground("b").await;
        let started = lab.started(&on_int(lab, &second, "b")).await;
        lab.hand.remove_network(&second.spec.int_name);
        (second, started)
    };
    let (heard, (second, _started)) = futures::join!(ears.next(), later);
    assert_eq!(heard, (Some(Role::Agent), H::Disconnected));
    ears.hear(None, &[H::Removed]).await;
    lab.backend.remove_ground(&second.spec.ownership.bottle).await.unwrap();
    ears.hear(None, &[H::Removed]).await;
}

pub async fn nothing_between_the_call_and_the_first_look_is_lost(lab: &Lab) {
    let (id, _io) = lab.started(&lab.member_spec("a", &["sleep", "600"])).await;
    let mut ears = Ears::of(lab, "a").await;
    lab.hand.pause(&id);
    lab.hand.unpause(&id);
    tokio::time::sleep(Duration::from_millis(300)).await;
    ears.hear(Role::Agent, &[Happening::Paused, Happening::Resumed]).await;
}

pub async fn a_removed_running_member_has_ended_before(lab: &Lab) {
    let (id, _io) = lab.started(&lab.member_spec("a", &["sleep", "600"])).await;
    let mut ears = Ears::of(lab, "a").await;
    lab.hand.pause(&id);
    lab.backend.remove_member(&id).await.unwrap();
    ears.hear(Role::Agent, &[Happening::Paused, Happening::Ended, Happening::Removed]).await;
}

/// The end of a stream or an error in it: both mean that the place was lost.
async fn ends(news: &mut NewsStream, limit: Duration) {
    let end = async { while let Some(Ok(_)) = news.next().await {} };
    tokio::time::timeout(limit, end).await.expect("the news end");
}

pub async fn a_lost_engine_ends_what_listens_and_waits(lab: &Lab) {
    let (id, mut io) = lab.started(&lab.member_spec("a", &["sleep", "600"])).await;
    let mut news = lab.backend.watch().await.unwrap();
    let waiting = lab.backend.wait_member(&id);
    let (waited, ()) = futures::join!(waiting, async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        lab.hand.cut();
    });
    assert_eq!(waited.unwrap_err().kind, BackendErrorKind::Unreachable);
    ends(&mut news, Duration::from_secs(5)).await;
    let output = async { while let Some(Ok(_)) = io.output.next().await {} };
    tokio::time::timeout(Duration::from_secs(5), output).await.expect("attached streams end");
    assert_eq!(lab.backend.inspect_member(&id).await.unwrap_err().kind, BackendErrorKind::Unreachable);
    assert_eq!(lab.backend.watch().await.err().map(|error| error.kind), Some(BackendErrorKind::Unreachable));

    lab.hand.restore();
    assert_eq!(lab.backend.inspect_member(&id).await.unwrap().state, MemberState::Running);
    assert!(lab.backend.attach_member(&id).await.unwrap().found_running);
    let mut ears = Ears::of(lab, "a").await;
    lab.hand.kill(&id);
    ears.hear(Role::Agent, &[Happening::Ended]).await;
}

pub async fn a_hung_engine_is_lost_to_those_who_watch(lab: &Lab) {
    let mut news = lab.backend.watch().await.unwrap();
    lab.hand.stall(true);
    ends(&mut news, Duration::from_secs(10)).await;
    assert_eq!(lab.backend.facts().await.unwrap_err().kind, BackendErrorKind::Deadline);
    lab.hand.stall(false);
    lab.backend.facts().await.unwrap();
}

pub async fn a_short_silence_loses_nothing(lab: &Lab) {
    let (id, mut io) = lab.started(&lab.member_spec("a", &["sh", "-c", "sleep 1; echo done"])).await;
    let mut ears = Ears::of(lab, "a").await;
    lab.hand.stall(true);
    lab.hand.rename(&id, &format!("{}-x", lab.run));
    assert!(tokio::time::timeout(Duration::from_millis(300), ears.next()).await.is_err());
    lab.hand.stall(false);
    ears.hear(Role::Agent, &[Happening::Renamed, Happening::Ended]).await;
    assert_eq!(read_all(&mut io.output).await.0, "done\n");
}
