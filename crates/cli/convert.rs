//! `larder convert`: a trace or a log as a file that other simulators read.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueHint};
use larder_simulator::{ConvertError, Converted, Inputs, Target, convert};

use crate::failure::Failure;
use crate::output;

pub(crate) const EXAMPLES: &str = "\
Examples:
  larder convert access.log access.oracleGeneral
  larder convert access.log.gz trace.csv
  larder convert trace.oracleGeneral.zst - --to csv | head

The input is recognised by its content: access logs and traces as `larder simulate` reads
them, compressed with gzip or zstd or not. Of a log, GETs with content are written, each URL
as an object; objects are numbered in order of appearance. oracleGeneral and CSV say in
which record an object comes again, counted from 0, or -1, which takes eight bytes of memory
a request.";

/// `larder convert`
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// A trace or an access log
    #[arg(value_name = "IN", value_hint = ValueHint::FilePath)]
    pub(crate) from: PathBuf,
    /// The file to write; `-` is standard output
    #[arg(value_name = "OUT", value_hint = ValueHint::FilePath)]
    pub(crate) into: PathBuf,
    /// How it is written [default: by the name of OUT: `.csv` is csv, `.txt` or `.tr` webcachesim, else oracleGeneral]
    #[arg(long, value_name = "FORMAT",
          value_parser = PossibleValuesParser::new(Target::ALL.map(Target::name)).try_map(|name| target(&name)))]
    pub(crate) to: Option<Target>,
}

fn target(name: &str) -> Result<Target, String> {
    Target::ALL
        .into_iter()
        .find(|target| target.name() == name)
        .ok_or_else(|| format!("`{name}` is no format"))
}

/// Runs the command.
pub(crate) fn run(args: ConvertArgs) -> Result<(), Failure> {
    let target = args.to.unwrap_or_else(|| target_of(&args.into));
    let inputs = Inputs::open(std::slice::from_ref(&args.from), None).map_err(anyhow::Error::from)?;
    let converted = if args.into.as_os_str() == "-" {
        convert(&inputs, target, output::Out::new())
    } else {
        into_file(&inputs, target, &args.into)?
    };
    let converted = match converted {
        Err(ConvertError::Write(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            return Err(Failure::Unread);
        }
        other => other.with_context(|| format!("cannot convert {}", args.from.display()))?,
    };
    output::note(&told(&converted, target, &args.into));
    Ok(())
}

fn target_of(path: &Path) -> Target {
    match path.extension().and_then(OsStr::to_str) {
        Some("csv") => Target::Csv,
        Some("txt" | "tr") => Target::Webcachesim,
        _ => Target::OracleGeneral,
    }
}

/// Into a new file that takes its name when it is whole: half a trace looks like one.
fn into_file(
    inputs: &Inputs,
    target: Target,
    path: &Path,
) -> anyhow::Result<Result<Converted, ConvertError>> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = || format!("cannot write {}", path.display());
    // As any new file, it is for others to read as far as the umask lets them.
    let permissions = std::fs::Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new().permissions(permissions).tempfile_in(dir).with_context(failed)?;
    let converted = convert(inputs, target, file.as_file_mut());
    if converted.is_ok() {
        file.flush().with_context(failed)?;
        file.persist(path).with_context(failed)?;
    }
    Ok(converted)
}

fn told(converted: &Converted, target: Target, into: &Path) -> String {
    let Converted { requests, objects, clipped } = converted;
    let place = if into.as_os_str() == "-" { "standard output".into() } else { into.display().to_string() };
    let mut text = format!("{requests} requests for {objects} objects, as {} into {place}\n", target.name());
    if *clipped > 0 {
        text += &format!(
            "{clipped} sizes or times are more than four bytes hold, and written as 4294967295; csv has them whole\n"
        );
    }
    text
}
