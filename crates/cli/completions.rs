//! `larder completions`: a script that lets a shell complete the command line.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::failure::Failure;
use crate::output;

/// Runs the command.
pub(crate) fn run(shell: Shell) -> Result<(), Failure> {
    let script = script(shell);
    output::print(&String::from_utf8_lossy(&script))
}

/// Into memory first: the generator panics when it cannot write.
fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "larder", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_a_script_with_all_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let script = String::from_utf8(script(shell)).unwrap();
            for word in ["serve", "rm", "purge", "ls", "dry-run", "cache-dir", "completions"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
