//! What an outside hand has changed is put right, and nothing else is touched.

use std::time::Duration;

use bottle::backend::{BackendErrorKind, Mended, Repair, Subject};
use bottle::ids::{MemberId, Role};
use bottle::plan::spec::{Ground, MemberSpec, MemberState, MemberStatus, Zone};

use crate::lab::{Lab, endpoint};
use crate::news::on_int;

/// A sidecar between the two zones.
fn sidecar(lab: &Lab, ground: &Ground) -> MemberSpec {
    let mut spec = lab.member_spec("a", &["sleep", "600"]);
    spec.role = Role::Mitmproxy;
    spec.name = format!("{}-mitm", lab.run);
    spec.endpoints = vec![
        endpoint(Zone::Int, &ground.spec.int_name, Some(ground.mitmproxy_int)),
        endpoint(Zone::Mid, &ground.spec.mid_name, Some(ground.mitmproxy_mid)),
    ];
    spec
}

/// A sidecar on the way out, whose address there the engine chooses.
fn gate(lab: &Lab, ground: &Ground) -> MemberSpec {
    let mut spec = sidecar(lab, ground);
    spec.role = Role::Pipelock;
    spec.name = format!("{}-gate", lab.run);
    spec.endpoints = vec![
        endpoint(Zone::Mid, &ground.spec.mid_name, Some(ground.pipelock_mid)),
        endpoint(Zone::Egress, &ground.spec.egress_name, None),
    ];
    spec
}

async fn status(lab: &Lab, id: &MemberId) -> MemberStatus {
    lab.backend.inspect_member(id).await.unwrap()
}

/// Mends, compares what was done, and proves that a second time finds nothing, and that nothing was restarted.
async fn mends(lab: &Lab, id: &MemberId, spec: &MemberSpec, expected: &[Repair]) {
    let before = status(lab, id).await;
    let places = || {
        let fixed = spec.endpoints.iter().filter_map(|one| Some((one.network.clone(), one.address?)));
        let mut fixed: Vec<_> = fixed.collect();
        fixed.sort();
        fixed
    };
    let wanted = if expected.is_empty() { Mended::Intact } else { Mended::Repaired(expected.to_vec()) };
    assert_eq!(lab.backend.mend_member(id, spec).await.unwrap(), wanted);
    assert_eq!(lab.backend.mend_member(id, spec).await.unwrap(), Mended::Intact);
    let mut found = lab.hand.attachments(id);
    found.retain(|(name, _)| *name != lab.egress());
    assert_eq!(found, places());
    assert_eq!(lab.hand.name_of(id), spec.name);
    let after = status(lab, id).await;
    assert_eq!((before.started_at, before.pid), (after.started_at, after.pid));
}

pub async fn a_member_as_specified_is_left_alone(lab: &Lab) {
    let ground = lab.ground("a").await;
    for spec in [sidecar(lab, &ground), gate(lab, &ground), on_int(lab, &ground, "a")] {
        let (id, _io) = lab.started(&spec).await;
        mends(lab, &id, &spec, &[]).await;
    }
    let spec = lab.member_spec("b", &["sleep", "600"]);
    let (id, _io) = lab.started(&spec).await;
    mends(lab, &id, &spec, &[]).await;
}

pub async fn a_renamed_member_gets_its_name_back(lab: &Lab) {
    let spec = lab.member_spec("a", &["sleep", "600"]);
    let (id, _io) = lab.started(&spec).await;
    lab.hand.rename(&id, &format!("{}-other", lab.run));
    let taken = lab.hand.foreign_container(&spec.name, lab.image.as_str());
    let error = lab.backend.mend_member(&id, &spec).await.unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::NameConflict);
    assert_eq!(error.subject, Subject::Container(spec.name.clone()));
    drop(taken);
    mends(lab, &id, &spec, &[Repair::Renamed]).await;
}

pub async fn a_lost_attachment_comes_back_with_its_address(lab: &Lab) {
    let ground = lab.ground("a").await;
    let spec = sidecar(lab, &ground);
    let (id, _io) = lab.started(&spec).await;
    lab.hand.disconnect(&id, Zone::Mid, &ground.spec.mid_name);
    mends(lab, &id, &spec, &[Repair::Reconnected(Zone::Mid)]).await;
    lab.hand.disconnect(&id, Zone::Int, &ground.spec.int_name);
    lab.hand.disconnect(&id, Zone::Mid, &ground.spec.mid_name);
    mends(lab, &id, &spec, &[Repair::Reconnected(Zone::Int), Repair::Reconnected(Zone::Mid)]).await;
    let spec = gate(lab, &ground);
    let (id, _io) = lab.started(&spec).await;
    lab.hand.disconnect(&id, Zone::Egress, &ground.spec.egress_name);
    mends(lab, &id, &spec, &[Repair::Reconnected(Zone::Egress)]).await;
}

pub async fn a_wrong_address_is_put_right(lab: &Lab) {
    let ground = lab.ground("a").await;
    let spec = on_int(lab, &ground, "a");
    let (id, _io) = lab.started(&spec).await;
    lab.hand.disconnect(&id, Zone::Int, &ground.spec.int_name);
    let wrong = std::net::Ipv4Addr::from(u32::from(ground.agent_int) + 1);
    lab.hand.connect(&id, &ground.spec.int_name, Some(wrong));
    mends(lab, &id, &spec, &[Repair::Reconnected(Zone::Int)]).await;
}

pub async fn a_way_around_the_gate_is_taken_off(lab: &Lab) {
    let ground = lab.ground("a").await;
    let spec = on_int(lab, &ground, "a");
    let (id, _io) = lab.started(&spec).await;
    lab.hand.connect(&id, &ground.spec.egress_name, None);
    assert_eq!(lab.hand.attachments(&id).len(), 2);
    mends(lab, &id, &spec, &[Repair::Disconnected]).await;
    assert_eq!(lab.hand.attachments(&id).len(), 1);
    // A found member is put right as well.
    lab.hand.connect(&id, &ground.spec.egress_name, None);
    assert_eq!(lab.backend.ensure_member(&spec).await.unwrap(), id);
    assert_eq!(lab.hand.attachments(&id).len(), 1);
}

pub async fn a_paused_sidecar_goes_on(lab: &Lab) {
    let ground = lab.ground("a").await;
    let spec = sidecar(lab, &ground);
    let (id, _io) = lab.started(&spec).await;
    lab.hand.disconnect(&id, Zone::Int, &ground.spec.int_name);
    lab.hand.pause(&id);
    mends(lab, &id, &spec, &[Repair::Reconnected(Zone::Int), Repair::Resumed]).await;
    assert_eq!(status(lab, &id).await.state, MemberState::Running);
}

pub async fn a_paused_agent_stays_paused_and_is_mended(lab: &Lab) {
    let ground = lab.ground("a").await;
    let spec = on_int(lab, &ground, "a");
    let (id, _io) = lab.started(&spec).await;
    lab.hand.pause(&id);
    lab.hand.disconnect(&id, Zone::Int, &ground.spec.int_name);
    lab.hand.rename(&id, &format!("{}-other", lab.run));
    mends(lab, &id, &spec, &[Repair::Reconnected(Zone::Int), Repair::Renamed]).await;
    assert_eq!(status(lab, &id).await.state, MemberState::Paused);
    // The place that was made while it was paused is a working one.
    lab.hand.unpause(&id);
    let seen = lab.finish(&id, &["ip", "-4", "addr"]).await.stdout;
    assert!(seen.contains(&format!("inet {}/", ground.agent_int)), "{seen}");
}

pub async fn mending_needs_the_ground_and_takes_the_one_made_anew(lab: &Lab) {
    let ground = lab.ground("a").await;
    let spec = sidecar(lab, &ground);
    let (id, _io) = lab.started(&spec).await;
    lab.hand.remove_network(&ground.spec.int_name);
    let error = lab.backend.mend_member(&id, &spec).await.unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::NotFound);
    assert_eq!(error.subject, Subject::Network(ground.spec.int_name.clone()));
    let mut again = ground.spec.clone();
    again.subnets = Some(ground.subnets());
    let rebuilt = lab.backend.ensure_ground(&again).await.unwrap();
    assert_eq!((rebuilt.mitmproxy_int, rebuilt.mitmproxy_mid), (ground.mitmproxy_int, ground.mitmproxy_mid));
    mends(lab, &id, &spec, &[Repair::Reconnected(Zone::Int)]).await;
}

pub async fn a_mended_member_starts_again_on_the_ground_made_anew(lab: &Lab) {
    let ground = lab.ground("a").await;
    let spec = sidecar(lab, &ground);
    let (id, _io) = lab.started(&spec).await;
    lab.hand.remove_network(&ground.spec.int_name);
    lab.hand.remove_network(&ground.spec.mid_name);
    let mut again = ground.spec.clone();
    again.subnets = Some(ground.subnets());
    lab.backend.ensure_ground(&again).await.unwrap();
    mends(lab, &id, &spec, &[Repair::Reconnected(Zone::Int), Repair::Reconnected(Zone::Mid)]).await;
    lab.hand.kill(&id);
    lab.backend.wait_member(&id).await.unwrap();
    assert_eq!(lab.backend.ensure_member(&spec).await.unwrap(), id);
    let _io = lab.backend.start_member(&id, None).await.unwrap();
    mends(lab, &id, &spec, &[]).await;
}

pub async fn what_does_not_run_is_not_mended(lab: &Lab) {
    let spec = lab.member_spec("a", &["sleep", "600"]);
    let mend = async |id: &MemberId| lab.backend.mend_member(id, &spec).await.unwrap();
    let id = lab.backend.ensure_member(&spec).await.unwrap();
    assert_eq!(mend(&id).await, Mended::NotRunning(MemberState::Created));
    lab.backend.start_member(&id, None).await.unwrap();
    lab.hand.kill(&id);
    let exit = lab.backend.wait_member(&id).await.unwrap();
    lab.hand.rename(&id, &format!("{}-other", lab.run));
    assert_eq!(mend(&id).await, Mended::NotRunning(MemberState::Exited(exit)));
    lab.hand.remove(&id);
    assert_eq!(mend(&id).await, Mended::NotRunning(MemberState::Gone));
}

pub async fn a_renamed_member_is_found_again_by_its_labels(lab: &Lab) {
    let spec = lab.member_spec("a", &["sleep", "600"]);
    let other = format!("{}-other", lab.run);
    let id = lab.backend.ensure_member(&spec).await.unwrap();
    let found = async || {
        lab.hand.rename(&id, &other);
        assert_eq!(lab.backend.ensure_member(&spec).await.unwrap(), id);
        assert_eq!(lab.hand.name_of(&id), spec.name);
        assert_eq!(lab.backend.owned(&lab.owner()).await.unwrap().len(), 1);
    };
    found().await;
    lab.backend.start_member(&id, None).await.unwrap();
    found().await;
    lab.hand.pause(&id);
    found().await;
    lab.hand.unpause(&id);
    lab.hand.kill(&id);
    lab.backend.wait_member(&id).await.unwrap();
    found().await;

    lab.hand.rename(&id, &other);
    let taken = lab.hand.foreign_container(&spec.name, lab.image.as_str());
    let error = lab.backend.ensure_member(&spec).await.unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::NameConflict);
    drop(taken);
    // One that is not what is wanted makes room, whatever it is called.
    let mut changed = spec.clone();
    changed.argv = vec!["true".into()];
    assert_ne!(lab.backend.ensure_member(&changed).await.unwrap(), id);
    assert_eq!(status(lab, &id).await.state, MemberState::Gone);
}

pub async fn a_paused_sidecar_makes_room_and_a_paused_agent_does_not(lab: &Lab) {
    let ground = lab.ground("a").await;
    for (spec, replaced) in [(sidecar(lab, &ground), true), (on_int(lab, &ground, "a"), false)] {
        let (id, _io) = lab.started(&spec).await;
        lab.hand.pause(&id);
        assert_eq!(lab.backend.ensure_member(&spec).await.unwrap(), id);
        assert_eq!(status(lab, &id).await.state, MemberState::Paused);
        let mut changed = spec.clone();
        changed.argv = vec!["sleep".into(), "601".into()];
        let answer = lab.backend.ensure_member(&changed).await;
        if replaced {
            let second = answer.unwrap();
            assert_ne!(second, id);
            lab.backend.start_member(&second, None).await.unwrap();
            assert_eq!(status(lab, &id).await.state, MemberState::Gone);
        } else {
            assert_eq!(answer.unwrap_err().kind, BackendErrorKind::Denied);
            lab.backend.stop_member(&id, Duration::ZERO).await.unwrap();
            assert!(matches!(status(lab, &id).await.state, MemberState::Exited(_)));
            assert_ne!(lab.backend.ensure_member(&changed).await.unwrap(), id);
        }
    }
}

pub async fn a_paused_member_refuses_streams(lab: &Lab) {
    let id = lab.sleeper("a").await;
    lab.hand.pause(&id);
    assert_eq!(lab.backend.attach_member(&id).await.unwrap_err().kind, BackendErrorKind::NotRunning);
    assert_eq!(lab.backend.start_member(&id, None).await.unwrap_err().kind, BackendErrorKind::NotRunning);
    lab.hand.unpause(&id);
    assert!(lab.backend.attach_member(&id).await.unwrap().found_running);
    lab.hand.pause(&id);
    lab.backend.remove_member(&id).await.unwrap();
}

pub async fn a_member_that_ended_without_its_attachment_is_made_anew(lab: &Lab) {
    let ground = lab.ground("a").await;
    let spec = on_int(lab, &ground, "a");
    let (id, _io) = lab.started(&spec).await;
    lab.hand.disconnect(&id, Zone::Int, &ground.spec.int_name);
    lab.hand.kill(&id);
    lab.backend.wait_member(&id).await.unwrap();
    let (second, _io) = lab.started(&spec).await;
    assert_ne!(second, id);
    assert_eq!(lab.hand.attachments(&second), [(ground.spec.int_name, ground.agent_int)]);
}
