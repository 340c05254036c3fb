//! Manifests, facts and grounds for the tests. No test logic.

use std::collections::{BTreeMap, BTreeSet};

use bottle::config::{Config, Engine, HostEnv, ImageConfig};
use bottle::ids::{ImageRef, Role, Slug};
use bottle::manifest::{self, Manifest, Source};
use bottle::plan::facts::{FileFact, HostFacts, ImageFact, KeyFact};
use bottle::plan::spec::{Ground, GroundSpec, Ownership};
use bottle::plan::{BottleSpec, LaunchPlan, PlanErrors, resolve};

pub(crate) const EXHAUSTIVE: &str = include_str!("../../docs/examples/exhaustive.json");
pub(crate) const MINIMAL: &str = include_str!("../../docs/examples/minimal.json");

pub(crate) fn manifest(text: &str) -> Manifest {
    manifest::parse(&[Source::new("claude-bottle.json", text)]).unwrap()
}

pub(crate) fn config() -> Config {
    let mut config = Config { engine: Engine::Builtin, launch_concurrency: 2, ..Config::default() };
    for role in Role::ALL {
        let reference = ImageRef::new(format!("bottle-{role}:1"));
        config.images.set(role, ImageConfig { reference, digest: Some(digest(role.as_str())) });
    }
    config
}

fn digest(name: &str) -> String {
    format!("sha256:{:0>64}", name.bytes().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Facts under which the examples can be launched.
pub(crate) fn facts() -> HostFacts {
    let mut images: BTreeMap<_, _> = Role::ALL
        .map(|role| (ImageRef::new(format!("bottle-{role}:1")), ImageFact::Present(digest(role.as_str()))))
        .into();
    images.insert("bottle-agent:dev".into(), ImageFact::Present(digest("dev")));
    HostFacts {
        backend: "docker".into(),
        runtimes: vec!["runc".into()],
        images,
        vars: ["HOST_TOKEN", "ANTHROPIC_API_KEY"].map(str::to_owned).into(),
        terminal: true,
        skills_dir: "/home/me/.claude/skills".into(),
        skills: ["review", "deploy"].map(str::to_owned).into(),
        home: "/home/me".into(),
        keys: ["~/.ssh/id_ed25519", "/etc/keys/mirror"].map(|key| (key.to_owned(), KeyFact::Usable)).into(),
        bundles: [("/etc/ssl/corporate.pem".to_owned(), FileFact::Usable)].into(),
        credential_files: [("~/.config/team".to_owned(), FileFact::Usable)].into(),
        cwd_is_dir: true,
        ..HostFacts::default()
    }
}

pub(crate) fn spec(text: &str, agent: &str) -> BottleSpec {
    BottleSpec::new(manifest(text), agent, "/srv/project")
}

pub(crate) fn plan(text: &str, agent: &str) -> Result<LaunchPlan, PlanErrors> {
    resolve(&spec(text, agent), &config(), &facts())
}

pub(crate) fn ownership() -> Ownership {
    Ownership {
        bottle: "00ff00ff00ff00ff".into(),
        owner: "owner".into(),
        slug: Slug::from("coder"),
        agent: "coder".into(),
        plan_hash: "0".into(),
        generation: 1,
        host: "host".into(),
        boot: "boot".into(),
        detached: false,
    }
}

pub(crate) fn ground(spec: GroundSpec) -> Ground {
    Ground {
        spec,
        agent_int: [10, 213, 0, 2].into(),
        mitmproxy_int: [10, 213, 0, 3].into(),
        mitmproxy_mid: [10, 213, 0, 10].into(),
        pipelock_mid: [10, 213, 0, 11].into(),
    }
}

pub(crate) fn host_env(vars: &[(&str, &str)]) -> HostEnv {
    HostEnv::new(vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(), "/home/me", "/srv")
}

pub(crate) fn used(slugs: &[&str]) -> BTreeSet<Slug> {
    slugs.iter().map(|slug| Slug::from(*slug)).collect()
}
