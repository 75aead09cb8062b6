//! What was typed: the command line, its help and its examples.
//!
//! Flags hold parsed values, so that a wrong one is a usage error before anything else happens. Defaults are stated
//! in the help and applied by `settings`, which has to know whether a flag was given. Variables are not read here.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use ipnet::IpNet;
use larder_policy::TargetUri;
use larder_server::config::{AccessLogFormat, AccessLogTarget, Destination, Parent};
use larder_server::control::Sort;

use crate::ca::CaArgs;
use crate::convert::ConvertArgs;
use crate::replay::ReplayArgs;
use crate::settings::{Given, Shared};
use crate::simulate::SimulateArgs;
use crate::units::{ByteSize, DiskSize, TimeSpan};
use crate::values;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXAMPLES: &str = "\
Examples:
  larder serve                                  a proxy on 127.0.0.1:3128, no file needed
  http_proxy=http://127.0.0.1:3128 curl http://example.com/
  larder check larder.toml                      every fault of a configuration, with its line
  larder stats --watch                          what the cache is doing now
  larder ls --host example.com                  what it holds of a host
  larder explain http://example.com/            why that is, or is not, a hit
  larder run -- npm ci                          a command with a proxy of its own

`larder COMMAND --help` has more examples.
Exit codes: 0 done, 1 failed, 2 wrong usage, 78 wrong configuration; `run` has its
command's own";

const SERVE_EXAMPLES: &str = "\
Examples:
  larder serve --disk 50GiB --memory 1GiB
  larder serve --listen 0.0.0.0:3128 --allow-client 192.168.0.0/16
  larder serve --reverse http://127.0.0.1:8080 --listen 127.0.0.1:8000
  larder serve --config /etc/larder.toml --access-log -

Sizes read 512MiB, 20GiB or, for the disk, 80% (of the file system).

Every flag has a variable: LARDER_LISTEN for --listen, LARDER_CACHE_DIR for
--cache-dir. Flags win over variables, which win over the file. Several values
are separated by commas, several files in a variable by colons.

SIGTERM ends gracefully, a second one at once; SIGUSR1 reopens the logs.";

const CHECK_EXAMPLES: &str = "\
Example:
  larder check larder.toml && systemctl restart larder

Flags and variables do not count: the file is judged by itself.
Exit codes: 0 right, 78 wrong";

const LS_EXAMPLES: &str = "\
Examples:
  larder ls                                     everything, as it lies on disk
  larder ls --host '*.example.com' --larger 10MiB
  larder ls --url '**.deb' --older 30d
  larder ls --sort size --limit 20              the twenty largest
  larder ls --json | jq -r .url                 for programs, one object per line

All conditions must hold. Ages count from when a response was stored or last
validated; sizes are those of bodies. --older and --larger include what is just so
old or large; --newer and --smaller have the rest.

In a pattern * stands for anything without a slash and ** for anything. One with
:// is compared with the whole URL, one that begins with a slash with the path, any
other with host and path. The query takes part where the pattern has a ?.

A running larder is asked through its control socket; when none runs, the cache is
opened directly.";

const RM_EXAMPLES: &str = "\
Examples:
  larder rm http://example.com/logo.png         one URL, all its variants
  larder rm --host example.com                  all that came from a host
  larder rm --tag release-42                    all that carried a tag
  larder rm --url '/nightly/**' --older 7d      all that is like this, and old
  larder rm --larger 1GiB --dry-run             what would go
  larder rm --all                               everything

Conditions are those of `larder ls`, and all must hold. `larder purge` is the same
command. A running larder is asked through its control socket; when none runs, the
cache is opened directly.";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  larder explain http://example.com/logo.png
  larder explain -H 'Accept-Language: de' -H 'Accept-Encoding: gzip' http://example.com/
  larder explain --json http://example.com/ | jq -r '.answers[].decision'

Give the fields that Vary names as the client sends them: they choose the variant.
Nothing is fetched, and the request need not have been made. A running larder is
asked through its control socket; when none runs, the cache is opened directly and
judged by the configuration that --config names.
Exit codes: 0 explained, hit or not; 1 the cache could not be asked";

const STATS_EXAMPLES: &str = "\
Examples:
  larder stats                                  once, as a table
  larder stats --watch                          again each second
  larder stats --advice                         what more memory or disk, or another policy, would give
  larder stats --json | jq .                    for programs; with --watch, one line each second";

const VERIFY_EXAMPLES: &str = "\
Examples:
  larder verify                                 report what is damaged; exit code 1 if anything is
  larder verify --repair                        also remove it, and rebuild what can be rebuilt
  larder verify --json                          for programs, one object per finding, then the sum

The larder may run or not. What is found damaged is not served, repaired or not.
Exit codes: 0 all is well, or repaired; 1 something is wrong";

const CA_EXAMPLES: &str = "\
Examples:
  larder ca create                              a CA for every name
  larder ca create --only example.com           one that can sign for that domain alone
  sudo larder ca trust --ca-dir ~/.config/larder/ca    have this machine trust it
  larder ca show                                how others come to trust it

Whoever has ca.key can pose as any site towards those who trust the CA. It is for its
owner alone (mode 0600), and is neither shown nor sent nor logged.

The directory may be given by LARDER_CA_DIR. docs/ca.md tells the whole story.";

const RUN_EXAMPLES: &str = "\
Examples:
  larder run -- npm ci                          through a proxy of its own; what that saved is said at the end
  larder run --offline -- cargo build           from the store alone; lists what was missing
  larder run --record fetched.txt -- pip install -r requirements.txt

The command gets its own standard input, output and signals, and every variable by
which clients find a proxy and the certificates to trust. The first run starts a
larder that owns the cache and leaves a minute after the last one; where a larder
serves from that cache already, it is asked instead. docs/run.md has the details.
Exit codes: the command's own, 128 and the signal's number if one ended it; 127 or
126 if it could not be started; 1 if larder failed before that";

const ENV_EXAMPLES: &str = "\
Examples:
  eval \"$(larder env)\"                         for sh, bash and zsh
  larder env --format fish | source
  larder env --format powershell | Out-String | Invoke-Expression
  larder env --format github >> \"$GITHUB_ENV\"
  docker build $(larder env --format docker) .

The variables are those of `larder run`, for a larder that runs by itself: that of
the configuration, or the one that --address names.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  larder completions bash > ~/.local/share/bash-completion/completions/larder
  larder completions zsh > ~/.zfunc/_larder
  larder completions fish > ~/.config/fish/completions/larder.fish";

/// A caching HTTP proxy with an on-disk store
#[derive(Debug, Parser)]
#[command(name = "larder", version, styles = STYLES, after_help = EXAMPLES, subcommand_required = true)]
#[command(max_term_width = 110)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// One subcommand each.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the proxy
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Box<ServeArgs>),
    /// Is this configuration right? Every fault with its line and what to write instead
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Why is, or is not, this request a hit? The decision and all that led to it
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
    /// List what is stored
    #[command(after_help = LS_EXAMPLES)]
    Ls(LsArgs),
    /// Remove what is stored
    #[command(after_help = RM_EXAMPLES, visible_alias = "purge")]
    Rm(RmArgs),
    /// Show what the cache holds and how it does
    #[command(after_help = STATS_EXAMPLES)]
    Stats(StatsArgs),
    /// Prove every stored body against its digest
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArgs),
    /// What hit ratio would another size or policy give? Replay a trace and see
    #[command(after_help = crate::simulate::EXAMPLES)]
    Simulate(Box<SimulateArgs>),
    /// Replay an access log against a running proxy, and compare with the simulation
    #[command(after_help = crate::replay::EXAMPLES)]
    Replay(Box<ReplayArgs>),
    /// Write a trace or an access log in a format of other simulators
    #[command(after_help = crate::convert::EXAMPLES)]
    Convert(ConvertArgs),
    /// Make the CA that interception signs with, and have it trusted
    #[command(after_help = CA_EXAMPLES)]
    Ca(CaArgs),
    /// Run a command with every proxy and certificate variable set, and say what that saved
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<RunArgs>),
    /// Print these variables for a shell, for GitHub Actions or for docker build
    #[command(after_help = ENV_EXAMPLES)]
    Env(EnvArgs),
    /// Own the cache for `larder run`
    #[command(hide = true)]
    Hold(HoldArgs),
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArgs),
}

/// `larder serve`
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address to listen on; repeatable [default: 127.0.0.1:3128]
    #[arg(long, value_name = "ADDR", value_parser = values::address, value_delimiter = ',', help_heading = "Listening")]
    pub(crate) listen: Vec<SocketAddr>,
    /// Be a reverse proxy for this origin [default: a forward proxy]
    #[arg(long, value_name = "URL", value_parser = values::reverse_origin, help_heading = "Listening")]
    pub(crate) reverse: Option<TargetUri>,

    /// Where the cache is kept [default: larder in the platform's cache directory; /var/cache/larder for root]
    #[arg(long, value_name = "DIR", help_heading = "Cache")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// How much disk it may use, or which share of the file system [default: 10GiB, or 80% of what is free if less]
    #[arg(long, value_name = "SIZE", help_heading = "Cache")]
    pub(crate) disk: Option<DiskSize>,
    /// How much memory its hottest responses may use [default: 256MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Cache")]
    pub(crate) memory: Option<ByteSize>,

    /// Who may use the proxy besides this machine; repeatable [default: nobody]
    #[arg(long, value_name = "CIDR", value_parser = values::network, value_delimiter = ',', help_heading = "Access")]
    pub(crate) allow_client: Vec<IpNet>,
    /// Reach an address that is denied by default (loopback, link-local); repeatable [default: none]
    #[arg(long, value_name = "CIDR|HOST[:PORT]", value_parser = values::destination, value_delimiter = ',', help_heading = "Access")]
    pub(crate) allow_destination: Vec<Destination>,
    /// Ports that CONNECT may reach [default: 443]
    #[arg(long, value_name = "PORT,...", value_parser = values::port, value_delimiter = ',', help_heading = "Access")]
    pub(crate) connect_ports: Vec<u16>,

    /// Trust the certificates of this PEM file towards origins too; repeatable [default: the system's alone]
    #[arg(long, value_name = "FILE", help_heading = "Upstream")]
    pub(crate) upstream_ca: Vec<PathBuf>,
    /// Send all requests through another proxy, http://host:port [default: none]
    #[arg(long, value_name = "URL", value_parser = values::parent, help_heading = "Upstream")]
    pub(crate) parent: Option<Parent>,
    /// Answer from the cache alone, stale or not, and never contact an origin [default: no]
    #[arg(long, help_heading = "Upstream")]
    pub(crate) offline: bool,

    /// Open HTTPS connections with certificates of the own CA, so that what they carry is cached (see `larder ca`)
    #[arg(long, help_heading = "Interception")]
    pub(crate) intercept: bool,
    /// Where the CA is kept [default: larder/ca in the platform's configuration directory; /etc/larder/ca for root]
    #[arg(long, value_name = "DIR", help_heading = "Interception")]
    pub(crate) ca_dir: Option<PathBuf>,

    /// Serve the admin API, /metrics and /health here [default: no]
    #[arg(long, value_name = "ADDR", value_parser = values::address, help_heading = "Admin")]
    pub(crate) admin: Option<SocketAddr>,
    /// Token for whatever changes state or tells of requests there; every user of this machine can read a flag, so prefer LARDER_ADMIN_TOKEN
    #[arg(long, value_name = "TOKEN", value_parser = values::token, help_heading = "Admin")]
    pub(crate) admin_token: Option<String>,

    /// One line per request into a file, or `-` for standard output [default: none]
    #[arg(long, value_name = "FILE|-", value_parser = values::access_log, help_heading = "Logs")]
    pub(crate) access_log: Option<AccessLogTarget>,
    /// How these lines look [default: squid]
    #[arg(long, value_name = "FORMAT", help_heading = "Logs",
          value_parser = PossibleValuesParser::new(values::LOG_FORMATS).try_map(|text| values::log_format(&text)))]
    pub(crate) log_format: Option<AccessLogFormat>,
    /// Detail of larder's own messages: off, error, warn, info, debug, trace, or a filter [default: info]
    #[arg(long, value_name = "LEVEL", value_parser = values::log_level, help_heading = "Logs")]
    pub(crate) log_level: Option<String>,

    /// Worker threads [default: one per processor]
    #[arg(long, value_name = "N", value_parser = values::workers, help_heading = "Process")]
    pub(crate) workers: Option<usize>,
    /// Configuration file [default: none]
    #[arg(long, value_name = "FILE", help_heading = "Process")]
    pub(crate) config: Option<PathBuf>,
}

impl ServeArgs {
    /// The flags that were given, and the file.
    pub(crate) fn split(self) -> (Shared, Option<PathBuf>) {
        fn one<T>(value: Option<T>, flag: &'static str) -> Option<Given<T>> {
            value.map(|value| Given::by_flag(value, flag))
        }
        fn list<T>(values: Vec<T>, flag: &'static str) -> Option<Given<Vec<Given<T>>>> {
            let members: Vec<_> = values.into_iter().map(|value| Given::by_flag(value, flag)).collect();
            (!members.is_empty()).then(|| Given::by_flag(members, flag))
        }
        let shared = Shared {
            listen: list(self.listen, "listen"),
            reverse: one(self.reverse, "reverse"),
            cache_dir: one(self.cache_dir, "cache-dir"),
            disk: one(self.disk, "disk"),
            memory: one(self.memory, "memory"),
            allow_clients: list(self.allow_client, "allow-client"),
            allow_destinations: list(self.allow_destination, "allow-destination"),
            connect_ports: list(self.connect_ports, "connect-ports"),
            upstream_ca: list(self.upstream_ca, "upstream-ca"),
            parent: one(self.parent, "parent"),
            intercept: self.intercept.then(|| Given::by_flag(true, "intercept")),
            ca_dir: one(self.ca_dir, "ca-dir"),
            offline: one(self.offline.then_some(true), "offline"),
            admin: one(self.admin, "admin"),
            admin_token: one(self.admin_token, "admin-token"),
            access_log: one(self.access_log, "access-log"),
            log_format: one(self.log_format, "log-format"),
            log_level: one(self.log_level, "log-level"),
            workers: one(self.workers, "workers"),
        };
        (shared, self.config)
    }
}

/// `larder check`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The configuration file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// Which cache a command is about.
#[derive(Debug, Default, Args)]
pub(crate) struct StoreArgs {
    /// The cache's directory [default: that of the configuration, or of `larder serve`]
    #[arg(long, value_name = "DIR", help_heading = "Which cache")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Configuration file that names it [default: none]
    #[arg(long, value_name = "FILE", help_heading = "Which cache")]
    pub(crate) config: Option<PathBuf>,
}

impl StoreArgs {
    /// The flags that were given, and the file.
    pub(crate) fn split(self) -> (Shared, Option<PathBuf>) {
        let cache_dir = self.cache_dir.map(|dir| Given::by_flag(dir, "cache-dir"));
        (Shared { cache_dir, ..Shared::default() }, self.config)
    }
}

/// `larder explain`
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The URL, as a client asks for it
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    /// A field of the request, like curl's; repeatable
    #[arg(short = 'H', long, value_name = "FIELD: VALUE", value_parser = values::field_line)]
    pub(crate) header: Vec<String>,
    /// The method of the request
    #[arg(long, value_name = "METHOD", default_value = "GET", value_parser = ["GET", "HEAD"])]
    pub(crate) method: String,
    /// As JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// `larder ls`
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    /// In this order; url, size (largest first) or age (oldest first); needs --limit [default: as it lies on disk]
    #[arg(long, value_name = "ORDER", requires = "limit",
          value_parser = PossibleValuesParser::new(values::SORTS).try_map(|text| values::sort(&text)))]
    pub(crate) sort: Option<Sort>,
    /// At most so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// As JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// `larder rm`
#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    /// Everything
    #[arg(long, conflicts_with = "conditions")]
    pub(crate) all: bool,
    /// List what would go, and remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// Which stored responses; all that is given must hold.
#[derive(Debug, Default, Args)]
#[group(id = "conditions", multiple = true)]
pub(crate) struct SelectArgs {
    /// The URL, exactly as it was requested
    #[arg(value_name = "URL")]
    pub(crate) exact: Option<String>,
    /// From this host, or from all hosts below it (*.example.com)
    #[arg(long, value_name = "HOST", help_heading = "What")]
    pub(crate) host: Option<String>,
    /// With a URL like this
    #[arg(long, value_name = "PATTERN", help_heading = "What")]
    pub(crate) url: Option<String>,
    /// Carrying this tag (in Cache-Tag, Surrogate-Key or xkey)
    #[arg(long, value_name = "TAG", help_heading = "What")]
    pub(crate) tag: Option<String>,
    /// Stored or last validated at least so long ago
    #[arg(long, value_name = "DURATION", help_heading = "What")]
    pub(crate) older: Option<TimeSpan>,
    /// Stored or last validated less than so long ago
    #[arg(long, value_name = "DURATION", help_heading = "What")]
    pub(crate) newer: Option<TimeSpan>,
    /// With a body of at least this size
    #[arg(long, value_name = "SIZE", help_heading = "What")]
    pub(crate) larger: Option<ByteSize>,
    /// With a body of less than this size
    #[arg(long, value_name = "SIZE", help_heading = "What")]
    pub(crate) smaller: Option<ByteSize>,
}

/// `larder stats`
#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Show them again each second, until interrupted
    #[arg(long)]
    pub(crate) watch: bool,
    /// Say what more or less memory, more or less disk, or another way to evict would give
    #[arg(long, conflicts_with_all = ["watch", "json"])]
    pub(crate) advice: bool,
    /// As JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// `larder verify`
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Remove what is damaged and rebuild a lost index
    #[arg(long)]
    pub(crate) repair: bool,
    /// As JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// `larder run`
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Answer from the cache alone, stale or not, and list what was missing
    #[arg(long)]
    pub(crate) offline: bool,
    /// Write a line for each request into a file
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Send all requests through another proxy, http://host:port [default: that of https_proxy, if it is set]
    #[arg(long, value_name = "URL", value_parser = values::parent)]
    pub(crate) parent: Option<Parent>,
    /// Let HTTPS pass unopened: nothing of it is kept [default: it is opened with the own CA, made if there is none]
    #[arg(long)]
    pub(crate) no_intercept: bool,
    /// Say nothing at the end
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// How long the larder that is started stays after the last run
    #[arg(long, value_name = "DURATION", hide = true)]
    pub(crate) linger: Option<TimeSpan>,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<OsString>,
}

/// `larder env`
#[derive(Debug, Args)]
pub(crate) struct EnvArgs {
    /// For whom
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = EnvFormat::Sh)]
    pub(crate) format: EnvFormat,
    /// Address of the larder to use [default: the first forward listener of the configuration]
    #[arg(long, value_name = "ADDR", value_parser = values::address)]
    pub(crate) address: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// How variables are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EnvFormat {
    /// sh, bash, zsh: `export NAME='value'`
    Sh,
    /// fish: `set -gx NAME 'value'`
    Fish,
    /// PowerShell: `$env:NAME = 'value'`
    Powershell,
    /// GitHub Actions: `NAME=value`, for the file that GITHUB_ENV names
    Github,
    /// docker build: `--build-arg NAME=value`, for the proxy alone
    Docker,
}

/// `larder hold`
#[derive(Debug, Args)]
pub(crate) struct HoldArgs {
    /// How long it stays after the last run
    #[arg(long, value_name = "DURATION")]
    pub(crate) linger: TimeSpan,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// `larder completions`
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// Parses a command line, the program's name first.
///
/// # Errors
///
/// What clap says: help and version count as errors of a kind.
pub(crate) fn parse<T: Into<OsString> + Clone>(
    line: impl IntoIterator<Item = T>,
) -> Result<Cli, clap::Error> {
    let matches = Cli::command().try_get_matches_from(line)?;
    Cli::from_arg_matches(&matches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(flags: &str) -> Result<ServeArgs, clap::Error> {
        match parse(["larder", "serve"].into_iter().chain(flags.split_whitespace()))?.command {
            Command::Serve(args) => Ok(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_has_the_flags_that_scripts_rely_on() {
        let command = Cli::command();
        let serve = command.find_subcommand("serve").unwrap();
        let flags: Vec<_> =
            serve.get_arguments().filter_map(|arg| arg.get_long()).filter(|flag| *flag != "help").collect();
        assert_eq!(
            flags,
            [
                "listen",
                "reverse",
                "cache-dir",
                "disk",
                "memory",
                "allow-client",
                "allow-destination",
                "connect-ports",
                "upstream-ca",
                "parent",
                "offline",
                "intercept",
                "ca-dir",
                "admin",
                "admin-token",
                "access-log",
                "log-format",
                "log-level",
                "workers",
                "config",
            ]
        );
    }

    #[test]
    fn lists_may_be_repeated_or_separated_by_commas() {
        let args =
            serve("--listen 127.0.0.1:1 --listen 127.0.0.1:2,[::1]:3 --connect-ports 443,8443").unwrap();
        assert_eq!(args.listen.len(), 3);
        assert_eq!(args.connect_ports, [443, 8443]);
    }

    #[test]
    fn a_wrong_value_is_a_usage_error_with_the_remedy() {
        let error = serve("--disk 20G").unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(text.contains("--disk <SIZE>") && text.contains("write `20GiB`"), "{text}");
        assert!(serve("--log-format squd").unwrap_err().to_string().contains("squid"));
        assert!(serve("--memory 80%").unwrap_err().to_string().contains("fits the disk limit alone"));
    }

    #[test]
    fn removing_takes_conditions_or_all_under_either_name() {
        let code =
            |line: &str| parse(line.split_whitespace()).map(|_| 0).unwrap_or_else(|error| error.exit_code());
        for name in ["rm", "purge"] {
            let code = |rest: &str| code(&format!("larder {name} {rest}"));
            assert_eq!(code("http://a.example/"), 0);
            assert_eq!(code("--all --cache-dir /x"), 0);
            assert_eq!(code("--host a.example --older 1d --dry-run"), 0);
            assert_eq!(code("--all --host a.example"), 2);
            assert_eq!(code("--older 1"), 2);
        }
        assert_eq!(code("larder ls --sort size"), 2);
        assert_eq!(code("larder ls --sort size --limit 3 --larger 1MiB"), 0);
        assert_eq!(code("larder ls --limit 0"), 2);
    }

    #[test]
    fn flags_that_were_not_given_are_absent() {
        let (shared, config) = serve("").unwrap().split();
        assert_eq!((shared, config), (Shared::default(), None));
    }

    /// The help is a page to be read: reviewed as text. `LARDER_BLESS=1` writes it anew.
    #[test]
    fn help_reads_as_it_was_reviewed() {
        let mut command = Cli::command().term_width(100);
        command.build();
        let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set());
        let names = shown.map(|sub| sub.get_name().to_owned());
        let names: Vec<_> = names.filter(|name| name != "help").collect();
        let mut pages = vec![("larder".to_owned(), command.render_help().to_string())];
        for name in names {
            let sub = command.find_subcommand_mut(&name).unwrap();
            pages.push((format!("larder {name}"), sub.clone().term_width(100).render_help().to_string()));
            for below in sub.get_subcommands().filter(|below| below.get_name() != "help") {
                let page = below.clone().term_width(100).render_help().to_string();
                pages.push((format!("larder {name} {}", below.get_name()), page));
            }
        }
        let text: String = pages.iter().map(|(name, page)| format!("$ {name} --help\n{page}\n")).collect();
        crate::golden::compare("help.txt", &text);
    }
}
