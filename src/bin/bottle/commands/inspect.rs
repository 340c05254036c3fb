//! `bottle inspect`: all that the engine and this host know about bottles, as JSON. No value of an environment.

use bottle::AttachedBottle;
use bottle::audit_log::AuditLog;
use bottle::backend::{Backend, OwnedBy, OwnedResource};
use bottle::lease;
use bottle::plan::{LivingOwners, OwnerState};
use serde_json::{Value, json};

use crate::app::App;
use crate::cli::InspectArgs;
use crate::error::CliResult;
use crate::exit_code;
use crate::output::SCHEMA_VERSION;

pub(crate) async fn run(app: &App, args: InspectArgs) -> CliResult {
    let backend = app.backend().await?;
    let state_dir = &app.paths.state_dir;
    let owners =
        LivingOwners { host: lease::host_id(state_dir), alive: lease::alive(state_dir).unwrap_or_default() };
    let mut bottles = Vec::new();
    for name in &args.names {
        let found = AttachedBottle::find(backend.clone(), name).await?;
        bottles.push(describe(app, backend.as_ref(), &owners, &found).await?);
    }
    app.ui.document(&json!({ "schema_version": SCHEMA_VERSION, "bottles": bottles }))?;
    Ok(exit_code::SUCCESS)
}

async fn describe(
    app: &App,
    backend: &dyn Backend,
    owners: &LivingOwners,
    found: &AttachedBottle,
) -> CliResult<Value> {
    let bottle = found.bottle();
    let owned = backend.owned(&OwnedBy::Bottle(bottle.bottle.clone())).await?;
    let (mut members, mut networks) = (Vec::new(), Vec::new());
    for item in &owned {
        match &item.resource {
            OwnedResource::Member { id, name, role, status, created_at, .. } => {
                let seen = backend.inspect_member(id).await?;
                members.push(json!({
                    "role": role, "name": name, "id": id, "status": status, "created_at": created_at,
                    "state": seen.state, "started_at": seen.started_at, "pid": seen.pid,
                }));
            }
            OwnedResource::Zone { id, name } => networks.push(json!({ "name": name, "id": id })),
        }
    }
    let ownership = owned.first().map(|item| &item.ownership);
    let state = match ownership.map(|ownership| owners.state_of(ownership)) {
        Some(OwnerState::Alive) => "alive",
        Some(OwnerState::Dead) => "dead",
        Some(OwnerState::Unknown) | None => "unknown",
    };
    let audit = AuditLog::path(&app.paths.state_dir, &bottle.bottle);
    Ok(json!({
        "slug": bottle.slug,
        "bottle": bottle.bottle,
        "agent": bottle.agent,
        "running": bottle.running,
        "status": bottle.status,
        "created_at": bottle.created_at,
        "owner": { "id": bottle.owner, "state": state },
        "plan_hash": ownership.map(|ownership| &ownership.plan_hash),
        "generation": ownership.map(|ownership| ownership.generation),
        "detached": ownership.map(|ownership| ownership.detached),
        "members": members,
        "networks": networks,
        "audit_file": audit.exists().then(|| audit.display().to_string()),
    }))
}
