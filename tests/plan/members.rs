//! What the three containers are.

use bottle::ids::Role;
use bottle::plan::members::{ground_spec, member};
use bottle::plan::spec::{StdinMode, Zone};

use crate::support::{EXHAUSTIVE, MINIMAL, ground, ownership, plan};

fn members(text: &str) -> [bottle::plan::spec::MemberSpec; 3] {
    let plan = plan(text, "coder").unwrap();
    let ground = ground(ground_spec(&plan, &ownership()));
    Role::ALL.map(|role| member(role, &plan, &ground, &ownership()))
}

#[test]
fn members_of_the_exhaustive_example() {
    insta::assert_debug_snapshot!(members(EXHAUSTIVE));
}

#[test]
fn only_the_gate_has_a_way_out_and_names() {
    let [gate, mitm, agent] = members(MINIMAL);
    let zones =
        |spec: &bottle::plan::spec::MemberSpec| spec.endpoints.iter().map(|e| e.zone).collect::<Vec<_>>();
    assert_eq!(zones(&gate), [Zone::Egress, Zone::Mid]);
    assert_eq!(zones(&mitm), [Zone::Int, Zone::Mid]);
    assert_eq!(zones(&agent), [Zone::Int]);
    assert_eq!((gate.resolver, mitm.resolver, agent.resolver), (true, false, false));
    assert_eq!((gate.stdin, mitm.stdin, agent.stdin), (StdinMode::Once, StdinMode::Open, StdinMode::Closed));
    assert!(gate.read_only && mitm.read_only && agent.init);
    assert_eq!(agent.user.as_deref(), Some("0:0"), "commands run as the agent user, by number");
    assert_eq!(agent.env["HTTPS_PROXY"], "http://10.213.0.3:8080");
    assert!(!agent.env.contains_key("SSH_AUTH_SOCK"));
    assert!(gate.env.is_empty() && mitm.env.is_empty());
}

#[test]
fn values_of_host_and_terminal_are_not_in_the_environment() {
    let [_, _, agent] = members(EXHAUSTIVE);
    assert_eq!(agent.env["LOG"], "debug");
    assert_eq!(agent.env["ANTHROPIC_API_KEY"], "held-by-bottle");
    assert!(!agent.env.contains_key("TOKEN") && !agent.env.contains_key("PIN"));
    assert_eq!(agent.env["SSH_AUTH_SOCK"], "/run/bottle/ssh-agent.sock");
}

#[test]
fn every_variable_of_the_bottle_is_reserved() {
    let [_, _, agent] = members(EXHAUSTIVE);
    let own = ["LOG", "ANTHROPIC_API_KEY"];
    for name in agent.env.keys().filter(|name| !own.contains(&name.as_str())) {
        assert!(bottle::manifest::RESERVED_ENV.contains(&name.as_str()), "{name}");
    }
}
