//! Nothing stays behind, however a build ends.

use std::{collections::HashMap, io::Write, path::Path, time::Duration};

use bollard::{
    Docker,
    models::ContainerCreateBody,
    query_parameters::{CreateContainerOptions, StartContainerOptions},
};
use bottle::backend::docker::images::{
    BUILD_LABEL, ImageName, Kind, Quiet, Recipe, RecipeSet, SetupErrorKind, SetupRequest, Step, check, setup,
};

use crate::support::{Recorder, builders, engine, eventually, forget, ready, recipes, request, run, unique};

/// Reference and hash that setup will use for the replaced agent recipe.
async fn named(engine: &Docker, set: &RecipeSet) -> (String, String) {
    ready(engine).await;
    let wanted = SetupRequest { recipes: Some(set.clone()), ..request() };
    let images = check(engine, &wanted).await.unwrap().images;
    let agent = images.into_iter().find(|image| image.name == ImageName::Agent).unwrap();
    assert_eq!(agent.id, None);
    let hash = agent.reference.as_str().rsplit_once(':').unwrap().1.to_owned();
    (agent.reference.to_string(), hash)
}

#[tokio::test]
async fn failing_script_leaves_nothing_and_says_why() {
    let Some(engine) = engine().await else { return };
    let set = recipes("failing", "echo first; echo 'cannot do it' >&2; exit 7", "true");
    let (reference, hash) = named(&engine, &set).await;
    let error = setup(&engine, SetupRequest { recipes: Some(set), ..request() }, &Quiet).await.unwrap_err();
    assert_eq!(
        (error.step, &error.kind),
        (Step::Install, &SetupErrorKind::Failed { status: "exit code 7".into() })
    );
    assert_eq!(error.log, ["first", "cannot do it"]);
    assert_eq!(error.to_string(), "install software into agent: ended with exit code 7");
    assert_eq!(builders(&engine, &hash).await, 0);
    assert!(engine.inspect_image(&reference).await.is_err());
}

#[tokio::test]
async fn dropped_setup_leaves_nothing() {
    let Some(engine) = engine().await else { return };
    let set = recipes("dropped", "echo running; sleep 600", "true");
    let (reference, hash) = named(&engine, &set).await;
    let recorder = Recorder::default();
    {
        let running = setup(&engine, SetupRequest { recipes: Some(set), ..request() }, &recorder);
        let seen = eventually("script runs", Duration::from_secs(60), async || {
            recorder.0.lock().unwrap().iter().any(|line| line == "running")
        });
        tokio::select! {
            result = running => panic!("ended: {result:?}"),
            () = seen => {}
        }
        assert_eq!(builders(&engine, &hash).await, 1);
    }
    eventually("engine removes the container", Duration::from_secs(30), async || {
        builders(&engine, &hash).await == 0
    })
    .await;
    assert!(engine.inspect_image(&reference).await.is_err());
}

#[tokio::test]
async fn build_material_in_the_image_is_refused() {
    let Some(engine) = engine().await else { return };
    let set = recipes("leaking", "true", "true");
    let (reference, hash) = named(&engine, &set).await;
    let error = setup(&engine, SetupRequest { recipes: Some(set), ..request() }, &Quiet).await.unwrap_err();
    assert!(matches!(error.kind, SetupErrorKind::Leftover { .. }), "{error}");
    assert_eq!(builders(&engine, &hash).await, 0);
    assert!(engine.inspect_image(&reference).await.is_err());
}

#[tokio::test]
async fn certificates_reach_the_script_and_not_the_image() {
    let Some(engine) = engine().await else { return };
    let marker = unique();
    let mut bundle = tempfile::NamedTempFile::new().unwrap();
    writeln!(bundle, "# {marker}\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----").unwrap();
    let set =
        recipes("certified", "grep '^# ' \"$PIP_CERT\"; grep CAInfo \"$APT_CONFIG\"", "rm -rf \"$BUILD\"");
    let (reference, _) = named(&engine, &set).await;
    let recorder = Recorder::default();
    let wanted = SetupRequest { recipes: Some(set), ca_bundle: Some(bundle.path().to_owned()), ..request() };
    setup(&engine, wanted, &recorder).await.unwrap();
    assert!(recorder.0.lock().unwrap().iter().any(|line| line.contains(&marker)));
    let (text, code) = run(
        &engine,
        &reference,
        Some("0"),
        &["grep", "-rlF", &marker, "/", "--exclude-dir=proc", "--exclude-dir=sys"],
    )
    .await;
    forget(&engine, &reference).await;
    assert_eq!((text.as_str(), code), ("", 1));
}

#[tokio::test]
async fn wrong_inputs_fail_before_anything_is_built() {
    let Some(engine) = engine().await else { return };
    let no_certificates = tempfile::NamedTempFile::new().unwrap();
    let wanted = SetupRequest { ca_bundle: Some(no_certificates.path().to_owned()), ..request() };
    let error = setup(&engine, wanted, &Quiet).await.unwrap_err();
    assert!(matches!(error.kind, SetupErrorKind::NoCertificates { .. }), "{error}");

    let wanted = SetupRequest { gate_binary: Some(std::env::current_exe().unwrap()), ..request() };
    let error = setup(&engine, wanted, &Quiet).await.unwrap_err();
    assert!(matches!(error.kind, SetupErrorKind::NotStatic { reason: "dynamically linked", .. }), "{error}");
    assert!(error.remedy().contains("build-gate.sh"));

    let wanted = SetupRequest { gate_binary: Some(Path::new("/nonexistent").to_owned()), ..request() };
    let error = setup(&engine, wanted, &Quiet).await.unwrap_err();
    assert!(matches!(error.kind, SetupErrorKind::NoGateBinary { .. }), "{error}");
}

#[tokio::test]
async fn failing_bootstrap_reports_the_tools_last_words() {
    let Some(engine) = engine().await else { return };
    let text = format!("# {}\nname = 'base'\nkind = 'bootstrap'\nsuite = 'nosuchsuite'\n", unique());
    let base = Recipe::parse(&text, vec![]).unwrap();
    assert_eq!(base.kind(), Kind::Bootstrap);
    let set = RecipeSet { base, ..RecipeSet::embedded().unwrap() };
    let error = setup(&engine, SetupRequest { recipes: Some(set), ..request() }, &Quiet).await.unwrap_err();
    assert_eq!(error.step, Step::Bootstrap);
    assert!(
        matches!(error.kind, SetupErrorKind::Failed { .. } | SetupErrorKind::MissingProgram { .. }),
        "{error:?}"
    );
    assert!(!error.log.is_empty() || matches!(error.kind, SetupErrorKind::MissingProgram { .. }));
}

#[tokio::test]
async fn leftovers_of_a_crashed_engine_are_swept() {
    let Some(engine) = engine().await else { return };
    let image = ready(&engine).await.images.last().unwrap().reference.to_string();
    let hash = unique();
    let body = ContainerCreateBody {
        image: Some(image),
        cmd: Some(vec!["true".to_owned()]),
        labels: Some(HashMap::from([(BUILD_LABEL.to_owned(), hash.clone())])),
        ..ContainerCreateBody::default()
    };
    let id = engine.create_container(None::<CreateContainerOptions>, body).await.unwrap().id;
    setup(&engine, request(), &Quiet).await.unwrap();
    assert_eq!(builders(&engine, &hash).await, 1, "a fresh container may be about to start");
    engine.start_container(&id, None::<StartContainerOptions>).await.unwrap();
    eventually("swept", Duration::from_secs(30), async || {
        setup(&engine, request(), &Quiet).await.unwrap();
        builders(&engine, &hash).await == 0
    })
    .await;
}
