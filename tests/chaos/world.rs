//! The outside world as a container on the engine's host network: one host that may be reached, and all that must
//! not be. What arrives is on files in a directory of the test.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, HostConfig, RestartPolicy, RestartPolicyNameEnum as RestartPolicyName,
};
use bollard::query_parameters as query;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::place::Place;
use crate::support::eventually;

/// On every default list.
pub const ALLOWED: &str = "api.anthropic.com";
/// On no list.
pub const FORBIDDEN: &str = "sink.example.net";
/// Matches the form of an AWS access key and belongs to nobody.
pub const FAKE_KEY: &str = "AKIAQYLPMN5HFIQR7XYA";
/// Part of whatever must not arrive.
pub const MARK: &str = "FORBIDDEN-BY-THE-TEST";
/// A port of the sink that nothing but the test's own attempts knows.
pub const SINK_PORT: u16 = 9999;

pub struct World {
    container: String,
    pub address: Ipv4Addr,
    pub ca_file: PathBuf,
    dir: PathBuf,
}

impl World {
    pub async fn start(place: &Place, image: &str, name: &str, address: Ipv4Addr, dir: &Path) -> Self {
        let (ca, server) = certificates().unwrap();
        let ca_file = dir.join("ca.pem");
        std::fs::write(&ca_file, ca).unwrap();
        std::fs::write(dir.join("server.pem"), server).unwrap();
        std::fs::write(dir.join("world.py"), include_str!("world.py")).unwrap();
        for file in ["arrivals.log", "forbidden.log"] {
            std::fs::write(dir.join(file), "").unwrap();
        }
        let address_text = address.to_string();
        let arguments = ["-u", "/w/world.py", &address_text, "/w/server.pem", "/w", MARK, FAKE_KEY];
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            user: Some("0:0".to_owned()),
            entrypoint: Some(vec!["/opt/venv/bin/python3".to_owned()]),
            cmd: Some(arguments.map(str::to_owned).to_vec()),
            labels: Some([("bottle-test".to_owned(), name.to_owned())].into()),
            host_config: Some(HostConfig {
                network_mode: Some("host".to_owned()),
                binds: Some(vec![format!("{}:/w", dir.display())]),
                // It has to be there again when the engine is.
                restart_policy: Some(RestartPolicy {
                    name: Some(RestartPolicyName::ALWAYS),
                    ..RestartPolicy::default()
                }),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let options = query::CreateContainerOptionsBuilder::default().name(name).build();
        let container = place.docker.create_container(Some(options), body).await.unwrap().id;
        place.docker.start_container(&container, None).await.unwrap();
        let world = Self { container, address, ca_file, dir: dir.to_owned() };
        eventually(Duration::from_secs(30), || async {
            let log = place.docker(&["logs", name]);
            if log.contains("listening") { Ok(()) } else { Err(log) }
        })
        .await;
        world
    }

    /// What arrived that must not: one line each.
    pub fn forbidden(&self) -> Vec<String> {
        lines(&self.dir.join("forbidden.log"))
    }

    /// The requests that arrived at the allowed host: one line each, with the body.
    pub fn arrivals(&self) -> Vec<String> {
        lines(&self.dir.join("arrivals.log"))
    }

    /// Forgets what a control has left.
    pub fn forget(&self) {
        // The writer appends: it goes on at the new end.
        for file in ["arrivals.log", "forbidden.log"] {
            std::fs::File::options().write(true).open(self.dir.join(file)).unwrap().set_len(0).unwrap();
        }
    }

    pub async fn stop(&self, place: &Place) {
        let options = query::RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let _ = place.docker.remove_container(&self.container, Some(options)).await;
    }
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

/// A certificate authority (PEM) and a server certificate with its key (PEM).
fn certificates() -> Result<(String, String), rcgen::Error> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "world CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let issuer = Issuer::from_params(&ca, &ca_key);
    let key = KeyPair::generate()?;
    let mut server = CertificateParams::new([ALLOWED, FORBIDDEN].map(str::to_owned).to_vec())?;
    server.use_authority_key_identifier_extension = true;
    let server = server.signed_by(&key, &issuer)?;
    Ok((ca.self_signed(&ca_key)?.pem(), format!("{}{}", server.pem(), key.serialize_pem())))
}
