//! Looks whether setup has anything to do, and changes nothing.

use bollard::Docker;
use serde::Serialize;

use super::{
    GateChoice, GateEngine, ImageName, SetupError, SetupErrorKind, SetupRequest, Step,
    call::{self, call},
    pipelock_reference,
    setup::{Resolved, inspect, with_gate_binary, with_init_binary},
};
use crate::ids::ImageRef;

/// The least engine API: Docker 20.10.
const LEAST_API: (u32, u32) = (1, 41);

/// The processor the recipes are pinned for.
const ARCHITECTURE: &str = "amd64";

/// Less free disk than this, and a build from nothing may not fit.
const LEAST_FREE_BYTES: u64 = 3 << 30;

/// Who the engine is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EngineFacts {
    /// Release, for example `20.10.24`.
    pub version: String,
    /// Newest API version it speaks.
    pub api_version: String,
    /// Processor, in Go's words: `amd64`.
    pub architecture: String,
    /// Where it keeps its data, on its own host.
    pub data_dir: Option<String>,
    /// Free space there; `None` when that directory is not on this host.
    pub free_bytes: Option<u64>,
}

impl EngineFacts {
    /// Whether images can be built on it.
    pub(super) fn usable(&self) -> Result<(), SetupError> {
        let fail = |kind| Err(SetupError::new(Step::Reach, "engine", kind));
        let mut parts = self.api_version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        if (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < LEAST_API {
            return fail(SetupErrorKind::TooOld { found: self.api_version.clone(), needed: "1.41" });
        }
        if self.architecture != ARCHITECTURE {
            return fail(SetupErrorKind::Architecture {
                found: self.architecture.clone(),
                needed: ARCHITECTURE,
            });
        }
        Ok(())
    }
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Setup works, something deserves a look.
    Warning,
    /// Setup or a launch will fail.
    Problem,
}

/// One line for `doctor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What is the case.
    pub text: String,
    /// What to do about it.
    pub remedy: String,
}

/// One image a launch would use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageStatus {
    /// Which image.
    pub name: ImageName,
    /// The reference that setup would give or pull.
    pub reference: ImageRef,
    /// The engine's image id; `None` when the image is missing.
    pub id: Option<String>,
    /// The registry's digest, of pulled images.
    pub digest: Option<ImageRef>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetupCheck {
    /// The engine; `None` when it is not reachable.
    pub engine: Option<EngineFacts>,
    /// The gate engine a setup would choose without asking a registry.
    pub gate: GateEngine,
    /// Images a launch needs, present or missing.
    pub images: Vec<ImageStatus>,
    /// Everything worth a line.
    pub findings: Vec<Finding>,
}

impl SetupCheck {
    /// Whether a launch finds all its images on a usable engine.
    pub fn is_ready(&self) -> bool {
        self.engine.is_some() && self.findings.iter().all(|finding| finding.severity < Severity::Problem)
    }
}

/// Asks the engine who it is.
pub(super) async fn engine_facts(engine: &Docker) -> Result<EngineFacts, SetupError> {
    let version = call(Step::Reach, "engine", call::SHORT, engine.version()).await?;
    let info = call(Step::Reach, "engine", call::SHORT, engine.info()).await?;
    Ok(EngineFacts {
        version: version.version.unwrap_or_default(),
        api_version: version.api_version.unwrap_or_default(),
        architecture: version.arch.unwrap_or_default(),
        // A remote engine's directory may exist here too and then says nothing; its name tells the host.
        free_bytes: info
            .docker_root_dir
            .as_deref()
            .filter(|_| info.name.as_deref() == rustix::system::uname().nodename().to_str().ok())
            .and_then(|dir| rustix::fs::statvfs(dir).ok())
            .map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
        data_dir: info.docker_root_dir,
    })
}

/// Looks at the engine and the images of a request. Asks no registry, creates and removes nothing.
///
/// # Errors
/// None of what can be told as a finding; only defects of the recipes ([`SetupErrorKind::Recipe`]) and an engine that
/// stops answering half-way.
pub async fn check(engine: &Docker, request: &SetupRequest) -> Result<SetupCheck, SetupError> {
    let mut findings = Vec::new();
    let mut problem = |error: &SetupError| {
        findings.push(Finding {
            severity: Severity::Problem,
            text: error.to_string(),
            remedy: error.remedy(),
        });
    };
    let resolved = Resolved::new(request)?;
    let facts = match engine_facts(engine).await {
        Ok(facts) => facts,
        Err(error) => {
            problem(&error);
            return Ok(SetupCheck { engine: None, gate: GateEngine::Builtin, images: Vec::new(), findings });
        }
    };
    if let Err(error) = facts.usable() {
        problem(&error);
    }
    let pipelock = match &request.registry.pipelock {
        Some(reference) => reference.clone(),
        None => pipelock_reference()?,
    };
    let mut wanted = Vec::new();
    let at_hand = inspect(engine, ImageName::Pipelock, &pipelock).await?.is_some();
    let gate = match request.gate {
        GateChoice::Auto if at_hand => GateEngine::Pipelock,
        GateChoice::Pipelock => GateEngine::Pipelock,
        GateChoice::Auto | GateChoice::Builtin => GateEngine::Builtin,
    };
    match gate {
        GateEngine::Pipelock => wanted.push((ImageName::Pipelock, pipelock)),
        GateEngine::Builtin => match with_gate_binary(resolved.recipes.gate.clone(), request).await {
            Ok(recipe) => wanted.push((ImageName::Gate, recipe.reference(""))),
            Err(error) => problem(&error),
        },
    }
    wanted.push((ImageName::Mitmproxy, resolved.recipes.mitmproxy.reference(resolved.base.as_str())));
    match with_init_binary(resolved.recipes.agent.clone(), request).await {
        Ok(recipe) => wanted.push((ImageName::Agent, recipe.reference(resolved.agent_base.as_str()))),
        Err(error) => problem(&error),
    }

    let mut images = Vec::new();
    for (name, reference) in wanted {
        let found = inspect(engine, name, &reference).await?;
        if found.is_none() {
            problem(&SetupError::new(Step::Inspect, &reference, SetupErrorKind::NotFound));
        }
        let (id, digest) = found.map(|facts| (facts.id, facts.digest)).unzip();
        images.push(ImageStatus { name, reference, id, digest: digest.flatten() });
    }
    if facts.free_bytes.is_some_and(|free| free < LEAST_FREE_BYTES) {
        findings.push(Finding {
            severity: Severity::Warning,
            text: format!("less than {} GiB free in the engine's data directory", LEAST_FREE_BYTES >> 30),
            remedy: "remove images that are not used: docker image prune".to_owned(),
        });
    }
    Ok(SetupCheck { engine: Some(facts), gate, images, findings })
}
