//! Starts the stub of the Messages API in a container on the host's network, bound to the address of the shared
//! egress network: reachable from a gate, from nothing else of a bottle. Used by examples and tests.

#![cfg_attr(not(test), expect(dead_code, reason = "only tests count arrivals"))]

use std::error::Error;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters as query;
use futures::{StreamExt, TryStreamExt};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// Hosts that the stub answers for: what Claude Code talks to, and one more that no default list holds.
pub(crate) const HOSTS: [&str; 8] = [
    "api.anthropic.com",
    "statsig.anthropic.com",
    "sentry.io",
    "claude.ai",
    "platform.claude.com",
    "downloads.claude.ai",
    "raw.githubusercontent.com",
    "sink.example.net",
];

const SCRIPT: &str = include_str!("messages_stub.py");

/// A running stub. Call [`Stub::stop`]; dropping it leaves the container behind.
pub(crate) struct Stub {
    docker: Docker,
    container: String,
    /// Where it listens, port 443.
    pub(crate) address: Ipv4Addr,
    /// Its certificate authority, PEM, as a file.
    pub(crate) ca_file: PathBuf,
}

/// One request that arrived.
#[derive(Clone, Debug, serde::Deserialize)]
pub(crate) struct Arrival {
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) authorization_sha256: Option<String>,
    pub(crate) x_api_key_sha256: Option<String>,
}

impl Stub {
    /// Starts it from the mitmproxy image (which has Python) and waits until it listens.
    pub(crate) async fn start(
        image: &str,
        name: &str,
        label: (&str, &str),
        address: Ipv4Addr,
        ca_file: PathBuf,
    ) -> Result<Self, Box<dyn Error>> {
        let docker = Docker::connect_with_local_defaults()?;
        let (ca, server) = certificates()?;
        std::fs::write(&ca_file, ca)?;
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            user: Some("0:0".to_owned()),
            entrypoint: Some(vec!["/opt/venv/bin/python3".to_owned()]),
            cmd: Some(
                ["-u", "/srv/stub.py", &address.to_string(), "443", "/srv/stub.pem"]
                    .map(str::to_owned)
                    .to_vec(),
            ),
            labels: Some([(label.0.to_owned(), label.1.to_owned())].into()),
            host_config: Some(HostConfig {
                network_mode: Some("host".to_owned()),
                init: Some(true),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let options = query::CreateContainerOptionsBuilder::default().name(name).build();
        let container = docker.create_container(Some(options), body).await?.id;
        let stub = Self { docker, container, address, ca_file };
        match stub.run(&server).await {
            Ok(()) => Ok(stub),
            Err(error) => {
                stub.stop().await;
                Err(error)
            }
        }
    }

    async fn run(&self, server_pem: &str) -> Result<(), Box<dyn Error>> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, content) in [("srv/stub.py", SCRIPT), ("srv/stub.pem", server_pem)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o600);
            archive.append_data(&mut header, path, content.as_bytes())?;
        }
        let upload = query::UploadToContainerOptionsBuilder::default().path("/").build();
        let body = bollard::body_full(archive.into_inner()?.into());
        self.docker.upload_to_container(&self.container, Some(upload), body).await?;
        self.docker.start_container(&self.container, None).await?;
        let options = query::LogsOptionsBuilder::default().follow(true).stdout(true).stderr(true).build();
        let mut logs = self.docker.logs(&self.container, Some(options));
        let listening = async {
            let mut seen = String::new();
            while let Some(Ok(piece)) = logs.next().await {
                seen.push_str(&piece.to_string());
                if seen.contains("listening") {
                    return Ok(());
                }
            }
            Err(format!("the stub ended: {seen}"))
        };
        Ok(tokio::time::timeout(Duration::from_secs(30), listening).await??)
    }

    /// The requests that have arrived so far.
    pub(crate) async fn arrivals(&self) -> Result<Vec<Arrival>, Box<dyn Error>> {
        let options = query::LogsOptionsBuilder::default().stdout(true).build();
        let pieces: Vec<_> = self.docker.logs(&self.container, Some(options)).try_collect().await?;
        let text: String = pieces.iter().map(ToString::to_string).collect();
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Removes the container and its certificate file.
    pub(crate) async fn stop(&self) {
        let options = query::RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let _ = self.docker.remove_container(&self.container, Some(options)).await;
        let _ = std::fs::remove_file(&self.ca_file);
    }
}

/// A certificate authority (PEM) and a server certificate with its key (PEM).
fn certificates() -> Result<(String, String), rcgen::Error> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "stub CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let issuer = Issuer::from_params(&ca, &ca_key);
    let key = KeyPair::generate()?;
    let mut server = CertificateParams::new(HOSTS.map(str::to_owned).to_vec())?;
    server.use_authority_key_identifier_extension = true;
    let server = server.signed_by(&key, &issuer)?;
    Ok((ca.self_signed(&ca_key)?.pem(), format!("{}{}", server.pem(), key.serialize_pem())))
}
