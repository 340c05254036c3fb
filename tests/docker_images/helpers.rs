//! The agent's first process in its image: found, in a layer of its own, and the only one that a new build costs.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bottle::backend::docker::images::{
    Helper, ImageName, Outcome, Quiet, SetupErrorKind, SetupRequest, Step, check, find_helper, setup,
};

use crate::support::{engine, forget, ready, request, run};

#[tokio::test]
async fn a_new_first_process_costs_one_layer() {
    let Some(engine) = engine().await else { return };
    let before = ready(&engine).await;
    let (_, mut bytes) = find_helper(Helper::Init, None, None).await.unwrap();
    // Behind the last section nothing is read: another file, the same program.
    bytes.extend_from_slice(crate::support::unique().as_bytes());
    let other = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(other.path(), &bytes).unwrap();
    let wanted = SetupRequest { init_binary: Some(other.path().to_owned()), ..request() };

    assert!(!check(&engine, &wanted).await.unwrap().is_ready(), "another binary is another image");
    let begun = Instant::now();
    let report = setup(&engine, wanted.clone(), &Quiet).await.unwrap();
    let took = begun.elapsed();
    let agent = report.images.iter().find(|image| image.name == ImageName::Agent).unwrap();
    assert_eq!(agent.outcome, Outcome::Built);
    let others = report.images.iter().filter(|image| image.name != ImageName::Agent);
    assert!(others.clone().all(|image| image.outcome == Outcome::Present), "{:#?}", report.images);
    assert!(took < Duration::from_secs(60), "{took:?}");

    let layers = async |reference: &str| {
        engine.inspect_image(reference).await.unwrap().root_fs.unwrap().layers.unwrap()
    };
    let old = before.images.iter().find(|image| image.name == ImageName::Agent).unwrap();
    let (old, new) = (layers(old.reference.as_str()).await, layers(agent.reference.as_str()).await);
    assert_eq!(old[..old.len() - 1], new[..new.len() - 1]);
    assert_ne!(old.last(), new.last());
    let (text, code) =
        run(&engine, agent.reference.as_str(), None, &["/usr/local/bin/bottle-init", "--version"]).await;
    assert_eq!((text.trim(), code), (concat!("bottle-init ", env!("CARGO_PKG_VERSION")), 0));
    forget(&engine, agent.reference.as_str()).await;
}

#[tokio::test]
async fn a_first_process_that_cannot_run_in_the_image_is_refused_before_anything_is_built() {
    let Some(engine) = engine().await else { return };
    let refused = async |path: PathBuf| {
        let wanted = SetupRequest { init_binary: Some(path), ..request() };
        let found = check(&engine, &wanted).await.unwrap();
        let error = setup(&engine, wanted, &Quiet).await.unwrap_err();
        assert_eq!(error.step, Step::FindInit);
        assert!(found.findings.iter().any(|finding| finding.text == error.to_string()), "{found:#?}");
        assert!(error.remedy().contains("scripts/build-gate.sh"), "{}", error.remedy());
        error.kind
    };
    let dynamic = refused(std::env::current_exe().unwrap()).await;
    assert!(matches!(dynamic, SetupErrorKind::NotStatic { reason: "dynamically linked", .. }), "{dynamic}");
    let missing = refused("/nonexistent".into()).await;
    assert!(matches!(missing, SetupErrorKind::NoInitBinary { .. }), "{missing}");
}
