//! Runs the provisioning steps against the agent container: ca → prompt → skills → ssh → git.
//!
//! Restart type transient; owner: the bottle supervisor. One task; a failure names its step.

use std::net::Ipv4Addr;
use std::sync::Arc;

use futures::StreamExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::io::AsyncWriteExt;
use tokio_util::task::TaskTracker;

use crate::actors::bottle::phase::Step;
use crate::actors::exec::exit_code;
use crate::backend::{Backend, BackendErrorKind, BackendResult, ExecIo, ExecSpec, Output};
use crate::ids::{MemberId, Secret};
use crate::messages::{BottleMsg, StepError};
use crate::plan::members::CA_BUNDLE_PATH;
use crate::plan::provision::{self, HostFileError, WORKSPACE};
use crate::plan::spec::ExecUser;
use crate::plan::{LaunchPlan, Material};

/// Longest bundle that is read out of an image, in bytes.
const MAX_BUNDLE_BYTES: usize = 4 * 1024 * 1024;

/// What a provisioner carries in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything: the container is new.
    All,
    /// All but the working directory: the container was restarted, and what the agent made of it stays.
    Again,
}

/// What a provisioner is started with.
#[derive(Debug)]
pub struct ProvisionerArgs {
    /// Where the container lives.
    pub backend: Arc<dyn Backend>,
    /// The agent container.
    pub agent: MemberId,
    /// What to provision.
    pub plan: Arc<LaunchPlan>,
    /// Keys.
    pub material: Arc<Material>,
    /// The bottle's certificate, PEM.
    pub certificate: String,
    /// mitmproxy's address, for the SSH client.
    pub proxy: Ipv4Addr,
    /// What is carried in.
    pub scope: Scope,
    /// Who hears about it.
    pub bottle: ActorRef<BottleMsg>,
    /// Waited for by the teardown, so that no upload is under way when it lists what is left.
    pub tasks: TaskTracker,
}

/// The worker.
#[derive(Debug)]
pub struct Provisioner;

/// Its messages.
#[derive(Clone, Copy, Debug)]
pub enum ProvisionerMsg {
    /// The first message.
    Run,
}

impl Actor for Provisioner {
    type Msg = ProvisionerMsg;
    type State = Option<ProvisionerArgs>;
    type Arguments = ProvisionerArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<ProvisionerMsg>,
        args: ProvisionerArgs,
    ) -> Result<Self::State, ActorProcessingErr> {
        myself.cast(ProvisionerMsg::Run)?;
        Ok(Some(args))
    }

    async fn handle(
        &self,
        _myself: ActorRef<ProvisionerMsg>,
        message: ProvisionerMsg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ProvisionerMsg::Run => {
                if let Some(args) = state.take() {
                    args.tasks.clone().spawn(async move {
                        let outcome = provision(&args).await;
                        let _ = args.bottle.cast(BottleMsg::Provisioned(outcome));
                    });
                }
            }
        }
        Ok(())
    }
}

/// Lets a launch deadline name the step that hangs.
fn reached(args: &ProvisionerArgs, step: Step) {
    let _ = args.bottle.cast(BottleMsg::ProvisionReached(step));
}

type StepResult<T> = Result<T, (Step, StepError)>;

async fn provision(args: &ProvisionerArgs) -> StepResult<()> {
    let bundle = trust_bundle(args).await.map_err(|error| (Step::ProvisionCa, error))?;
    upload_material(args, bundle).await?;
    for entry in args.plan.ssh() {
        reached(args, Step::ProvisionSsh);
        load_key(args, &entry.identity_file).await.map_err(|error| (Step::ProvisionSsh, error))?;
    }
    if args.plan.copy_cwd() && args.scope == Scope::All {
        reached(args, Step::ProvisionGit);
        upload_workspace(args).await.map_err(|error| (Step::ProvisionGit, error))?;
    }
    Ok(())
}

/// The image's own trust bundle. An image without one gets a bundle of the bottle's certificate alone:
/// every TLS connection of the agent ends at mitmproxy.
async fn trust_bundle(args: &ProvisionerArgs) -> Result<Vec<u8>, StepError> {
    let mut stream = match args.backend.get_archive(&args.agent, CA_BUNDLE_PATH).await {
        Ok(stream) => stream,
        Err(error) if error.kind == BackendErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut packed = Vec::new();
    while let Some(chunk) = stream.next().await {
        packed.extend_from_slice(&chunk.map_err(|error| bundle_error(error.to_string()))?);
        if packed.len() > MAX_BUNDLE_BYTES {
            return Err(bundle_error(format!("larger than {MAX_BUNDLE_BYTES} bytes")));
        }
    }
    read_single_file(&packed).map_err(|error| bundle_error(error.to_string()))
}

fn bundle_error(why: String) -> StepError {
    StepError::Host(HostFileError { path: CA_BUNDLE_PATH.into(), source: std::io::Error::other(why) })
}

fn read_single_file(packed: &[u8]) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut archive = tar::Archive::new(packed);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.header().entry_type().is_file() {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            // The reader takes the end of a broken stream for the end of the file.
            if content.len() as u64 != entry.size() {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            return Ok(content);
        }
    }
    Ok(Vec::new())
}

/// Steps ca, prompt, skills and the files of ssh: one archive.
async fn upload_material(args: &ProvisionerArgs, bundle: Vec<u8>) -> StepResult<()> {
    let (plan, certificate, proxy) = (Arc::clone(&args.plan), args.certificate.clone(), args.proxy);
    let (failed_step, failing) = std::sync::mpsc::channel();
    let (archive, built) = provision::stream(move |archive| {
        let at = |step| failed_step.send(step).unwrap_or(());
        at(Step::ProvisionCa);
        provision::ca::add(archive, &certificate, &bundle)?;
        if let Some(prompt) = plan.prompt() {
            at(Step::ProvisionPrompt);
            provision::prompt::add(archive, prompt)?;
        }
        if !plan.skills().is_empty() {
            at(Step::ProvisionSkills);
            report(provision::skills::add(archive, plan.skills())?);
        }
        if !plan.ssh().is_empty() {
            at(Step::ProvisionSsh);
        }
        provision::ssh::add(archive, plan.ssh(), proxy)
    });
    let sent = args.backend.put_archive(&args.agent, "/", archive).await;
    let built = built.await;
    let step = failing.try_iter().last().unwrap_or(Step::ProvisionCa);
    uploaded(built.ok(), sent).map_err(|error| (step, error))
}

async fn upload_workspace(args: &ProvisionerArgs) -> Result<(), StepError> {
    let from = args.plan.user_cwd().to_owned();
    let (archive, built) = provision::stream(move |archive| {
        report(provision::tree::add(archive, &from, WORKSPACE.as_ref())?);
        Ok(())
    });
    let sent = args.backend.put_archive(&args.agent, "/", archive).await;
    uploaded(built.await.ok(), sent)
}

/// The cause of a failed upload: the host's error, of which the engine only saw that the stream broke;
/// unless the host only saw that the engine had stopped to read.
fn uploaded(built: Option<Result<(), HostFileError>>, sent: BackendResult<()>) -> Result<(), StepError> {
    match (built, sent) {
        (Some(Err(error)), Err(_)) if !error.is_broken_stream() => Err(error.into()),
        (_, Err(error)) => Err(error.into()),
        (Some(Err(error)), Ok(())) => Err(error.into()),
        (_, Ok(())) => Ok(()),
    }
}

fn report(skipped: Vec<provision::tree::Skipped>) {
    for one in skipped {
        tracing::warn!(path = %one.path.display(), what = one.what, "left out of the bottle");
    }
}

/// Loads one private key into root's ssh-agent, through standard input.
async fn load_key(args: &ProvisionerArgs, identity_file: &std::path::Path) -> Result<(), StepError> {
    let Some(key) = args.material.ssh_key(identity_file) else { return Ok(()) };
    let spec = ExecSpec {
        user: ExecUser::Root,
        stdin: true,
        ..ExecSpec::new(["sh", "-c", provision::ssh::LOAD_KEY_SCRIPT])
    };
    let ExecIo { stdin, mut output, control } = args.backend.exec(&args.agent, spec).await?;
    if let Some(mut sink) = stdin {
        // A key without a final newline is refused by ssh-add, so one is always there.
        let mut line = Secret::new(key.expose_secret().clone());
        if !line.expose_secret().ends_with(b"\n") {
            let mut bytes = line.expose_secret().clone();
            bytes.push(b'\n');
            line = Secret::new(bytes);
        }
        let _ = sink.write_all(line.expose_secret()).await;
        let _ = sink.shutdown().await;
    }
    let mut said = Vec::new();
    while let Some(piece) = output.next().await {
        let (Output::Stdout(bytes) | Output::Stderr(bytes) | Output::Console(bytes)) = piece?;
        said.extend_from_slice(&bytes[..bytes.len().min(2000)]);
        said.truncate(4000);
    }
    match exit_code(control.as_ref()).await? {
        0 => Ok(()),
        code => Err(StepError::Command {
            command: "load-ssh-key",
            code,
            output: String::from_utf8_lossy(&said).trim().to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;
    use crate::backend::{BackendError, Op, Subject};

    #[test]
    fn the_side_that_failed_first_is_the_cause() {
        let host = |kind: ErrorKind| Some(Err(HostFileError { path: "/skill".into(), source: kind.into() }));
        let engine = || {
            let subject = Subject::Container("coder".into());
            BackendError::new(Op::PutArchive, subject, BackendErrorKind::NoSpace, Error::other("disk full"))
        };
        let cause = |built, sent| uploaded(built, sent).unwrap_err().to_string();
        assert_eq!(cause(host(ErrorKind::PermissionDenied), Err(engine())), "read /skill");
        assert_eq!(cause(host(ErrorKind::BrokenPipe), Err(engine())), "copy into container coder");
        assert_eq!(cause(host(ErrorKind::PermissionDenied), Ok(())), "read /skill");
        assert_eq!(cause(Some(Ok(())), Err(engine())), "copy into container coder");
        assert!(uploaded(Some(Ok(())), Ok(())).is_ok());
    }
}
