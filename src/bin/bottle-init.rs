//! `bottle-init`: the first process of the agent's container as a static program. All of it is in [`bottle::init`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(bottle::init::main(std::env::args_os().skip(1)))
}
