//! Archives in and out.

use std::io::Read as _;

use bottle::backend::{BackendErrorKind, ByteStream};
use bytes::Bytes;
use futures::{StreamExt as _, stream};

use crate::lab::Lab;

fn tar_of(files: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, mode, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_size(content.len() as u64);
        if path.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
        }
        tar.append_data(&mut header, path, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

fn pieces(archive: Vec<u8>) -> ByteStream {
    let archive = Bytes::from(archive);
    let pieces: Vec<_> = (0..archive.len())
        .step_by(65536)
        .map(|at| Ok(archive.slice(at..archive.len().min(at + 65536))))
        .collect();
    Box::pin(stream::iter(pieces))
}

async fn collect(mut archive: ByteStream) -> Vec<(String, u32, Vec<u8>)> {
    let mut bytes = Vec::new();
    while let Some(piece) = archive.next().await {
        bytes.extend_from_slice(&piece.unwrap());
    }
    let mut found = Vec::new();
    for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().trim_end_matches('/').to_owned();
        let mode = entry.header().mode().unwrap() & 0o7777;
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        found.push((path, mode, content));
    }
    found.sort();
    found
}

pub async fn a_tree_comes_back_with_modes(lab: &Lab) {
    let id = lab.sleeper("a").await;
    let archive = tar_of(&[
        ("tree/", 0o750, b""),
        ("tree/run.sh", 0o755, b"#!/bin/sh\n"),
        ("tree/secret", 0o600, b"text"),
    ]);
    lab.backend.put_archive(&id, "/data", pieces(archive)).await.unwrap();
    let back = collect(lab.backend.get_archive(&id, "/data/tree").await.unwrap()).await;
    assert_eq!(
        back,
        vec![
            ("tree".into(), 0o750, vec![]),
            ("tree/run.sh".into(), 0o755, b"#!/bin/sh\n".to_vec()),
            ("tree/secret".into(), 0o600, b"text".to_vec()),
        ]
    );
    assert_eq!(lab.finish(&id, &["cat", "/data/tree/secret"]).await.stdout, "text");
}

pub async fn twenty_megabytes_go_in_and_out(lab: &Lab) {
    let id = lab.sleeper("a").await;
    let content: Vec<u8> = (0..20u32 << 20).map(|at| (at % 251) as u8).collect();
    lab.backend.put_archive(&id, "/data", pieces(tar_of(&[("big", 0o644, &content)]))).await.unwrap();
    let back = collect(lab.backend.get_archive(&id, "/data/big").await.unwrap()).await;
    assert!(back.len() == 1 && back[0].2 == content);
}

pub async fn a_missing_path_is_not_found(lab: &Lab) {
    let id = lab.sleeper("a").await;
    let error = lab.backend.get_archive(&id, "/no/such").await.err().unwrap();
    assert_eq!(error.kind, BackendErrorKind::NotFound);
    let archive = pieces(tar_of(&[("x", 0o644, b"x")]));
    let error = lab.backend.put_archive(&id, "/no/such", archive).await.unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::NotFound);
}

pub async fn a_created_member_takes_archives(lab: &Lab) {
    let id = lab.backend.ensure_member(&lab.member_spec("a", &["cat", "/data/x"])).await.unwrap();
    lab.backend.put_archive(&id, "/data", pieces(tar_of(&[("x", 0o644, b"before start")]))).await.unwrap();
    let mut io = lab.backend.start_member(&id, None).await.unwrap();
    assert_eq!(crate::lab::read_all(&mut io.output).await.0, "before start");
}
