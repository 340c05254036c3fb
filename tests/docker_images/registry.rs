//! Pulling, against a registry of this test's own (Debian package `docker-registry`).

use std::{
    collections::HashMap,
    io::Write,
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use bollard::{
    Docker,
    query_parameters::{ListImagesOptionsBuilder, PushImageOptionsBuilder, TagImageOptionsBuilder},
};
use bottle::{
    backend::docker::images::{
        GateChoice, GateEngine, ImageName, Outcome, Quiet, RecipeSet, RegistryBases, SetupErrorKind,
        SetupRequest, pull, setup,
    },
    ids::{ImageRef, Role},
};
use futures::TryStreamExt;

use crate::support::{engine, eventually, forget, ready, recipes, request};

/// A registry on the loopback address, which every engine accepts without TLS. Ends with the value.
struct Registry {
    child: Child,
    port: u16,
    _data: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn registry() -> Option<Registry> {
    if std::env::var("BOTTLE_TEST_REGISTRY").as_deref() == Ok("none") {
        let _ = writeln!(std::io::stderr(), "skipped: BOTTLE_TEST_REGISTRY=none");
        return None;
    }
    let data = tempfile::tempdir().unwrap();
    let port = free_port();
    let root = data.path().join("data");
    let text = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n",
        root.display()
    );
    let config = data.path().join("config.yml");
    std::fs::write(&config, text).unwrap();
    let child = Command::new("docker-registry")
        .arg("serve")
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect(
            "docker-registry is installed (Debian package docker-registry), or BOTTLE_TEST_REGISTRY=none",
        );
    let registry = Registry { child, port, _data: data };
    eventually("registry listens", Duration::from_secs(20), async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
    })
    .await;
    Some(registry)
}

/// Publishes the gate image under the registry's name and forgets that name on the engine.
async fn publish(engine: &Docker, registry: &Registry) -> ImageRef {
    let gate = ready(engine).await.image(Role::Pipelock).unwrap().reference.to_string();
    let repository = format!("127.0.0.1:{}/official/pipelock", registry.port);
    let options = TagImageOptionsBuilder::default().repo(&repository).tag("2.3.0").build();
    engine.tag_image(&gate, Some(options)).await.unwrap();
    let options = PushImageOptionsBuilder::default().tag("2.3.0").build();
    engine.push_image(&repository, Some(options), None).try_collect::<Vec<_>>().await.unwrap();
    let reference = ImageRef::new(format!("{repository}:2.3.0"));
    forget(engine, reference.as_str()).await;
    reference
}

#[tokio::test]
async fn an_image_is_pulled_once_and_pinned_by_digest() {
    let Some(engine) = engine().await else { return };
    let Some(registry) = registry().await else { return };
    let reference = publish(&engine, &registry).await;

    let first = pull(&engine, ImageName::Pipelock, &reference, false, &Quiet).await.unwrap();
    assert_eq!(first.outcome, Outcome::Pulled);
    let digest = first.digest.clone().unwrap();
    assert!(digest.as_str().starts_with(reference.as_str().trim_end_matches(":2.3.0")), "{digest}");
    assert!(digest.as_str().contains("@sha256:"));
    assert_eq!(first.reference, digest);
    let second = pull(&engine, ImageName::Pipelock, &reference, false, &Quiet).await.unwrap();
    assert_eq!((second.outcome, &second.id), (Outcome::Present, &first.id));

    forget(&engine, reference.as_str()).await;
    let by_digest = pull(&engine, ImageName::Pipelock, &digest, false, &Quiet).await.unwrap();
    assert_eq!(by_digest.id, first.id);
    forget(&engine, digest.as_str()).await;

    let missing = ImageRef::new(format!("{}-not", reference));
    let error = pull(&engine, ImageName::Pipelock, &missing, false, &Quiet).await.unwrap_err();
    assert_eq!(error.kind, SetupErrorKind::NotInRegistry, "{error:?}");
}

#[tokio::test]
async fn images_are_built_on_a_base_of_a_registry() {
    let Some(engine) = engine().await else { return };
    let Some(registry) = registry().await else { return };
    ready(&engine).await;
    let filters = HashMap::from([("reference", vec!["bottle/base"])]);
    let options = ListImagesOptionsBuilder::default().filters(&filters).build();
    let local = engine.list_images(Some(options)).await.unwrap().swap_remove(0).id;
    let repository = format!("127.0.0.1:{}/debian", registry.port);
    let options = TagImageOptionsBuilder::default().repo(&repository).tag("slim").build();
    engine.tag_image(&local, Some(options)).await.unwrap();
    let options = PushImageOptionsBuilder::default().tag("slim").build();
    engine.push_image(&repository, Some(options), None).try_collect::<Vec<_>>().await.unwrap();
    let reference = ImageRef::new(format!("{repository}:slim"));
    forget(&engine, reference.as_str()).await;

    let done = "rm -rf \"$BUILD\"";
    let set = RecipeSet {
        mitmproxy: recipes("small-mitmproxy", "true", done).agent,
        agent_base: recipes("small-agent-base", "true", done).agent,
        ..recipes("small-agent", "touch /made", done)
    };
    let wanted = SetupRequest {
        registry: RegistryBases { base: Some(reference.clone()), ..RegistryBases::default() },
        recipes: Some(set),
        ..request()
    };
    let report = setup(&engine, wanted.clone(), &Quiet).await.unwrap();
    let base = report.images.iter().find(|image| image.name == ImageName::Base).unwrap();
    assert_eq!(base.outcome, Outcome::Pulled);
    assert!(base.digest.is_some());
    // What was built is found again without the base, and without its registry.
    drop(registry);
    forget(&engine, reference.as_str()).await;
    assert!(
        setup(&engine, wanted, &Quiet)
            .await
            .unwrap()
            .images
            .iter()
            .all(|image| image.outcome == Outcome::Present)
    );
    for role in [Role::Agent, Role::Mitmproxy] {
        forget(&engine, report.image(role).unwrap().reference.as_str()).await;
    }
    let below = report.images.iter().find(|image| image.name == ImageName::AgentBase).unwrap();
    forget(&engine, below.reference.as_str()).await;
}

#[tokio::test]
async fn the_choice_of_the_gate_follows_the_registry() {
    let Some(engine) = engine().await else { return };
    let Some(registry) = registry().await else { return };
    let reference = publish(&engine, &registry).await;
    let wanted = |gate, pipelock: &ImageRef| SetupRequest {
        gate,
        registry: RegistryBases { pipelock: Some(pipelock.clone()), ..RegistryBases::default() },
        ..request()
    };

    let report = setup(&engine, wanted(GateChoice::Auto, &reference), &Quiet).await.unwrap();
    assert_eq!((report.gate, &report.fallback), (GateEngine::Pipelock, &None));
    assert_eq!(report.image(Role::Pipelock).unwrap().name, ImageName::Pipelock);
    forget(&engine, reference.as_str()).await;

    let silent = ImageRef::new(format!("127.0.0.1:{}/official/pipelock:2.3.0", free_port()));
    let report = setup(&engine, wanted(GateChoice::Auto, &silent), &Quiet).await.unwrap();
    assert_eq!(report.gate, GateEngine::Builtin);
    assert!(report.fallback.unwrap().contains("registry does not answer"));
    let error = setup(&engine, wanted(GateChoice::Pipelock, &silent), &Quiet).await.unwrap_err();
    assert_eq!(error.kind, SetupErrorKind::NoRegistry, "{error:?}");
}
