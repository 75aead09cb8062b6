//! `larder`, the program: what was typed, what it means, and what is told about it.
//!
//! Arguments become settings, settings become the server's configuration and the store's options, and the
//! subcommands do the rest. `main` alone maps failures to exit codes: 0 done, 1 failed, 2 wrong usage, 78 wrong
//! configuration; `run` passes on that of its command. Nothing here knows HTTP.

mod args;
mod ca;
mod check;
mod completions;
mod convert;
mod door;
mod env;
mod explain;
mod failure;
#[cfg(test)]
mod golden;
mod hold;
mod logging;
mod ls;
mod notify;
mod output;
mod replay;
mod rm;
mod run;
mod select;
mod serve;
mod settings;
mod simulate;
mod stats;
mod sys;
mod terminal;
mod units;
mod values;
mod verify;

use std::io;
use std::process::ExitCode;

use clap::CommandFactory;

use args::{Cli, Command};
use failure::Failure;

/// A request that is forwarded makes some fifty small allocations, and a response that is stored frees them on another thread:
/// with the C library's allocator larder forwards a seventh less for each second of a processor. It takes no huge pages, with
/// which 63 MiB are resident at the start in place of 19.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;
const WRONG_CONFIGURATION: u8 = 78;

fn main() -> ExitCode {
    let line: Vec<_> = std::env::args_os().collect();
    if line.len() <= 1 {
        return finish(output::done(Cli::command().print_help()));
    }
    match args::parse(line) {
        Ok(cli) => finish(carry_out(cli.command)),
        // Help and version are errors of clap's that go to standard output and end well.
        Err(error) => match output::done(error.print()) {
            Ok(()) | Err(Failure::Unread) => {
                ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(WRONG_USAGE))
            }
            failure => finish(failure),
        },
    }
}

fn carry_out(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => serve::run(*args),
        Command::Check(args) => check::run(&args.file),
        Command::Explain(args) => explain::run(args),
        Command::Ls(args) => ls::run(args),
        Command::Rm(args) => rm::run(args),
        Command::Stats(args) => stats::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Replay(args) => replay::run(*args),
        Command::Simulate(args) => simulate::run(*args),
        Command::Ca(args) => ca::run(args.command),
        Command::Run(args) => run::run(*args),
        Command::Env(args) => env::run(args),
        Command::Hold(args) => hold::run(args),
        Command::Completions(args) => completions::run(args.shell),
    }
}

fn finish(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) | Err(Failure::Unread) => ExitCode::SUCCESS,
        Err(Failure::Command(code)) => ExitCode::from(code),
        Err(Failure::Shown) => ExitCode::from(FAILED),
        Err(Failure::Failed(error)) => {
            output::note(&format!("error: {error:#}\n"));
            ExitCode::from(FAILED)
        }
        Err(Failure::Usage(why)) => {
            output::note(&format!("error: {why}\n"));
            ExitCode::from(WRONG_USAGE)
        }
        Err(Failure::Configuration(report)) => {
            // Nobody there to read it changes nothing about the exit code.
            let _ = check::show_faults(&mut io::stderr().lock(), &report);
            ExitCode::from(WRONG_CONFIGURATION)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_exit_code() {
        assert_eq!(finish(Ok(())), ExitCode::SUCCESS);
        assert_eq!(finish(Err(Failure::Unread)), ExitCode::SUCCESS);
        assert_eq!(finish(Err(Failure::Command(143))), ExitCode::from(143));
        assert_eq!(finish(Err(Failure::Shown)), ExitCode::from(1));
        assert_eq!(finish(Err(Failure::Failed(anyhow::anyhow!("tried")))), ExitCode::from(1));
        assert_eq!(finish(Err(Failure::Usage("typed".to_owned()))), ExitCode::from(2));
        assert_eq!(finish(Err(Failure::Configuration(settings::Report::default()))), ExitCode::from(78));
    }
}
