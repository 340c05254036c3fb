//! `bottle setup` without the command line around it: makes the images ready and prints the report as JSON.
//!
//! `cargo run --example setup [CA_BUNDLE]`
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to its terminal")]

use std::path::PathBuf;

use bottle::backend::docker::images::{ProgressEvent, SetupProgress, SetupRequest, setup};

struct Terminal;

impl SetupProgress for Terminal {
    fn report(&self, event: ProgressEvent<'_>) {
        match event {
            ProgressEvent::Started { image, step } => eprintln!("{image}: {step}"),
            ProgressEvent::Finished { image, outcome } => eprintln!("{image}: {outcome:?}"),
            ProgressEvent::Line { image, text } => eprintln!("{image} | {text}"),
            _ => {}
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = bollard::Docker::connect_with_local_defaults()?;
    let request =
        SetupRequest { ca_bundle: std::env::args_os().nth(1).map(PathBuf::from), ..SetupRequest::default() };
    match setup(&engine, request, &Terminal).await {
        Ok(report) => println!("{}", serde_json::to_string_pretty(&report)?),
        Err(error) => {
            for line in &error.log {
                eprintln!("  | {line}");
            }
            eprintln!("remedy: {}", error.remedy());
            return Err(error.into());
        }
    }
    Ok(())
}
