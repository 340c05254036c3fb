//! `bottle-gate`: the built-in gate engine as a static program. All of it is in [`bottle::gate`].

use std::process::ExitCode;
use std::time::Duration;

use bottle::gate::command;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(_) => return ExitCode::FAILURE,
    };
    let arguments = std::env::args().skip(1);
    let code = runtime.block_on(command::main(arguments, &mut std::io::stdout(), &mut std::io::stderr()));
    // A look-up or a scan that still runs on the blocking pool is of no use to anyone now.
    runtime.shutdown_timeout(Duration::from_millis(100));
    ExitCode::from(code)
}
