//! What is said about wrong manifests.

use super::*;

#[test]
fn all_findings_come_at_once() {
    insta::assert_snapshot!(rendered(
        r#"{
  // comments are fine
  "bottles": {
    "dev": {
      "env": { "": "x", "A=B": "y", "HTTPS_PROXY": "z", "BAD": "pre-${X}", "ASK": "?", "N": 5, "S": "sk-canary" },
      "ssh": [ { "Host": "git" }, { "Host": "a b", "IdentityFile": "id", "Port": 70000 }, "x" ],
      "egress": { "allowlst": [], "allowlist": ["https://x.org", "x.org:443", "10.0.0.1", "*", "*.com", "-x.org", "münchen.de"], "dlp_action": "blok" },
      "resources": { "memory": "2x", "cpus": "4", "pids": 0 },
      "restart": "always",
      "runtime": "runsc",
      "command": []
    },
    "dev": { "image": "bad image" }
  },
  "agents": {
    "coder": { "bottle": "dve", "skills": ["../x", "ok", "ok", ".."], "promt": "x" },
    "日本": { "skills": "review" }
  },
  "extra": null,
}"#
    ));
}

#[test]
fn findings_of_a_whole_bottle() {
    insta::assert_snapshot!(rendered(
        r#"{
  "bottles": {
    "dev": {
      "env": { "": "x", "A=B": "y", "HTTPS_PROXY": "z", "BAD": "pre-${X}", "ASK": "?", "N": 5, "S": "sk-canary" },
      "ssh": [ { "Host": "git" }, { "Host": "a b", "IdentityFile": "id", "Port": 70000 }, "x" ],
      "egress": {
        "allowlst": [], "dlp_action": "blok",
        "allowlist": ["https://x.org", "x.org:443", "10.0.0.1", "*", "*.com", "-x.org", "münchen.de"],
        "credentials": { "x.org": { "host": { "env": "A" }, "x-key": { "env": "$A" }, "y": {}, "z": { "env": "A", "file": "/f" } } }
      },
      "resources": { "memory": "2x", "cpus": "4", "pids": 0 },
      "restart": "always",
      "runtime": "runsc",
      "command": []
    }
  },
  "agents": { "x": { "bottle": "dev" } }
}"#
    ));
}

#[test]
fn syntax_errors_have_their_place() {
    insta::assert_snapshot!(rendered("{\n  \"bottles\": {\n    \"a\": {} \"b\": {}\n  }\n}"));
    insta::assert_snapshot!(rendered("[1]"));
    insta::assert_snapshot!(rendered("{}"));
}

#[test]
fn the_removed_key_has_its_exact_message() {
    let found = bottle(r#"{"runtime":"runsc"}"#);
    assert!(found[0].ends_with("gVisor is detected automatically; remove `runtime`"), "{found:?}");
}

#[test]
fn values_of_env_are_never_repeated() {
    for value in ["canary${", "${canary", "?", "1\",\"A\":\"canary"] {
        let text = format!(
            r#"{{"bottles":{{"b":{{"env":{{"A":"{value}","B":"sk-canary-2"}},"x":1}}}},"agents":{{"a":{{"bottle":"b"}}}}}}"#
        );
        let errors = parse(&[source(&text)]).unwrap_err();
        for shown in [render(&errors), errors.to_string(), serde_json::to_string(&errors).unwrap()] {
            assert!(!shown.contains("canary"), "{shown}");
        }
    }
}

#[test]
fn hosts_follow_the_rules() {
    for good in ["a.example", "*.example.org", "intranet", "xn--mnchen-3ya.de", "A.Example", "1.example"] {
        assert!(super::super::egress::host(good, true).is_ok(), "{good}");
    }
    let long = format!("{}.example", "a".repeat(64));
    let bad = [
        "",
        "*",
        "*.",
        "*.org",
        "a*.org",
        "a.*.org",
        ".a.org",
        "a..org",
        "a.org.",
        "-a.org",
        "a-.org",
        "a_b.org",
        "a b.org",
        "a.org:443",
        "https://a.org",
        "a.org/x",
        "10.0.0.1",
        "1",
        "0x7f.1",
        "a.0x7f",
        "::1",
        "[::1]",
        "localhost",
        "x.localhost",
        "a\0.org",
        "ü.org",
        "user@a.org",
        long.as_str(),
    ];
    for bad in bad {
        assert!(super::super::egress::host(bad, true).is_err(), "{bad}");
    }
    assert!(super::super::egress::host("*.example.org", false).is_err());
}

#[test]
fn sizes_and_numbers() {
    for good in [r#""512m""#, r#""2g""#, r#""2G""#, "536870912", "5.36870912e8"] {
        assert_eq!(bottle(&format!(r#"{{"resources":{{"memory":{good}}}}}"#)), [""; 0], "{good}");
    }
    for bad in
        [r#""2gb""#, r#""-1g""#, r#""1.5g""#, r#""g""#, "1", "-1", "null", r#""99999999999999999999g""#]
    {
        assert_eq!(bottle(&format!(r#"{{"resources":{{"memory":{bad}}}}}"#)).len(), 1, "{bad}");
    }
    for bad in ["0", "-1", "1e400", "\"1\"", "true"] {
        assert_eq!(bottle(&format!(r#"{{"resources":{{"cpus":{bad}}}}}"#)).len(), 1, "{bad}");
    }
    for bad in ["0", "65536", "22.5", "-22", "\"22\""] {
        let body = format!(r#"{{"ssh":[{{"Host":"a","IdentityFile":"/k","Port":{bad}}}]}}"#);
        assert_eq!(bottle(&body).len(), 1, "{bad}");
    }
}

#[test]
fn agent_names_that_make_a_slug_are_accepted() {
    for (name, good) in [
        ("a".to_owned(), true),
        ("x".repeat(300), true),
        ("Überprüfer".into(), true),
        ("日本".into(), false),
        ("".into(), false),
        ("a\\u0007".into(), false),
    ] {
        let text = format!(r#"{{"bottles":{{"b":{{}}}},"agents":{{"{name}":{{"bottle":"b"}}}}}}"#);
        assert_eq!(parse(&[source(&text)]).is_ok(), good, "{name}");
    }
}

#[test]
fn duplicate_keys_are_found_wherever_they_are() {
    let found = bottle(r#"{"env":{"A":"1","A":"2"}}"#);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("bottles.b.env.A") && found[0].contains("twice"), "{found:?}");
}
