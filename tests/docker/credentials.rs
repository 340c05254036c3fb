//! The broker: the real credential reaches its host and nothing else, anywhere.

use bottle::error::chain;
use bottle::ids::Role;
use bottle::{Material, NoPrompt};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::lab::{self, Lab, Want, printed, says, shell};
use crate::support::docker;

const VAR: &str = "LAB_CANARY_TOKEN";

fn want(canary: &str) -> Want {
    Want {
        bottle: json!({ "egress": { "credentials": { "api.anthropic.com": {
            "x-api-key": { "env": VAR, "agent_env": "LAB_TOKEN" },
            "authorization": { "env": VAR, "prefix": "Bearer " },
        } } } }),
        vars: vec![(VAR, canary.to_owned())],
        ..Want::default()
    }
}

fn sha256(text: &str) -> Option<String> {
    Some(hex::encode(Sha256::digest(text)))
}

#[test]
fn a_credential_reaches_its_host_and_appears_nowhere_else() {
    lab::run(1, async |lab| {
        let canary = format!("canary{:032x}", rand::random::<u128>());
        let want = want(&canary);
        let runtime = lab.runtime(&want).await;
        let plan = lab.plan(&runtime, &want).await.unwrap();
        let mut seen = vec![
            ("plan", plan.print()),
            ("plan as JSON", serde_json::to_string(&plan).unwrap()),
            ("plan for debugging", format!("{plan:?}")),
        ];
        let bottle = lab.launch(&runtime, &want).await;

        assert_eq!(says(&bottle, "printenv LAB_TOKEN").await, "held-by-bottle");
        let path = lab.own_path("brokered");
        let call = format!("curl -sS -H \"x-api-key: $LAB_TOKEN\" https://api.anthropic.com{path}");
        says(&bottle, &call).await;
        let arrivals = lab.arrivals(&path).await;
        assert_eq!(arrivals.len(), 1);
        assert_eq!(arrivals[0].x_api_key_sha256, sha256(&canary));
        assert_eq!(arrivals[0].authorization_sha256, sha256(&format!("Bearer {canary}")));

        let leak = lab.own_path("leak");
        let body = format!("curl -sS -i -d 'x{canary}x' https://api.anthropic.com{leak}");
        let refused = printed(&shell(&bottle, &body).await);
        assert!(refused.contains("403") && lab.arrivals(&leak).await.is_empty(), "{refused}");

        seen.push(("answer to a leak", refused));
        seen.push(("audit", lab.audit(&bottle)));
        seen.extend(on_the_engine(&bottle));
        let looking = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline /run/bottle/* ~/.claude* -r 2>/dev/null; env";
        seen.push(("agent", printed(&shell(&bottle, looking).await)));
        seen.push(("state directory", everything_below(&lab.path("state"))));
        seen.push(("handle for debugging", format!("{bottle:?}")));
        seen.push(("report", format!("{:?}", bottle.close().await)));
        runtime.shutdown().await;
        for (place, text) in seen {
            assert!(!text.contains(&canary), "the credential is in: {place}");
        }
    });
}

fn on_the_engine(bottle: &bottle::Bottle) -> Vec<(&'static str, String)> {
    let names = bottle.plan().names();
    let mut seen = Vec::new();
    for role in Role::ALL {
        let container = names.member(role);
        seen.push(("inspect", docker(&["inspect", container])));
        seen.push(("logs", both_streams(&["logs", container])));
        seen.push(("changed files", docker(&["diff", container])));
        seen.push(("processes", docker(&["top", container, "axeww", "-o", "pid,args"])));
    }
    seen.push(("networks", docker(&["network", "inspect", &names.int, &names.mid])));
    seen
}

fn both_streams(arguments: &[&str]) -> String {
    let output = std::process::Command::new("docker").args(arguments).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn everything_below(dir: &std::path::Path) -> String {
    let output = std::process::Command::new("grep").arg("-ra").arg("").arg(dir).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn errors_of_a_failed_launch_do_not_quote_a_credential() {
    lab::run(1, async |lab| {
        let canary = format!("canary{:032x}", rand::random::<u128>());
        let mut want = want(&canary);
        want.bottle["image"] = json!(lab.farm.config.images.pipelock.as_ref().unwrap().reference.as_str());
        let runtime = lab.runtime(&want).await;
        let error = lab.try_launch(&runtime, &want).await.expect_err("an image without sleep");
        let text = format!("{} {error:?}", chain(&error));
        assert!(!text.contains(&canary), "{text}");
        runtime.shutdown().await;
    });
}

#[test]
fn a_credential_that_cannot_be_had_is_named_before_anything_is_made() {
    lab::run(1, async |lab: &Lab| {
        let want = Want { vars: vec![(VAR, "two\nlines-canary".to_owned())], ..want("") };
        let runtime = lab.runtime(&want).await;
        let plan = lab.plan(&runtime, &want).await.unwrap();
        let error = Material::gather(&plan, &lab.host(&want), &mut NoPrompt).await.unwrap_err().to_string();
        assert!(error.contains("more than one line") && !error.contains("canary"), "{error}");
    });
}
