//! Facts are gathered read-only: an engine that answers questions only is enough for a dry run.

use async_trait::async_trait;
use bottle::backend::{
    Backend, BackendError, BackendErrorKind, BackendFacts, BackendResult, ByteStream, ExecIo, ExecSpec,
    ImageFacts, LogOptions, MemberIo, MemberStats, Mended, NewsStream, Op, Owned, OwnedBy, OwnedResource,
    Subject, streams,
};
use bottle::config::HostEnv;
use bottle::ids::{BottleId, ImageRef, MemberId, Secret};
use bottle::plan::facts::{HostFacts, ImageFact, KeyFact};
use bottle::plan::spec::{Ground, GroundSpec, MemberExit, MemberSpec, MemberStatus};

use crate::support::{config, ownership, spec};

/// Answers what a dry run may ask; anything else fails the test.
#[derive(Debug)]
struct ReadOnly;

#[async_trait]
impl Backend for ReadOnly {
    fn name(&self) -> &'static str {
        "read-only"
    }
    async fn facts(&self) -> BackendResult<BackendFacts> {
        let text = String::new;
        Ok(BackendFacts {
            version: text(),
            api_version: text(),
            runtimes: vec!["runsc".into()],
            weaknesses: vec![],
        })
    }
    async fn image(&self, reference: &ImageRef) -> BackendResult<ImageFacts> {
        if reference.as_str().contains("agent") {
            return Ok(ImageFacts { reference: reference.clone(), digest: "sha256:1".into() });
        }
        let subject = Subject::Image(reference.to_string());
        Err(BackendError::new(Op::FindImage, subject, BackendErrorKind::NotFound, "no such image"))
    }
    async fn owned(&self, _: &OwnedBy) -> BackendResult<Vec<Owned>> {
        let resource = OwnedResource::Zone { id: "z".into(), name: "claude-bottle-int-coder".into() };
        Ok(vec![Owned { ownership: ownership(), resource }])
    }
    async fn ensure_ground(&self, _: &GroundSpec) -> BackendResult<Ground> {
        panic!("a dry run creates nothing")
    }
    async fn remove_ground(&self, _: &BottleId) -> BackendResult<()> {
        panic!("a dry run removes nothing")
    }
    async fn ensure_member(&self, _: &MemberSpec) -> BackendResult<MemberId> {
        panic!("a dry run creates nothing")
    }
    async fn start_member(&self, _: &MemberId, _: Option<Secret<String>>) -> BackendResult<MemberIo> {
        panic!("a dry run starts nothing")
    }
    async fn attach_member(&self, _: &MemberId) -> BackendResult<MemberIo> {
        panic!("not asked in a dry run")
    }
    async fn inspect_member(&self, _: &MemberId) -> BackendResult<MemberStatus> {
        panic!("not asked in a dry run")
    }
    async fn wait_member(&self, _: &MemberId) -> BackendResult<MemberExit> {
        panic!("not asked in a dry run")
    }
    async fn mend_member(&self, _: &MemberId, _: &MemberSpec) -> BackendResult<Mended> {
        panic!("not asked in a dry run")
    }
    async fn watch(&self) -> BackendResult<NewsStream> {
        panic!("not asked in a dry run")
    }
    async fn stop_member(&self, _: &MemberId, _: std::time::Duration) -> BackendResult<()> {
        panic!("a dry run stops nothing")
    }
    async fn remove_member(&self, _: &MemberId) -> BackendResult<()> {
        panic!("a dry run removes nothing")
    }
    async fn exec(&self, _: &MemberId, _: ExecSpec) -> BackendResult<ExecIo> {
        panic!("a dry run runs nothing")
    }
    async fn put_archive(&self, _: &MemberId, _: &str, _: ByteStream) -> BackendResult<()> {
        panic!("a dry run copies nothing")
    }
    async fn get_archive(&self, _: &MemberId, _: &str) -> BackendResult<ByteStream> {
        panic!("not asked in a dry run")
    }
    async fn logs(&self, _: &MemberId, _: LogOptions) -> BackendResult<streams::OutputStream> {
        panic!("not asked in a dry run")
    }
    async fn stats(&self, _: &MemberId) -> BackendResult<MemberStats> {
        panic!("not asked in a dry run")
    }
    async fn remove_shared(&self, _: &str) -> BackendResult<bool> {
        panic!("a dry run removes nothing")
    }
}

#[tokio::test]
async fn facts_come_from_the_host_and_the_engine() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join(".claude/skills/review")).unwrap();
    std::fs::write(home.path().join(".claude/skills/file"), "").unwrap();
    std::fs::write(home.path().join("plain"), "no key").unwrap();
    let text = r#"{"bottles":{"b":{"ssh":[
        {"Host":"a.example","IdentityFile":"~/plain"},
        {"Host":"b.example","IdentityFile":"~/none"},
        {"Host":"c.example","IdentityFile":"~/.claude"}]}},"agents":{"x":{"bottle":"b"}}}"#;
    let vars = [("SET".to_owned(), String::new()), ("CLAUDE_BOTTLE_OAUTH_TOKEN".to_owned(), String::new())];
    let host = HostEnv::new(vars.into(), home.path(), home.path());
    let facts = HostFacts::gather(&spec(text, "x"), &config(), &host, false, &ReadOnly).await.unwrap();
    assert_eq!(facts.skills.iter().collect::<Vec<_>>(), ["review"]);
    assert_eq!(facts.keys["~/plain"], KeyFact::NotAKey);
    assert!(matches!(facts.keys["~/none"], KeyFact::Unreadable(_)));
    assert!(matches!(facts.keys["~/.claude"], KeyFact::Unreadable(_)));
    assert_eq!(facts.vars.iter().collect::<Vec<_>>(), ["SET"], "an empty token is no token");
    assert_eq!(facts.images[&ImageRef::from("bottle-pipelock:1")], ImageFact::Missing);
    assert_eq!(facts.images[&ImageRef::from("bottle-agent:1")], ImageFact::Present("sha256:1".into()));
    assert!(facts.used_slugs.contains(&"coder".into()));
    assert_eq!(facts.backend, "read-only");
}
