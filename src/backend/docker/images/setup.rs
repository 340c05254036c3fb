//! Makes everything ready that a launch needs from the engine.

use std::path::Path;
use std::time::{Duration, Instant};

use bollard::Docker;
use serde::Serialize;

use super::{
    BuildFile, GateChoice, GateEngine, ImageName, Kind, Outcome, ProgressEvent, ReadyImage, Recipe,
    RecipeSet, SetupError, SetupErrorKind, SetupProgress, SetupRequest, Step, bootstrap,
    build::{Build, Surroundings, build},
    call::{self, call},
    certificates,
    check::engine_facts,
    helper_binary::{Helper, find_helper},
    import::{discard, import, tag},
    pipelock_reference,
    pull::pull,
    sweep::sweep,
};
use crate::ids::{ImageRef, Role};

/// What setup made ready; plain data for the configuration and for people.
#[derive(Clone, Debug, Serialize)]
pub struct SetupReport {
    /// The gate engine that was chosen.
    pub gate: GateEngine,
    /// Why the choice `auto` fell on the builtin gate; none otherwise.
    pub fallback: Option<String>,
    /// Every image, in start order of their roles; the base comes first where it was needed.
    pub images: Vec<ReadyImage>,
    /// Leftovers of earlier setups that were removed.
    pub swept: usize,
    /// Wall time of the whole setup.
    pub took: Duration,
}

impl SetupReport {
    /// The image a member of a bottle is created from.
    pub fn image(&self, role: Role) -> Option<&ReadyImage> {
        self.images.iter().find(|image| image.name.role() == Some(role))
    }

    /// Whether nothing had to be done.
    pub fn is_noop(&self) -> bool {
        self.swept == 0 && self.images.iter().all(|image| image.outcome == Outcome::Present)
    }
}

/// Facts about an image on the engine.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) id: String,
    pub(super) digest: Option<ImageRef>,
    pub(super) size_bytes: u64,
}

/// Recipes and hashes of one request: what would be built, before anything is.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) recipes: RecipeSet,
    pub(super) base: ImageRef,
    pub(super) base_hash: String,
    pub(super) agent_base: ImageRef,
}

impl Resolved {
    /// Names all images of a request. Pure but for reading the embedded recipes.
    pub(super) fn new(request: &SetupRequest) -> Result<Self, SetupError> {
        let recipes = match &request.recipes {
            Some(recipes) => recipes.clone(),
            None => RecipeSet::embedded()?,
        };
        let arguments = bootstrap::arguments(&recipes.base).join("\n");
        let base_hash = recipes.base.hash(&arguments);
        let base = request.registry.base.clone().unwrap_or_else(|| recipes.base.reference(&arguments));
        let agent_base = recipes.agent_base.reference(base.as_str());
        Ok(Self { recipes, base, base_hash, agent_base })
    }
}

/// Looks an image up; `None` where the engine has none of that name.
pub(super) async fn inspect(
    engine: &Docker,
    image: ImageName,
    reference: &ImageRef,
) -> Result<Option<Facts>, SetupError> {
    match call(Step::Inspect, image, call::SHORT, engine.inspect_image(reference.as_str())).await {
        Ok(found) => {
            let repository = reference.as_str().split('@').next().unwrap_or_default();
            let repository = match repository.rsplit_once(':') {
                Some((repository, tag)) if !tag.contains('/') => repository,
                _ => repository,
            };
            let digests = found.repo_digests.unwrap_or_default();
            let own = digests.iter().find(|digest| digest.split('@').next() == Some(repository));
            Ok(Some(Facts {
                id: found.id.unwrap_or_default(),
                digest: own.or(digests.first()).map(|digest| ImageRef::from(digest.as_str())),
                size_bytes: found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
            }))
        }
        Err(error) if error.kind == SetupErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes ready what is missing: pulls, or builds from Debian, PyPI and npm packages.
///
/// Safe to repeat: with everything in place it only looks (a few engine calls). Two setups at once do double work, no
/// harm. Dropping the future ends its build containers and child processes and leaves no unfinished image; images
/// finished before stay and are found next time. A build takes minutes at most; each call to the engine has a
/// deadline, a whole script 45 min.
///
/// # Errors
/// [`SetupError`] with step, object, cause and remedy. A failing image does not stop the others of the same run; the
/// first failure is returned.
pub async fn setup(
    engine: &Docker,
    request: SetupRequest,
    progress: &dyn SetupProgress,
) -> Result<SetupReport, SetupError> {
    let begun = Instant::now();
    // The client's own time-out counts the wait for the first byte, which a commit of a large image exceeds.
    let engine = &engine.clone().with_timeout(call::LONG);
    engine_facts(engine).await?.usable()?;
    let swept = sweep(engine).await?;
    let ca_bundle = match &request.ca_bundle {
        Some(path) => Some(certificates::read_bundle(path).await?),
        None => None,
    };
    let Resolved { recipes, base, base_hash, agent_base } = Resolved::new(&request)?;
    // Before the long builds: a missing binary should not cost minutes.
    let agent_recipe = with_init_binary(recipes.agent.clone(), &request).await?;
    let (pulled_gate, fallback) = official_gate(engine, &request, progress).await?;
    let gate_recipe = match &pulled_gate {
        Some(_) => None,
        None => Some(with_gate_binary(recipes.gate.clone(), &request).await?),
    };
    let work = Work {
        engine,
        force: request.force,
        surroundings: Surroundings {
            ca_bundle,
            env: request.build_env.clone(),
            network: request.build_network.clone(),
        },
        progress,
    };

    let missing = async |name, recipe: &Recipe, parent: &ImageRef| {
        Ok::<_, SetupError>(!work.found(name, &recipe.reference(parent.as_str())).await?)
    };
    // What only lies under others is looked for when something has to be built on it.
    let needs_agent_base = missing(ImageName::Agent, &agent_recipe, &agent_base).await?;
    let needs_base = missing(ImageName::Mitmproxy, &recipes.mitmproxy, &base).await?
        || (needs_agent_base && missing(ImageName::AgentBase, &recipes.agent_base, &base).await?);
    let gate = async {
        match (pulled_gate, &gate_recipe) {
            (Some(image), _) => Ok(Some(image)),
            (None, Some(recipe)) => work.ensure(ImageName::Gate, recipe, "", None).await.map(Some),
            (None, None) => Ok(None),
        }
    };
    let rest = async {
        let below = match &request.registry.base {
            _ if !needs_base => None,
            Some(reference) => Some(pull(engine, ImageName::Base, reference, request.force, progress).await?),
            None => Some(work.ensure_base(&recipes.base, &base, &base_hash).await?),
        };
        let below_ref = below.as_ref().map_or(&base, |image| &image.reference);
        let agent = async {
            let under = match needs_agent_base {
                true => Some(
                    work.ensure(ImageName::AgentBase, &recipes.agent_base, base.as_str(), Some(below_ref))
                        .await?,
                ),
                false => None,
            };
            let parent = agent_base.as_str();
            let agent = work.ensure(ImageName::Agent, &agent_recipe, parent, Some(&agent_base)).await?;
            Ok::<_, SetupError>((under, agent))
        };
        let (agent, mitmproxy) = tokio::join!(
            agent,
            work.ensure(ImageName::Mitmproxy, &recipes.mitmproxy, base.as_str(), Some(below_ref)),
        );
        Ok::<_, SetupError>((below, agent?, mitmproxy?))
    };
    let (gate, rest) = tokio::join!(gate, rest);
    let (below, (under, agent), mitmproxy) = rest?;
    let gate = gate?;
    let engine_kind = match &gate {
        Some(image) if image.name == ImageName::Pipelock => GateEngine::Pipelock,
        _ => GateEngine::Builtin,
    };
    let images = below.into_iter().chain(under).chain(gate).chain([mitmproxy, agent]).collect();
    Ok(SetupReport { gate: engine_kind, fallback, images, swept, took: begun.elapsed() })
}

/// The official gate image, where the request wants it and it can be had; else why not.
async fn official_gate(
    engine: &Docker,
    request: &SetupRequest,
    progress: &dyn SetupProgress,
) -> Result<(Option<ReadyImage>, Option<String>), SetupError> {
    let reference = match &request.registry.pipelock {
        Some(reference) => reference.clone(),
        None => pipelock_reference()?,
    };
    if request.gate == GateChoice::Builtin {
        return Ok((None, None));
    }
    match pull(engine, ImageName::Pipelock, &reference, request.force, progress).await {
        Ok(image) => Ok((Some(image), None)),
        Err(error) if request.gate == GateChoice::Auto && error.step == Step::Pull => {
            Ok((None, Some(error.to_string())))
        }
        Err(error) => Err(error),
    }
}

/// Binds the gate's recipe to its binary.
pub(super) async fn with_gate_binary(recipe: Recipe, request: &SetupRequest) -> Result<Recipe, SetupError> {
    let (_, bytes) = find_helper(Helper::Gate, request.gate_binary.as_deref(), None).await?;
    Ok(with_binary(recipe, bytes))
}

/// Binds the agent's recipe to its first process.
pub(super) async fn with_init_binary(recipe: Recipe, request: &SetupRequest) -> Result<Recipe, SetupError> {
    let beside = request.gate_binary.as_deref().and_then(Path::parent);
    let (_, bytes) = find_helper(Helper::Init, request.init_binary.as_deref(), beside).await?;
    Ok(with_binary(recipe, bytes))
}

fn with_binary(recipe: Recipe, bytes: Vec<u8>) -> Recipe {
    // A recipe of somebody's own may bring what it needs in another way.
    let Some(path) = &recipe.spec.binary else { return recipe };
    let path = path.trim_start_matches('/').to_owned();
    recipe.with_file(BuildFile { path, bytes: bytes.into() })
}

/// What all builds of one setup share.
struct Work<'a> {
    engine: &'a Docker,
    force: bool,
    surroundings: Surroundings,
    progress: &'a dyn SetupProgress,
}

impl Work<'_> {
    async fn ensure_base(
        &self,
        recipe: &Recipe,
        reference: &ImageRef,
        hash: &str,
    ) -> Result<ReadyImage, SetupError> {
        let begun = Instant::now();
        let found = self.found(ImageName::Base, reference).await?;
        let outcome = if found { Outcome::Present } else { Outcome::Built };
        if !found {
            bootstrap::bootstrap(self.engine, recipe, hash, reference, self.progress).await?;
        }
        self.ready(ImageName::Base, reference, outcome, begun).await
    }

    /// Looks for the recipe's tag and builds where it is missing. `parent` identifies the image below in the hash,
    /// `base` is where to find it.
    async fn ensure(
        &self,
        name: ImageName,
        recipe: &Recipe,
        parent: &str,
        base: Option<&ImageRef>,
    ) -> Result<ReadyImage, SetupError> {
        let begun = Instant::now();
        let (hash, reference) = (recipe.hash(parent), recipe.reference(parent));
        if self.found(name, &reference).await? {
            return self.ready(name, &reference, Outcome::Present, begun).await;
        }
        match (recipe.kind(), base) {
            (Kind::Container, Some(base)) => {
                let plan = Build { image: name, recipe, base, hash: &hash, reference: &reference };
                build(self.engine, &plan, &self.surroundings, self.progress).await?;
            }
            _ => self.import_binary(name, recipe, &hash, &reference).await?,
        }
        self.ready(name, &reference, Outcome::Built, begun).await
    }

    async fn import_binary(
        &self,
        name: ImageName,
        recipe: &Recipe,
        hash: &str,
        reference: &ImageRef,
    ) -> Result<(), SetupError> {
        self.progress.report(ProgressEvent::Started { image: name, step: Step::Import });
        let archive = binary_archive(recipe)
            .map_err(|error| SetupError::new(Step::Import, name, SetupErrorKind::Recipe).because(error))?;
        let body = futures::stream::once(async move { Ok(archive.into()) });
        let id = import(self.engine, name, &recipe.spec, hash, body).await?;
        if let Err(error) = tag(self.engine, name, &id, reference).await {
            discard(self.engine, &id).await;
            return Err(error);
        }
        Ok(())
    }

    async fn found(&self, name: ImageName, reference: &ImageRef) -> Result<bool, SetupError> {
        Ok(!self.force && inspect(self.engine, name, reference).await?.is_some())
    }

    async fn ready(
        &self,
        name: ImageName,
        reference: &ImageRef,
        outcome: Outcome,
        begun: Instant,
    ) -> Result<ReadyImage, SetupError> {
        let facts = inspect(self.engine, name, reference)
            .await?
            .ok_or_else(|| SetupError::new(Step::Inspect, reference, SetupErrorKind::NotFound))?;
        self.progress.report(ProgressEvent::Finished { image: name, outcome });
        Ok(ReadyImage {
            name,
            reference: reference.clone(),
            id: facts.id,
            digest: None,
            size_bytes: facts.size_bytes,
            outcome,
            took: begun.elapsed(),
        })
    }
}

/// The binary as the whole root file system.
fn binary_archive(recipe: &Recipe) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for file in &recipe.files {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.bytes.len() as u64);
        header.set_mode(0o755);
        header.set_mtime(1);
        archive.append_data(&mut header, &file.path, file.bytes.as_ref())?;
    }
    archive.into_inner()
}
