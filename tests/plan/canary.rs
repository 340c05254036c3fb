//! Secret values appear nowhere: not in plans, texts, JSON, labels, members, errors, debug output.

use bottle::plan::members::{ground_spec, member};
use bottle::plan::{Material, NoPrompt, PromptReader, resolve, to_json};

use crate::support::{config, facts, ground, host_env, ownership, spec};

const CANARY: &str = "canary-4f1d2c";

struct Typist;

impl PromptReader for Typist {
    fn read_secret(&mut self, _: &str) -> std::io::Result<bottle::ids::Secret<String>> {
        Ok(format!("{CANARY}-prompt").into())
    }
}

#[tokio::test]
async fn no_secret_is_ever_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("key"), format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{CANARY}-key")).unwrap();
    std::fs::write(path("token"), format!("{CANARY}-file\n")).unwrap();
    let text = format!(
        r#"{{"bottles":{{"b":{{
            "env":{{"A":"${{SECRET}}","B":"?question"}},
            "ssh":[{{"Host":"git.example.org","IdentityFile":"{key}"}}],
            "egress":{{"credentials":{{"x.example":{{
                "a":{{"env":"OTHER","agent_env":"OTHER"}},
                "b":{{"file":"{token}"}},
                "c":{{"command":["sh","-c","echo canary-4f1d; printf '' ","x"]}}}}}}}}}}}},
            "agents":{{"x":{{"bottle":"b"}}}}}}"#,
        key = path("key"),
        token = path("token"),
    )
    .replace("echo canary-4f1d; printf '' ", "cat \\\"$1\\\"")
    .replace(r#","x"]"#, &format!(r#","sh","{}"]"#, path("token")));
    let vars = [
        ("SECRET", format!("{CANARY}-host")),
        ("OTHER", format!("{CANARY}-env")),
        ("CLAUDE_BOTTLE_OAUTH_TOKEN", format!("{CANARY}-oauth")),
    ];
    let host = host_env(&vars.each_ref().map(|(name, value)| (*name, value.as_str())));
    let wish = spec(&text, "x");
    let mut facts = facts();
    facts.vars = host.names().map(str::to_owned).collect();
    facts.keys = [(path("key"), bottle::plan::facts::KeyFact::Usable)].into();
    let plan = resolve(&wish, &config(), &facts).unwrap();
    let material = Material::gather(&plan, &host, &mut Typist).await.unwrap();

    assert_eq!(material.env().len(), 2);
    assert_eq!(material.credentials().count(), 4);
    assert!(material.dlp_secrets().all(|secret| secret.expose_secret().starts_with(CANARY)));
    assert!(material.ssh_key(&plan.ssh()[0].identity_file).is_some());
    assert_eq!(material.scan_token().expose_secret().len(), 64);

    let values = material.secret_values();
    assert_eq!((values.exact.len(), values.credentials.len()), (6, 4));
    let policy = plan.policy().unwrap();
    assert!(policy.credentials.iter().all(|rule| values.credentials.contains_key(&rule.name)));

    let ground = ground(ground_spec(&plan, &ownership()));
    let mut shown = vec![
        format!("{plan:?} {material:?} {host:?} {wish:?} {facts:?} {values:?} {policy:?}"),
        plan.print(),
        to_json(&plan).to_string(),
        serde_json::to_string(&plan).unwrap(),
    ];
    for role in bottle::ids::Role::ALL {
        let member = member(role, &plan, &ground, &ownership());
        shown.push(format!("{member:?} {}", serde_json::to_string(&member).unwrap()));
    }
    // Failures of every source: nobody to ask, and a value that no header can hold.
    let errors = Material::gather(&plan, &host, &mut NoPrompt).await.unwrap_err();
    shown.push(format!("{errors} {errors:?}"));
    std::fs::write(path("token"), format!("{CANARY}\n{CANARY}")).unwrap();
    let errors = Material::gather(&plan, &host_env(&[]), &mut NoPrompt).await.unwrap_err();
    assert_eq!(errors.problems.len(), 5, "{errors}");
    shown.push(format!("{errors} {errors:?}"));
    facts.vars.clear();
    facts.terminal = false;
    let errors = resolve(&wish, &config(), &facts).unwrap_err();
    shown.push(format!("{errors} {errors:?} {}", serde_json::to_string(&errors).unwrap()));

    for text in shown {
        assert!(!text.contains(CANARY), "{text}");
    }
}
