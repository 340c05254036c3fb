//! The engine's events as news of bottles.
//!
//! Events of containers carry their labels. Those of networks carry only ids, so what is on the engine is read
//! once, and kept up by the events themselves. Everything comes by one connection, so that the order is kept.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerSummaryStateEnum, EventMessage, EventMessageTypeEnum, Network};
use bollard::query_parameters::{EventsOptions, ListContainersOptions};
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryFutureExt as _};
use jiff::Timestamp;
use tokio::time::Instant;

use super::super::{
    BackendError, BackendErrorKind, BackendResult, Happening, News, NewsStream, Op, Subject, labels,
};
use super::classify;
use super::deadline::Elapsed;
use super::engine::{Engine, within};
use super::network::{filter, id_of};
use crate::ids::{BottleId, Role};

/// What is asked of the engine; its own health checks and commands are left out.
const ACTIONS: &[&str] =
    &["create", "start", "die", "oom", "pause", "unpause", "rename", "destroy", "connect", "disconnect"];
/// After this many heartbeats the events are asked for anew: a connection that was lost in silence, while others
/// reach the engine, is noticed by its not ending in time.
const WINDOW: u32 = 12;
/// Windows overlap by this much, so that nothing falls between them.
const OVERLAP: Duration = Duration::from_secs(1);
/// How much earlier than asked for an engine may end a window.
const EARLY: Duration = Duration::from_secs(2);
/// Events of the overlap that are remembered, so that none is told twice.
const REMEMBERED: usize = 256;

/// Hears the engine's events from now on. (Docker API: `GET /info`, `GET /containers/json`, `GET /networks`,
/// `GET /events`, `GET /_ping`.)
///
/// Ends, or gives an error, when the connection is lost, or the engine has not answered a ping for
/// [`Deadlines::silence`](super::Deadlines::silence).
pub(super) async fn watch(engine: &Arc<Engine>) -> BackendResult<NewsStream> {
    // The engine's own clock: what happens from here on is asked for, also what happens before the first look.
    let info = engine.call(Op::Watch, subject(engine), engine.docker.info()).await?;
    let clock = info.system_time.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
    let clock = clock.unwrap_or_else(Timestamp::now);
    let options = ListContainersOptions {
        all: true,
        filters: Some(filter("label", labels::BOTTLE)),
        ..ListContainersOptions::default()
    };
    let containers = engine.call(Op::Watch, subject(engine), engine.docker.list_containers(Some(options)));
    let networks = super::network::list(engine, filter("label", labels::BOTTLE))
        .map_err(|error| BackendError { op: Op::Watch, ..error });
    let (containers, networks) = futures::try_join!(containers, networks)?;
    let mut known = Known::default();
    for one in containers {
        let running =
            matches!(one.state, Some(ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::PAUSED));
        known.learn_member(&one.id.unwrap_or_default(), &one.labels.unwrap_or_default(), running);
    }
    networks.iter().for_each(|network| known.learn_zone(network));
    let begun = Instant::now();
    let watch = Watch {
        events: open(engine, clock, clock, window(engine)),
        engine: engine.clone(),
        clock,
        begun,
        until: begun + window(engine),
        beat: begun + engine.deadlines.heartbeat(),
        known,
        recent: Recent::default(),
    };
    Ok(Box::pin(stream::unfold(Some(watch), |watch| async move {
        let mut watch = watch?;
        match watch.next().await {
            Some(Ok(news)) => Some((Ok(news), Some(watch))),
            Some(Err(error)) => Some((Err(error), None)),
            None => None,
        }
    })))
}

fn subject(engine: &Engine) -> Subject {
    Subject::Engine(engine.address.clone())
}

fn window(engine: &Engine) -> Duration {
    (engine.deadlines.heartbeat() * WINDOW).max(OVERLAP * 2)
}

type Events = BoxStream<'static, Result<EventMessage, Error>>;

/// Asks for the events from `since` on, until `length` after `now`, in the engine's time.
fn open(engine: &Engine, since: Timestamp, now: Timestamp, length: Duration) -> Events {
    let until = now.checked_add(length).unwrap_or(Timestamp::MAX);
    let time = |at: Timestamp| format!("{}.{:09}", at.as_second(), at.subsec_nanosecond());
    let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let options = EventsOptions {
        since: Some(time(since)),
        until: Some(time(until)),
        filters: Some(HashMap::from([
            ("type".to_owned(), list(&["container", "network"])),
            ("event".to_owned(), list(ACTIONS)),
        ])),
    };
    engine.docker.events(Some(options)).boxed()
}

/// A running subscription.
struct Watch {
    engine: Arc<Engine>,
    events: Events,
    /// The engine's time at `begun`.
    clock: Timestamp,
    begun: Instant,
    /// When the engine has to end this window.
    until: Instant,
    /// When the engine is asked next whether it still answers.
    beat: Instant,
    known: Known,
    recent: Recent,
}

impl Watch {
    async fn next(&mut self) -> Option<BackendResult<News>> {
        loop {
            let event = tokio::select! {
                biased;
                event = self.events.next() => event,
                lost = silence(&self.engine, self.beat, self.until) => return Some(Err(lost)),
            };
            // Whatever came is a sign of life.
            self.beat = Instant::now() + self.engine.deadlines.heartbeat();
            match event {
                None if Instant::now() + EARLY < self.until => return None,
                None => self.reopen(),
                Some(Err(error)) => {
                    return Some(Err(classify::failed(Op::Watch, subject(&self.engine), error)));
                }
                Some(Ok(event)) => {
                    if let Some(news) = self.take(&event).await {
                        return Some(Ok(news));
                    }
                }
            }
        }
    }

    fn reopen(&mut self) {
        let now = Instant::now();
        let clock = |at: Instant| self.clock.checked_add(at - self.begun).unwrap_or(Timestamp::MAX);
        let (since, length) = (clock(self.until.checked_sub(OVERLAP).unwrap_or(now)), window(&self.engine));
        self.events = open(&self.engine, since, clock(now), length);
        self.until = now + length;
    }

    async fn take(&mut self, event: &EventMessage) -> Option<News> {
        if !self.recent.is_new(event) {
            return None;
        }
        if let Some(created) = created_network(event) {
            // It is asked for its labels now: of one that is gone nobody knows any.
            let call = self.engine.docker.inspect_network(created, None);
            if let Ok(found) = self.engine.call(Op::Watch, subject(&self.engine), call).await {
                let labels = found.labels.clone();
                self.known.learn_zone(&Network { id: found.id, labels, ..Network::default() });
            }
        }
        self.known.news(event)
    }
}

/// Resolves when the engine is lost: a ping gets no answer, or the window does not end.
async fn silence(engine: &Arc<Engine>, beat: Instant, until: Instant) -> BackendError {
    let limit = engine.deadlines.silence();
    let hung = BackendError::new(Op::Watch, subject(engine), BackendErrorKind::Deadline, Elapsed(limit));
    let pings = async {
        tokio::time::sleep_until(beat).await;
        loop {
            let ping = async {
                let answer = engine.docker.ping().await;
                answer.map_err(|error| classify::failed(Op::Watch, subject(engine), error))
            };
            if let Err(lost) = within(limit, Op::Watch, subject(engine), ping).await {
                return lost;
            }
            tokio::time::sleep(engine.deadlines.heartbeat()).await;
        }
    };
    tokio::select! {
        lost = pings => lost,
        () = tokio::time::sleep_until(until + limit) => hung,
    }
}

/// Events that were told already, by the engine's time and what they are about.
#[derive(Default)]
struct Recent {
    order: VecDeque<u64>,
    seen: HashSet<u64>,
}

impl Recent {
    fn is_new(&mut self, event: &EventMessage) -> bool {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut hasher = DefaultHasher::new();
        let actor = event.actor.as_ref();
        (event.time_nano, &event.action, actor.and_then(|actor| actor.id.as_ref())).hash(&mut hasher);
        let key = hasher.finish();
        if !self.seen.insert(key) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}

fn created_network(event: &EventMessage) -> Option<&str> {
    let is_one =
        event.typ == Some(EventMessageTypeEnum::NETWORK) && event.action.as_deref() == Some("create");
    event.actor.as_ref()?.id.as_deref().filter(|_| is_one)
}

#[derive(Clone, Debug)]
struct Member {
    bottle: BottleId,
    role: Role,
    running: bool,
    /// The network that it was last told to have lost: an engine says it twice of a disconnect by hand.
    lost: Option<String>,
}

/// What is ours on the engine, as far as events of networks need it.
#[derive(Debug, Default)]
struct Known {
    members: HashMap<String, Member>,
    zones: HashMap<String, BottleId>,
}

impl Known {
    fn learn_member(&mut self, id: &str, labels: &HashMap<String, String>, running: bool) {
        let Some(ownership) = labels::parse(labels) else { return };
        // A broken role label must not hide what happens to the container.
        let role = labels.get(labels::ROLE).and_then(|text| labels::parse_role(text)).unwrap_or(Role::Agent);
        let member = Member { bottle: ownership.bottle, role, running, lost: None };
        self.members.insert(id.to_owned(), member);
    }

    fn learn_zone(&mut self, network: &Network) {
        if let Some(ownership) = labels::parse(network.labels.as_ref().unwrap_or(&HashMap::new())) {
            self.zones.insert(id_of(network), ownership.bottle);
        }
    }

    /// What an event means to a bottle.
    fn news(&mut self, event: &EventMessage) -> Option<News> {
        let actor = event.actor.as_ref()?;
        let (id, action) = (actor.id.as_deref()?, event.action.as_deref()?);
        let nothing = HashMap::new();
        let attributes = actor.attributes.as_ref().unwrap_or(&nothing);
        match event.typ? {
            EventMessageTypeEnum::CONTAINER => self.of_container(id, action, attributes),
            EventMessageTypeEnum::NETWORK => self.of_network(id, action, attributes),
            _ => None,
        }
    }

    fn of_container(&mut self, id: &str, action: &str, attributes: &HashMap<String, String>) -> Option<News> {
        if !self.members.contains_key(id) {
            self.learn_member(id, attributes, false);
        }
        let member = self.members.get_mut(id)?;
        let what = match action {
            "die" => Happening::Ended,
            "oom" => Happening::OutOfMemory,
            "pause" => Happening::Paused,
            "unpause" => Happening::Resumed,
            "rename" => Happening::Renamed,
            "destroy" => Happening::Removed,
            "start" => {
                (member.running, member.lost) = (true, None);
                return None;
            }
            _ => return None,
        };
        let news = News { bottle: member.bottle.clone(), role: Some(member.role), what };
        match what {
            Happening::Ended => member.running = false,
            Happening::Removed => drop(self.members.remove(id)),
            _ => {}
        }
        Some(news)
    }

    fn of_network(&mut self, id: &str, action: &str, attributes: &HashMap<String, String>) -> Option<News> {
        if action == "destroy" {
            let bottle = self.zones.remove(id)?;
            return Some(News { bottle, role: None, what: Happening::Removed });
        }
        // An end takes a member off its networks after it was told, a start puts it there before it is told.
        let member = self.members.get_mut(attributes.get("container")?).filter(|member| member.running)?;
        let what = match action {
            "disconnect" if member.lost.as_deref() != Some(id) => {
                member.lost = Some(id.to_owned());
                Happening::Disconnected
            }
            "connect" => {
                member.lost = None;
                Happening::Connected
            }
            _ => return None,
        };
        Some(News { bottle: member.bottle.clone(), role: Some(member.role), what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Happening as H;

    /// Events as an engine 20.10.24 printed them, shortened: `container <action>`, `network <action> <id>`.
    fn events(lines: &[&str]) -> Vec<EventMessage> {
        let event = |(at, line): (usize, &&str)| {
            let words: Vec<&str> = line.split(' ').collect();
            let (id, attributes) = match words.as_slice() {
                ["network", _, id] => {
                    (*id, serde_json::json!({"container": "c1", "name": "n", "type": "bridge"}))
                }
                _ => ("c1", serde_json::json!({"bottle.id": "b", "bottle.role": "mitmproxy", "name": "x"})),
            };
            let json = serde_json::json!({
                "Type": words[0], "Action": words[1], "Actor": {"ID": id, "Attributes": attributes},
                "scope": "local", "time": 1_795_478_480, "timeNano": 1_795_478_480_464_739_718_i64 + at as i64,
            });
            serde_json::from_value(json).unwrap()
        };
        lines.iter().enumerate().map(event).collect()
    }

    fn told(known: &mut Known, lines: &[&str]) -> Vec<(Option<Role>, Happening)> {
        events(lines)
            .iter()
            .filter_map(|event| known.news(event))
            .map(|news| (news.role, news.what))
            .collect()
    }

    #[test]
    fn a_life_with_two_disconnects_by_hand() {
        let mut known = Known::default();
        known.zones.insert("int".into(), BottleId::from("b"));
        let life = [
            "container create",
            "network connect int",
            "network connect mid",
            "container start",
            "network disconnect int",
            "network disconnect int",
            "network connect int",
            "network disconnect int",
            "container pause",
            "container rename",
            "container unpause",
            "container oom",
            "container die",
            "network disconnect mid",
            "network connect mid",
            "container start",
            "container die",
            "network disconnect mid",
            "container destroy",
            "network destroy int",
            "network destroy foreign",
        ];
        let of = |what| (Some(Role::Mitmproxy), what);
        let expected = [
            of(H::Disconnected),
            of(H::Connected),
            of(H::Disconnected),
            of(H::Paused),
            of(H::Renamed),
            of(H::Resumed),
            of(H::OutOfMemory),
            of(H::Ended),
            of(H::Ended),
            of(H::Removed),
            (None, H::Removed),
        ];
        assert_eq!(told(&mut known, &life), expected);
        assert!(known.members.is_empty() && known.zones.is_empty());
    }

    #[test]
    fn what_others_do_is_no_news() {
        let mut known = Known::default();
        let json =
            serde_json::json!({"Type": "container", "Action": "die", "Actor": {"ID": "x", "Attributes": {}}});
        let event: EventMessage = serde_json::from_value(json).unwrap();
        assert_eq!(known.news(&event), None);
        assert!(told(&mut known, &["network connect int", "network disconnect int"]).is_empty());
    }

    #[test]
    fn an_event_of_two_windows_is_told_once() {
        let mut recent = Recent::default();
        let all = events(&["container pause"; REMEMBERED + 1]);
        assert!(all.iter().all(|event| recent.is_new(event)));
        assert!(!recent.is_new(&all[1]) && recent.is_new(&all[0]));
        assert_eq!(recent.order.len(), recent.seen.len());
    }
}
