//! Members: creation, identity, addresses, listing.

use bottle::backend::{BackendErrorKind, OwnedBy, OwnedResource, Subject};
use bottle::ids::ImageRef;
use bottle::plan::spec::{MemberState, Zone};

use crate::lab::{Lab, endpoint};

pub async fn a_member_is_found_again(lab: &Lab) {
    let spec = lab.member_spec("a", &["sleep", "600"]);
    let id = lab.backend.ensure_member(&spec).await.unwrap();
    assert_eq!(lab.backend.inspect_member(&id).await.unwrap().state, MemberState::Created);
    assert_eq!(lab.backend.ensure_member(&spec).await.unwrap(), id);
    lab.backend.start_member(&id, None).await.unwrap();
    // Another owner may adopt it: ownership is no part of the comparison beyond bottle and role.
    let mut adopted = spec;
    adopted.ownership.generation = 2;
    assert_eq!(lab.backend.ensure_member(&adopted).await.unwrap(), id);
    assert_eq!(lab.backend.inspect_member(&id).await.unwrap().state, MemberState::Running);
}

pub async fn a_foreign_member_is_a_name_conflict(lab: &Lab) {
    let first = lab.member_spec("a", &["true"]);
    lab.backend.ensure_member(&first).await.unwrap();
    let mut second = lab.member_spec("b", &["true"]);
    second.name = first.name;
    let error = lab.backend.ensure_member(&second).await.unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::NameConflict);
}

pub async fn concurrent_claims_on_a_name_have_one_winner(lab: &Lab) {
    let first = lab.member_spec("a", &["true"]);
    let mut second = lab.member_spec("b", &["true"]);
    second.name = first.name.clone();
    let (one, two) = futures::join!(lab.backend.ensure_member(&first), lab.backend.ensure_member(&second));
    assert_ne!(one.is_ok(), two.is_ok());
    let error = one.err().or(two.err()).unwrap();
    assert_eq!(error.kind, BackendErrorKind::NameConflict);
    let twin = lab.member_spec("c", &["true"]);
    let (one, two) = futures::join!(lab.backend.ensure_member(&twin), lab.backend.ensure_member(&twin));
    assert_eq!(one.unwrap(), two.unwrap());
}

pub async fn a_changed_specification_replaces_a_member_that_does_not_run(lab: &Lab) {
    let mut spec = lab.member_spec("a", &["true"]);
    let first = lab.backend.ensure_member(&spec).await.unwrap();
    spec.argv = vec!["sleep".into(), "600".into()];
    let second = lab.backend.ensure_member(&spec).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(lab.backend.inspect_member(&first).await.unwrap().state, MemberState::Gone);
    assert_eq!(lab.backend.owned(&lab.owner()).await.unwrap().len(), 1);
}

pub async fn a_running_member_is_never_replaced(lab: &Lab) {
    let id = lab.sleeper("a").await;
    let error = lab.backend.ensure_member(&lab.member_spec("a", &["true"])).await.unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Denied);
    assert_eq!(lab.backend.inspect_member(&id).await.unwrap().state, MemberState::Running);
}

pub async fn a_missing_image_is_not_found(lab: &Lab) {
    let absent = ImageRef::from("bottle-test/absent:1");
    assert_eq!(lab.backend.image(&absent).await.unwrap_err().kind, BackendErrorKind::NotFound);
    assert!(lab.backend.image(&lab.image).await.unwrap().digest.starts_with("sha256:"));
    let mut spec = lab.member_spec("a", &["true"]);
    spec.image = absent.clone();
    let error = lab.backend.ensure_member(&spec).await.unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::NotFound);
    assert_eq!(error.subject, Subject::Image(absent.to_string()));
}

pub async fn a_missing_network_is_not_found(lab: &Lab) {
    let mut spec = lab.member_spec("a", &["true"]);
    spec.endpoints = vec![endpoint(Zone::Int, "bottle-test-no-such-network", None)];
    let error = lab.backend.ensure_member(&spec).await.unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::NotFound);
    assert!(lab.backend.owned(&lab.owner()).await.unwrap().is_empty());
}

pub async fn members_keep_their_address_over_a_restart(lab: &Lab) {
    let ground = lab.ground("a").await;
    let mut spec = lab.member_spec("a", &["sleep", "600"]);
    spec.endpoints = vec![
        endpoint(Zone::Int, &ground.spec.int_name, Some(ground.mitmproxy_int)),
        endpoint(Zone::Mid, &ground.spec.mid_name, Some(ground.mitmproxy_mid)),
    ];
    let (id, _) = lab.started(&spec).await;
    let check = || async {
        let seen = lab.finish(&id, &["ip", "-4", "addr"]).await.stdout;
        for address in [ground.mitmproxy_int, ground.mitmproxy_mid] {
            assert!(seen.contains(&format!("inet {address}/")), "{seen}");
        }
    };
    check().await;
    lab.backend.stop_member(&id, std::time::Duration::ZERO).await.unwrap();
    assert_eq!(lab.backend.ensure_member(&spec).await.unwrap(), id);
    lab.backend.start_member(&id, None).await.unwrap();
    check().await;
}

pub async fn owned_lists_by_bottle_owner_and_anyone(lab: &Lab) {
    lab.ground("a").await;
    let id = lab.sleeper("a").await;
    lab.backend.ensure_member(&lab.member_spec("b", &["true"])).await.unwrap();
    let bottle = OwnedBy::Bottle(lab.ownership("a").bottle);
    let of_bottle = lab.backend.owned(&bottle).await.unwrap();
    assert_eq!(of_bottle.len(), 3);
    let member = of_bottle.last().unwrap();
    assert_eq!(member.ownership, lab.ownership("a"));
    let OwnedResource::Member { id: listed, name, running, .. } = &member.resource else {
        panic!("zones come first: {of_bottle:?}");
    };
    assert_eq!((listed, name.as_str(), *running), (&id, lab.member_spec("a", &[]).name.as_str(), true));
    assert_eq!(lab.backend.owned(&lab.owner()).await.unwrap().len(), 4);
    let everything = lab.backend.owned(&OwnedBy::Anyone).await.unwrap();
    assert!(of_bottle.iter().all(|entry| everything.contains(entry) || entry == member));
}
