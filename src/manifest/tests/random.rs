//! Properties: no bytes make it panic; what the schema allows is accepted.

use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

static VALIDATOR: std::sync::LazyLock<jsonschema::Validator> =
    std::sync::LazyLock::new(|| jsonschema::validator_for(&schema()).unwrap());

/// Leaves out what is null, as an absent key.
fn object(pairs: Vec<(&str, Option<Value>)>) -> Value {
    Value::Object(pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
}

fn host() -> impl Strategy<Value = String> {
    "([a-z0-9]{1,8}\\.){0,3}[a-z]{2,6}".prop_filter("not loopback", |host| !host.ends_with("localhost"))
}

fn hosts() -> impl Strategy<Value = Value> {
    vec(prop_oneof![host(), host().prop_map(|host| format!("*.x.{host}"))], 0..4)
        .prop_map(|hosts| json!(hosts))
}

fn argv() -> impl Strategy<Value = Value> {
    ("[a-z/]{1,9}", vec("[^\0]{0,9}", 0..3)).prop_map(|(first, mut rest)| {
        rest.insert(0, first);
        json!(rest)
    })
}

fn credential() -> impl Strategy<Value = Value> {
    let source = prop_oneof![
        "[A-Z_][A-Z0-9_]{0,8}".prop_map(|var| ("env", json!(var))),
        "(/|~/)[a-z/]{1,9}".prop_map(|path| ("file", json!(path))),
        argv().prop_map(|argv| ("command", argv)),
    ];
    (source, of("[ -~]{0,9}"), of("AG_[A-Z0-9_]{0,8}")).prop_map(|((key, value), prefix, var)| {
        object(vec![
            (key, Some(value)),
            ("prefix", prefix.map(Value::from)),
            ("agent_env", var.map(Value::from)),
        ])
    })
}

fn egress() -> impl Strategy<Value = Value> {
    let rule = (of(vec("[A-Z]{3,7}", 0..3)), of(vec("/[a-z/*]{0,9}", 0..3))).prop_map(|(methods, paths)| {
        object(vec![("methods", methods.map(|m| json!(m))), ("paths", paths.map(|p| json!(p)))])
    });
    let limits = (of(1024u64..1 << 40), of(100u32..600_000)).prop_map(|(body, wait)| {
        object(vec![("max_body", body.map(Value::from)), ("verdict_timeout_ms", wait.map(Value::from))])
    });
    (
        of(hosts()),
        of(prop_oneof![Just("block"), Just("warn")]),
        of(btree_map(host(), btree_map("x-[a-z]{1,8}", credential(), 0..3), 0..3)),
        of(btree_map(host(), vec(rule, 1..3), 0..3)),
        of(hosts()),
        of("(/|~/)[a-z/]{1,9}"),
        of(btree_map(host(), any::<std::net::IpAddr>().prop_map(|ip| json!(ip)), 0..3)),
        of(limits),
    )
        .prop_map(|(allow, dlp, credentials, rules, more, ca, names, limits)| {
            object(vec![
                ("allowlist", allow),
                ("dlp_action", dlp.map(Value::from)),
                ("credentials", credentials.map(|c| json!(c))),
                ("rules", rules.map(|r| json!(r))),
                ("websocket", more.clone()),
                ("private_hosts", more),
                ("extra_ca", ca.map(Value::from)),
                ("extra_hosts", names.map(|n| json!(n))),
                ("limits", limits),
            ])
        })
}

fn manifest() -> impl Strategy<Value = Value> {
    let value = prop_oneof!["[^\0$?][^\0$]{0,9}", "\\$\\{[A-Z_]{1,8}\\}", "\\?[a-z ]{0,5}[a-z]"];
    let bottle = (
        of(btree_map("[^\\x00-\\x1f\\x7f-\\x9f=]{1,9}", value, 0..4)),
        of(vec((host(), of(host()), of(1u16..), of("[a-z_]{1,9}")), 0..1)),
        of(egress()),
        of((of(16u64..1 << 20), of(0.01f64..1024.0), of(16u32..1_000_000))),
        of(prop_oneof![Just("temporary"), Just("transient"), Just("permanent")]),
        of(argv()),
    )
        .prop_map(|(env, ssh, egress, resources, restart, command)| {
            let entry = |(host, name, port, user): (String, Option<String>, Option<u16>, Option<String>)| {
                object(vec![
                    ("Host", Some(host.into())),
                    ("IdentityFile", Some("~/.ssh/id".into())),
                    ("Hostname", name.map(Value::from)),
                    ("Port", port.map(Value::from)),
                    ("User", user.map(Value::from)),
                ])
            };
            let resources = resources.map(|(memory, cpus, pids)| {
                object(vec![
                    ("memory", memory.map(|mebi| format!("{mebi}m").into())),
                    ("cpus", cpus.map(Value::from)),
                    ("pids", pids.map(Value::from)),
                ])
            });
            object(vec![
                ("env", env.map(|env| json!(env))),
                ("ssh", ssh.map(|ssh| ssh.into_iter().map(entry).collect())),
                ("egress", egress),
                ("resources", resources),
                ("restart", restart.map(Value::from)),
                ("command", command),
            ])
        });
    let agents =
        btree_map("[^\\x00-\\x1f\\x7f-\\x9f]{0,5}[a-zA-Z0-9]", (of("[^\0]{0,20}"), of("[a-z]{1,8}")), 0..4);
    (bottle, agents).prop_map(|(bottle, agents)| {
        let agents: serde_json::Map<_, _> = agents
            .into_iter()
            .map(|(name, (prompt, skill))| {
                let agent = object(vec![
                    ("bottle", Some("b".into())),
                    ("prompt", prompt.map(Value::from)),
                    ("skills", skill.map(|skill| json!([skill]))),
                ]);
                (name, agent)
            })
            .collect();
        json!({ "bottles": { "b": bottle }, "agents": agents })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(source) = decode(Path::new("f"), bytes)
            && let Err(errors) = parse(&[source])
        {
            prop_assert!(!render(&errors).is_empty());
        }
    }

    #[test]
    fn no_mutation_of_a_manifest_makes_it_panic(manifest in manifest(), at in any::<prop::sample::Index>(), put in "[\\PC\n\t{}\"\\[\\],:]{0,4}", drop in 0usize..8) {
        let text: Vec<char> = serde_json::to_string_pretty(&manifest).unwrap().chars().collect();
        let at = at.index(text.len());
        let end = (at + drop).min(text.len());
        let text: String = text[..at].iter().copied().chain(put.chars()).chain(text[end..].iter().copied()).collect();
        if let Err(errors) = parse(&[source(&text)]) {
            prop_assert!(!render(&errors).is_empty());
            prop_assert!(errors.findings.iter().all(|finding| finding.line > 0 && finding.column > 0));
        }
    }

    #[test]
    fn what_the_schema_allows_is_accepted(manifest in manifest()) {
        let wrong: Vec<_> = VALIDATOR.iter_errors(&manifest).map(|error| error.to_string()).collect();
        prop_assert!(wrong.is_empty(), "{:?}", wrong);
        let parsed = parse(&[source(&manifest.to_string())]);
        prop_assert!(parsed.is_ok(), "{}", render(&parsed.unwrap_err()));
    }
}

#[test]
fn deep_nesting_is_a_finding() {
    let text = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(parse(&[source(&text)]).is_err());
}
