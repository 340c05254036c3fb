//! Every rule of the table against its own sample and decoy, and all of them against each other's decoys.

use std::collections::HashSet;

use super::super::{Options, Scanner};
use super::*;

fn names(text: &str) -> Vec<String> {
    let scanner = Scanner::new(Options::default()).unwrap();
    scanner.scan(text.as_bytes(), None).unwrap().into_iter().map(|finding| finding.name).collect()
}

#[test]
fn every_sample_hits_its_rule() {
    for rule in RULES {
        let sample = rule.sample.concat();
        for text in [
            sample.clone(),
            format!("\"{sample}\""),
            format!("x = {sample}; next"),
            format!("a\n{sample}\nb"),
        ] {
            assert!(
                names(&text).iter().any(|name| name == rule.name),
                "{}: {text} gave {:?}",
                rule.name,
                names(&text)
            );
        }
    }
}

#[test]
fn no_decoy_hits_any_rule() {
    for rule in RULES {
        assert!(names(rule.decoy).is_empty(), "{}: {} gave {:?}", rule.name, rule.decoy, names(rule.decoy));
    }
}

#[test]
fn names_are_unique_and_anchors_long_enough_to_be_rare() {
    let mut seen = HashSet::new();
    for rule in RULES {
        assert!(seen.insert(rule.name), "{}", rule.name);
        assert!(rule.lookback < super::super::engine::WINDOW_BYTES / 2, "{}", rule.name);
        for anchor in rule.anchors {
            assert!(anchor.len() >= 3 || rule.word, "{}: {anchor}", rule.name);
        }
    }
}
