//! What the finished images are.

use std::{
    io::{Cursor, Read, Write},
    time::{Duration, Instant},
};

use bottle::{
    backend::docker::images::{GateEngine, Quiet, check, setup},
    ids::Role,
};
use futures::TryStreamExt;

use crate::support::{engine, ready, request, run};

fn reference(report: &bottle::backend::docker::images::SetupReport, role: Role) -> String {
    report.image(role).expect("every role has an image").reference.to_string()
}

#[tokio::test]
async fn second_setup_is_a_no_op() {
    let Some(engine) = engine().await else { return };
    ready(&engine).await;
    let begun = Instant::now();
    let report = setup(&engine, request(), &Quiet).await.unwrap();
    let took = begun.elapsed();
    let _ = writeln!(std::io::stderr(), "second setup: {took:?}");
    assert!(report.images.iter().all(|image| image.took < Duration::from_secs(5)));
    assert!(report.is_noop() || report.swept > 0, "{report:#?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(report.gate, GateEngine::Builtin);
}

#[tokio::test]
async fn check_after_setup_finds_everything() {
    let Some(engine) = engine().await else { return };
    let report = ready(&engine).await;
    let found = check(&engine, &request()).await.unwrap();
    assert!(found.is_ready(), "{found:#?}");
    for image in found.images {
        let made = report.images.iter().find(|made| made.name == image.name).unwrap();
        assert_eq!((&made.reference, Some(&made.id)), (&image.reference, image.id.as_ref()));
    }
}

#[tokio::test]
async fn agent_runs_claude_as_its_user_without_network() {
    let Some(engine) = engine().await else { return };
    let image = reference(ready(&engine).await, Role::Agent);
    let (text, code) = run(
        &engine,
        &image,
        None,
        &[
            "sh",
            "-c",
            "id -un; pwd; HOME=/tmp claude --version; for p in git ssh curl socat ps; do command -v $p; done",
        ],
    )
    .await;
    assert_eq!(code, 0, "{text}");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[..2], ["agent", "/workspace"], "{text}");
    assert!(lines[2].contains("(Claude Code)"), "{text}");
    assert_eq!(lines.len(), 8, "{text}");
}

#[tokio::test]
async fn mitmproxy_loads_on_a_read_only_root_and_has_no_installer() {
    let Some(engine) = engine().await else { return };
    let image = reference(ready(&engine).await, Role::Mitmproxy);
    let script = "import os, sys, mitmproxy.version, mitmproxy.tools.dump, mitmproxy.tools.main
print(os.getuid(), mitmproxy.version.VERSION)";
    let (text, code) = run(&engine, &image, None, &["/opt/venv/bin/python3", "-c", script]).await;
    assert_eq!((text.trim(), code), ("65532 12.2.3", 0));
    let (text, _) = run(
        &engine,
        &image,
        None,
        &[
            "sh",
            "-c",
            "for p in apt apt-get perl curl wget pip pip3 git; do command -v $p; done; ls /opt/venv/bin/pip*",
        ],
    )
    .await;
    assert!(!text.lines().any(|line| line.starts_with('/')), "{text}");
    let addon = run(&engine, &image, None, &["test", "-d", "/opt/bottle/bottle_addon"]).await.1 == 0;
    if addon {
        let (text, code) =
            run(&engine, &image, None, &["/opt/venv/bin/python3", "-c", "import bottle_addon"]).await;
        assert_eq!(code, 0, "{text}");
    }
}

#[tokio::test]
async fn images_have_no_setuid_files_and_no_certificates_of_the_host() {
    let Some(engine) = engine().await else { return };
    let report = ready(&engine).await;
    let bundle = request().ca_bundle.map(|path| std::fs::read_to_string(path).unwrap()).unwrap_or_default();
    let base = RecipeBase::of(&engine, &reference(report, Role::Agent)).await;
    let foreign = bundle.lines().find(|line| line.len() == 64 && !base.stock.contains(*line));
    for role in [Role::Agent, Role::Mitmproxy] {
        let image = reference(report, role);
        let (text, _) =
            run(&engine, &image, Some("0"), &["find", "/", "-xdev", "-type", "f", "-perm", "/6000"]).await;
        assert_eq!(text, "", "{image}");
        if let Some(line) = foreign {
            let command = [
                "grep",
                "-rlF",
                line,
                "/etc",
                "/home",
                "/opt",
                "/root",
                "/srv",
                "/usr",
                "/var",
                "/workspace",
            ];
            let (text, _) = run(&engine, &image, Some("0"), &command).await;
            assert!(!text.lines().any(|hit| hit.starts_with('/')), "{image}: {text}");
        }
        let config = engine.inspect_image(&image).await.unwrap().config.unwrap();
        let env = config.env.unwrap_or_default().join("\n").to_lowercase();
        assert!(!env.contains("proxy=") && !env.contains("cert") && !env.contains("_ca_"), "{env}");
    }
}

/// The stock certificates of Debian: what the package ships, one file each, so that a changed bundle does not count.
struct RecipeBase {
    stock: String,
}

impl RecipeBase {
    async fn of(engine: &bollard::Docker, image: &str) -> Self {
        let (stock, code) =
            run(engine, image, Some("0"), &["sh", "-c", "cat /usr/share/ca-certificates/mozilla/*.crt"])
                .await;
        assert_eq!(code, 0);
        Self { stock }
    }
}

#[tokio::test]
async fn gate_image_is_one_file() {
    let Some(engine) = engine().await else { return };
    let image = reference(ready(&engine).await, Role::Pipelock);
    let parts: Vec<_> = engine.export_image(&image).try_collect().await.unwrap();
    let saved = parts.concat();
    let layers: Vec<Vec<String>> = tar::Archive::new(Cursor::new(saved))
        .entries()
        .unwrap()
        .filter_map(|entry| {
            let mut bytes = Vec::new();
            entry.unwrap().read_to_end(&mut bytes).unwrap();
            // A layer is an archive itself; manifests are JSON.
            let names: Result<Vec<_>, std::io::Error> = tar::Archive::new(Cursor::new(bytes))
                .entries()
                .ok()?
                .map(|entry| Ok(entry?.path()?.display().to_string()))
                .collect();
            names.ok().filter(|names| !names.is_empty())
        })
        .collect();
    assert_eq!(layers, [["bottle-gate"]]);
    let config = engine.inspect_image(&image).await.unwrap().config.unwrap();
    assert_eq!(config.entrypoint.unwrap(), ["/bottle-gate"]);
    assert_eq!(config.cmd.unwrap(), ["run", "-c", "/dev/stdin"]);
    assert_eq!(config.user.unwrap(), "65532:65532");
}
