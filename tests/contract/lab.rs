//! A place to run one check in, and what is needed to describe bottles in it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bottle::backend::docker::{Address, Deadlines, DockerBackend, Surroundings, choose};
use bottle::backend::{Backend, ExecIo, ExecSpec, MemberIo, Output, OwnedBy, OwnedResource};
use bottle::ids::{BottleId, ImageRef, MemberId, OwnerId, Role, Slug};
use bottle::plan::spec::{Endpoint, Ground, GroundSpec, MemberSpec, Ownership, Resources, StdinMode, Zone};
use bottle::testing::MemoryBackend;
use futures::{FutureExt as _, StreamExt as _};
use ipnet::Ipv4Net;

use crate::hand::Hand;
use crate::line::Line;
use crate::support;

/// A backend with names, an owner and a pool of its own.
pub struct Lab {
    pub backend: Arc<dyn Backend>,
    pub run: String,
    pub pool: Ipv4Net,
    pub image: ImageRef,
    pub hand: Hand,
}

type Check<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

impl Lab {
    pub fn memory() -> Self {
        let backend = MemoryBackend::new();
        backend.forget_image(&ImageRef::from("bottle-test/absent:1"));
        Self::over(Arc::new(backend.clone()), ImageRef::from("bottle-test/busybox:1"), Hand::Memory(backend))
    }

    /// As [`Lab::memory`], and a call without an answer is given up soon.
    pub fn lossy_memory() -> Self {
        let lab = Self::memory();
        if let Hand::Memory(memory) = &lab.hand {
            memory.set_deadline(Duration::from_secs(2));
        }
        lab
    }

    /// `None` only where the real engine was opted out of.
    pub async fn docker() -> Option<Self> {
        if !support::wants_engine() {
            return None;
        }
        let backend =
            DockerBackend::connect().await.expect("a reachable engine (BOTTLE_TEST_ENGINE=none opts out)");
        let image = ImageRef::from(support::image::busybox());
        Some(Self::over(Arc::new(backend), image, Hand::Docker(None)))
    }

    /// As [`Lab::docker`], by a connection that can be cut and held up, with a quick heartbeat.
    pub async fn lossy_docker() -> Option<Self> {
        Self::docker_with(Duration::from_millis(400)).await
    }

    /// As [`Lab::docker`], by a connection that can be cut and held up.
    pub async fn docker_with(heartbeat: Duration) -> Option<Self> {
        let image = Self::docker().await?.image;
        let Ok(Address::Unix(socket)) = choose(&Surroundings::of_process()) else {
            panic!("the line of this test passes on to a socket in the file system");
        };
        let line = Arc::new(Line::to(socket));
        let deadlines = Deadlines::default().with_heartbeat(heartbeat);
        let backend = DockerBackend::connect_to(&Address::Unix(line.socket()), deadlines).await.unwrap();
        Some(Self::over(Arc::new(backend), image, Hand::Docker(Some(line))))
    }

    pub fn over(backend: Arc<dyn Backend>, image: ImageRef, hand: Hand) -> Self {
        Self { backend, run: support::unique("bottle-test"), pool: support::pool(), image, hand }
    }

    /// Runs a check, removes what it left, and proves that nothing is left, whatever the check did.
    pub async fn run(self, check: impl for<'a> FnOnce(&'a Lab) -> Check<'a>) {
        let outcome = AssertUnwindSafe(check(&self)).catch_unwind().await;
        self.teardown().await;
        let left = self.backend.owned(&self.owner()).await.unwrap();
        let shared_gone = self.backend.remove_shared(&self.egress()).await.unwrap();
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
        assert!(left.is_empty(), "left: {left:?}");
        assert!(shared_gone, "the shared zone is left");
    }

    async fn teardown(&self) {
        let owned = self.backend.owned(&self.owner()).await.unwrap();
        for entry in owned.iter().rev() {
            if let OwnedResource::Member { id, .. } = &entry.resource {
                self.backend.remove_member(id).await.unwrap();
            }
        }
        for entry in owned {
            self.backend.remove_ground(&entry.ownership.bottle).await.unwrap();
        }
    }

    pub fn owner(&self) -> OwnedBy {
        OwnedBy::Owner(OwnerId::new(self.run.clone()))
    }

    pub fn egress(&self) -> String {
        format!("{}-egress", self.run)
    }

    /// A bottle of this lab; the same name gives the same bottle.
    pub fn ownership(&self, bottle: &str) -> Ownership {
        Ownership {
            bottle: BottleId::new(format!("{}-{bottle}", self.run)),
            owner: OwnerId::new(self.run.clone()),
            slug: Slug::new(bottle),
            agent: "tester".into(),
            plan_hash: "0".repeat(64),
            generation: 1,
            host: "host".into(),
            boot: "boot".into(),
            detached: false,
        }
    }

    pub fn ground_spec(&self, bottle: &str) -> GroundSpec {
        GroundSpec {
            ownership: self.ownership(bottle),
            int_name: format!("{}-int-{bottle}", self.run),
            mid_name: format!("{}-mid-{bottle}", self.run),
            egress_name: self.egress(),
            pool: self.pool,
            subnets: None,
        }
    }

    pub async fn ground(&self, bottle: &str) -> Ground {
        self.backend.ensure_ground(&self.ground_spec(bottle)).await.unwrap()
    }

    /// A member without network that runs `argv`.
    pub fn member_spec(&self, bottle: &str, argv: &[&str]) -> MemberSpec {
        MemberSpec {
            ownership: self.ownership(bottle),
            role: Role::Agent,
            name: format!("{}-{bottle}", self.run),
            image: self.image.clone(),
            entrypoint: vec![],
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            env: BTreeMap::from([("PLAIN".to_owned(), "plain".to_owned())]),
            user: None,
            workdir: None,
            endpoints: vec![],
            resources: Resources { memory_bytes: 64 << 20, nano_cpus: None, pids: 64 },
            read_only: false,
            tmpfs: vec![],
            extra_hosts: vec![],
            resolver: false,
            stdin: StdinMode::Closed,
            init: true,
            runtime: None,
            stop_grace: Duration::from_secs(1),
        }
    }

    /// A created and started member that sleeps.
    pub async fn sleeper(&self, bottle: &str) -> MemberId {
        self.started(&self.member_spec(bottle, &["sleep", "600"])).await.0
    }

    pub async fn started(&self, spec: &MemberSpec) -> (MemberId, MemberIo) {
        let id = self.backend.ensure_member(spec).await.unwrap();
        let io = self.backend.start_member(&id, None).await.unwrap();
        (id, io)
    }

    pub async fn exec(&self, id: &MemberId, argv: &[&str]) -> ExecIo {
        self.backend.exec(id, ExecSpec::new(argv.iter().copied())).await.unwrap()
    }

    /// Runs a command to its end.
    pub async fn finish(&self, id: &MemberId, argv: &[&str]) -> Finished {
        finish(self.exec(id, argv).await).await
    }
}

/// What a command did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Finished {
    pub code: i64,
    pub stdout: String,
    pub stderr: String,
}

pub async fn finish(mut io: ExecIo) -> Finished {
    let (stdout, stderr) = read_all(&mut io.output).await;
    let control = &io.control;
    let code = support::eventually(Duration::from_secs(5), || async {
        control.exit_code().await.unwrap().ok_or("still running")
    })
    .await;
    Finished { code, stdout, stderr }
}

/// Reads to the end; a terminal's output counts as standard output.
pub async fn read_all(output: &mut bottle::backend::streams::OutputStream) -> (String, String) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let all = async {
        while let Some(piece) = output.next().await {
            match piece.unwrap() {
                Output::Stdout(bytes) | Output::Console(bytes) => stdout.extend_from_slice(&bytes),
                Output::Stderr(bytes) => stderr.extend_from_slice(&bytes),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("the output ends");
    (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Reads until the text has been seen on standard output.
pub async fn read_until(output: &mut bottle::backend::streams::OutputStream, text: &str) -> String {
    let mut seen = Vec::new();
    let all = async {
        while !String::from_utf8_lossy(&seen).contains(text) {
            match output.next().await.expect("the output goes on").unwrap() {
                Output::Stdout(bytes) | Output::Console(bytes) => seen.extend_from_slice(&bytes),
                Output::Stderr(_) => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.expect("the text comes");
    String::from_utf8(seen).unwrap()
}

pub fn endpoint(zone: Zone, network: &str, address: Option<std::net::Ipv4Addr>) -> Endpoint {
    Endpoint { zone, network: network.to_owned(), address }
}
