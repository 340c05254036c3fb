//! Events and egress decisions as sentences. Their texts come from inside containers: none reaches the terminal as it
//! is.

use bottle::backend::Repair;
use bottle::egress::{AuditRecord, AuditVerdict};
use bottle::messages::{BottleEvent, EventRecord};
use bottle::plan::spec::Zone;

use super::{Tone, Ui, one_line};

/// Time, bottle and what happened, on one line.
pub(crate) fn event(ui: Ui, record: &EventRecord) -> String {
    let slug = one_line(record.slug.as_str());
    format!("{} {slug}: {}\n", one_line(&record.time), sentence(ui, &record.event))
}

/// What happened.
pub(crate) fn sentence(ui: Ui, event: &BottleEvent) -> String {
    let because =
        |why: &Option<String>| why.as_deref().map(|why| format!(": {}", one_line(why))).unwrap_or_default();
    match event {
        BottleEvent::PhaseChanged { phase, why } => {
            format!("it is {}{}", ui.paint(phase_tone(phase), &one_line(phase)), because(why))
        }
        BottleEvent::MemberStarted { role, incarnation, adopted: false } => {
            format!("{role} started (incarnation {incarnation})")
        }
        BottleEvent::MemberStarted { role, incarnation, adopted: true } => {
            format!("{role} was taken over as it runs (incarnation {incarnation})")
        }
        BottleEvent::MemberEnded { role, incarnation, exit, tail } => {
            let ended = ui.paint(Tone::Bad, "ended");
            let words = tail.lines().map(one_line).rfind(|line| !line.is_empty());
            let words = words.map(|line| format!("; its last words: {line}")).unwrap_or_default();
            format!("{role} {ended} (incarnation {incarnation}): {}{words}", one_line(exit))
        }
        BottleEvent::RestartScheduled { role, after_ms, used, allowed } => {
            format!("{role} starts again in {} (restart {used} of {allowed})", span(*after_ms))
        }
        BottleEvent::MemberRecovered { role, down_ms } => {
            format!("{role} is back after {} and the chain has been probed", span(*down_ms))
        }
        BottleEvent::MemberMended { role, repairs } => {
            let repairs: Vec<String> = repairs.iter().map(repair).collect();
            format!("{role} was put right: {}", repairs.join(", "))
        }
        BottleEvent::WorkerFailed { child, why } => {
            format!("the actor of {} failed, a new one takes over: {}", one_line(child), one_line(why))
        }
        BottleEvent::GroundLost => ui.paint(Tone::Bad, "a network was removed by an outside hand"),
        BottleEvent::GroundRebuilt => "the networks were made again, with their addresses".to_owned(),
        BottleEvent::EngineLost => ui.paint(Tone::Bad, "the engine cannot be reached"),
        BottleEvent::EngineBack => "the engine can be reached again".to_owned(),
        BottleEvent::Escalated { role, exit } => {
            let failed = ui.paint(Tone::Bad, "it failed for good");
            format!("{failed}: too many restarts of {role}, which {}", one_line(exit))
        }
        BottleEvent::Audited(record) => decision(ui, record),
        // The library may know more than its command.
        other => {
            let value = serde_json::to_value(other).unwrap_or_default();
            value["event"].as_str().map_or_else(|| "something happened".to_owned(), one_line)
        }
    }
}

/// Verdict, request, size and rules of an egress decision.
pub(crate) fn decision(ui: Ui, record: &AuditRecord) -> String {
    let (tone, word) = match record.verdict {
        AuditVerdict::Allow => (Tone::Good, "allow"),
        AuditVerdict::Warn => (Tone::Warning, "warn"),
        AuditVerdict::Deny => (Tone::Bad, "deny"),
        AuditVerdict::Unavailable => (Tone::Bad, "unjudged"),
    };
    let word = ui.paint(tone, &format!("{word:<8}"));
    let rules = match record.rule_ids.as_slice() {
        [] => String::new(),
        rules => format!("  [{}]", one_line(&rules.join(" "))),
    };
    let probe = if record.probe { ui.paint(Tone::Faint, " (probe)") } else { String::new() };
    let [method, host, path] = [&record.method, &record.host, &record.path].map(|text| one_line(text));
    format!("{word} {method} {host}{path}  {} bytes, {:.1} ms{rules}{probe}", record.bytes, record.ms)
}

/// The colour of a phase.
pub(super) fn phase_tone(phase: &str) -> Tone {
    match phase {
        "ready" => Tone::Good,
        "gone" => Tone::Faint,
        _ => Tone::Warning,
    }
}

fn repair(repair: &Repair) -> String {
    match repair {
        Repair::Disconnected => "it is off a network that is not its own".to_owned(),
        Repair::Renamed => "it has its name again".to_owned(),
        Repair::Resumed => "it runs again after a pause".to_owned(),
        Repair::Reconnected(Zone::Int) => "it is attached to the inner network again".to_owned(),
        Repair::Reconnected(Zone::Mid) => "it is attached to the middle network again".to_owned(),
        Repair::Reconnected(Zone::Egress) => "it is attached to the way out again".to_owned(),
    }
}

fn span(milliseconds: u64) -> String {
    if milliseconds < 1000 {
        format!("{milliseconds} ms")
    } else {
        format!("{:.1} s", milliseconds as f64 / 1000.0)
    }
}
