//! What was typed after `larder simulate`.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use larder_simulator::{Policy, Size};

use crate::replay::AssumedArgs;
use crate::units::ByteSize;
use crate::values;

pub(crate) const EXAMPLES: &str = "\
Examples:
  larder simulate trace.oracleGeneral.zst       what larder's own policies would hit
  larder simulate trace.csv --size 1GiB,10GiB --policy lru,s3-fifo,gdsf
  larder simulate trace.csv --size 10GiB --memory 256MiB --skip-warmup 10%
  larder simulate trace.csv --format html --output report.html
  larder simulate access.log --mode http --size 1GiB,10GiB --memory 256MiB --config larder.toml
  zcat trace-*.gz | larder simulate - --format json | jq '.cells[].byte_hit_ratio'

Traces are recognised by their content, compressed with gzip or zstd or not: libCacheSim's
oracleGeneral and CSV, webcachesim's text, Tragen's; and access logs: Squid's native, Common,
Combined, with nginx's cache status or without, larder's JSON. Several are read one after
another as one. Every object is taken as cacheable and fresh, and object sizes are honoured;
with --mode http, logs go through HTTP's rules instead. What cannot be read is counted, shown
and passed over.

Policies that larder can serve with: lru, sieve, s3-fifo, w-tinylfu, gdsf. For comparison
only: fifo, clock, 2q, arc, and s3-fifo-libcachesim, w-tinylfu-libcachesim and
gdsf-libcachesim, which are as libCacheSim configures them.

docs/benchmarking.md tells how to measure your own cache, and what each figure means.";

/// `larder simulate`
#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    /// Traces or access logs to be replayed; `-` is standard input
    #[arg(value_name = "INPUT", required = true)]
    pub(crate) inputs: Vec<PathBuf>,
    /// Capacities, in bytes or as shares of the size of all objects together
    #[arg(long, value_name = "SIZE|SHARE,...", value_parser = size, value_delimiter = ',', default_value = "1%,3%,10%,30%")]
    pub(crate) size: Vec<Size>,
    /// Which object leaves
    #[arg(long, value_name = "POLICY,...", value_delimiter = ',', default_value = "lru,sieve,s3-fifo,w-tinylfu,gdsf",
          value_parser = PossibleValuesParser::new(Policy::ALL.map(Policy::name)).try_map(|name| policy(&name)),
          hide_possible_values = true)]
    pub(crate) policy: Vec<Policy>,
    /// A memory tier of this size before each cache [default: none]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<ByteSize>,
    /// Which object leaves the memory tier
    #[arg(long, value_name = "POLICY", default_value = "gdsf", requires = "memory",
          value_parser = PossibleValuesParser::new(Policy::ALL.map(Policy::name)).try_map(|name| policy(&name)),
          hide_possible_values = true)]
    pub(crate) memory_policy: Policy,
    /// Share of the requests that only fill the caches and do not count
    #[arg(long, value_name = "SHARE", value_parser = share, default_value = "0%")]
    pub(crate) skip_warmup: f64,
    /// Share of the objects that the curves are drawn from; 100% is exact, 0% draws none [default: exact if that is little work, else 6.5%]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(crate) sample: Option<f64>,
    /// What a size in a text trace counts, where it does not say [default: bytes, or what its format has]
    #[arg(long, value_name = "UNIT", value_enum)]
    pub(crate) unit: Option<Unit>,
    /// How the result is written
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
    /// Threads that replay [default: one per processor]
    #[arg(long, value_name = "N", value_parser = values::workers)]
    pub(crate) jobs: Option<usize>,
    /// Write the result into a file [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// What may be stored and reused
    #[arg(long, value_name = "MODE", value_enum, default_value_t = Mode::Objects, help_heading = "Access logs")]
    pub(crate) mode: Mode,
    /// Configuration whose policy, overrides and package rules count in http mode [default: none]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, help_heading = "Access logs")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) assumed: AssumedArgs,
}

/// What may be stored and reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Every object, for ever: as other simulators have it
    Objects,
    /// What HTTP allows: each line of a log goes through the policy that serves
    Http,
}

/// What a size counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unit {
    /// Bytes
    #[value(name = "B")]
    Bytes,
    /// 1024 bytes
    #[value(name = "KiB")]
    Kib,
}

impl Unit {
    /// How many bytes that is.
    pub(crate) const fn bytes(self) -> u64 {
        match self {
            Self::Bytes => 1,
            Self::Kib => 1024,
        }
    }
}

/// How the result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// A line for each policy and capacity
    Csv,
    /// All of it, for programs
    Json,
    /// A page with curves: one file, no network
    Html,
    /// The curves alone
    Svg,
}

fn policy(name: &str) -> Result<Policy, String> {
    Policy::from_name(name).ok_or_else(|| format!("`{name}` is no policy"))
}

/// A capacity: `10GiB`, or `0.1%` of the footprint.
fn size(text: &str) -> Result<Size, String> {
    if text.trim_end().ends_with('%') {
        return match share(text) {
            Ok(share) if share > 0.0 => Ok(Size::Share(share)),
            Ok(_) => Err("a cache of nothing has no hits; write a share from `0.001%` to `100%`".to_owned()),
            Err(why) => Err(why),
        };
    }
    match text.parse::<ByteSize>() {
        Ok(size) if size.bytes() > 0 => Ok(Size::Bytes(size.bytes())),
        Ok(_) => {
            Err("a cache of nothing has no hits; write a size like `512MiB` or a share like `10%`".to_owned())
        }
        Err(error) => Err(format!("{error}, or a share like `10%`")),
    }
}

/// `10%` or `0.5%`, as a part of one.
fn share(text: &str) -> Result<f64, String> {
    let percent = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match percent.filter(|percent| (0.0..=100.0).contains(percent)) {
        Some(percent) => Ok(percent / 100.0),
        None => Err(format!("`{text}` is no share; write one from `0%` to `100%`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacities_are_bytes_or_shares() {
        assert_eq!(size("1GiB"), Ok(Size::Bytes(1 << 30)));
        assert_eq!(size("10%"), Ok(Size::Share(0.1)));
        assert_eq!(size("0.1%"), Ok(Size::Share(0.001)));
        for text in ["0%", "101%", "-1%", "x%", "0", "10", "ten"] {
            assert!(size(text).is_err(), "{text}");
        }
        let error = size("10").unwrap_err();
        assert!(error.contains("write `10MiB`") && error.contains("or a share like `10%`"), "{error}");
        assert_eq!(share("10 %"), Ok(0.1));
    }
}
