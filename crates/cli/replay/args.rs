//! What was typed after `larder replay`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::units::{ByteSize, TimeSpan};
use crate::values;

pub(crate) const EXAMPLES: &str = "\
Examples:
  larder serve --allow-destination 127.0.0.1:3180 &
  larder replay access.log --proxy http://127.0.0.1:3128 --speed 60x

  larder serve --listen 127.0.0.1:8000 --reverse http://127.0.0.1:3180 --allow-destination 127.0.0.1:3180 &
  larder replay access.log --proxy http://127.0.0.1:8000 --reverse --speed 60x

  larder serve --parent http://127.0.0.1:3180 --allow-destination 127.0.0.1:3180 &
  larder replay access.log --proxy http://127.0.0.1:3128 --parent --speed max --limit 100000

The origin of everything is a stub that this command starts (--origin). A forward proxy is
asked for http://127.0.0.1:3180/SITE/PATH; with --parent for the log's own URLs, which the
proxy has to ask of the stub as its parent; with --reverse for the path, with the log's
Host. What was https in the log is asked for without TLS, as SITE:443.

Lifetimes are divided by the speed, and are whole seconds of at least 1: at 60x an hour is
a minute, and half a minute is 1 s. `max` waits for nothing, with the lifetimes of 1x.
The proxy should be empty at the start. docs/replay.md tells the rest.
Exit codes: 0 replayed, 1 the proxy could not be asked";

/// `larder replay`
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// An access log, as `larder simulate` reads them
    #[arg(value_name = "LOG", value_hint = ValueHint::FilePath)]
    pub(crate) log: PathBuf,
    /// The proxy to be asked
    #[arg(long, value_name = "URL", value_parser = proxy)]
    pub(crate) proxy: SocketAddr,
    /// How much faster than the log: `10x`, `0.5x`, or `max`
    #[arg(long, value_name = "SPEED", value_parser = speed, default_value = "1x")]
    pub(crate) speed: Speed,
    /// Most requests at a time, a connection each
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) concurrency: u16,
    /// Where the stub listens for the proxy
    #[arg(long, value_name = "ADDR", value_parser = values::address, default_value = "127.0.0.1:3180")]
    pub(crate) origin: SocketAddr,
    /// The proxy is a reverse one, before the stub
    #[arg(long, conflicts_with = "parent")]
    pub(crate) reverse: bool,
    /// The proxy asks the stub as its parent
    #[arg(long)]
    pub(crate) parent: bool,
    /// Only the first so many requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// As JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
    #[command(flatten)]
    pub(crate) assumed: AssumedArgs,
}

/// The cache that is simulated.
#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    /// Configuration whose policy, overrides, package rules and sizes are simulated [default: none]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "The simulated cache")]
    pub(crate) config: Option<PathBuf>,
    /// Its disk tier [default: that of the configuration, or 10GiB]
    #[arg(long, value_name = "SIZE", help_heading = "The simulated cache")]
    pub(crate) disk: Option<ByteSize>,
    /// Its memory tier [default: that of the configuration, or 256MiB]
    #[arg(long, value_name = "SIZE", help_heading = "The simulated cache")]
    pub(crate) memory: Option<ByteSize>,
}

/// What is taken for granted where a log does not tell.
#[derive(Debug, Clone, Args)]
pub(crate) struct AssumedArgs {
    /// How long a response is fresh of which the log does not tell
    #[arg(long, value_name = "TIME", default_value = "1d", help_heading = "Where the log does not tell")]
    pub(crate) assume_lifetime: TimeSpan,
    /// Such responses have no validator, and cannot be revalidated
    #[arg(long, help_heading = "Where the log does not tell")]
    pub(crate) assume_no_validator: bool,
    /// The site of a log that has only paths
    #[arg(long, value_name = "HOST", default_value = "site.invalid", value_parser = site, help_heading = "Where the log does not tell")]
    pub(crate) site: String,
}

impl AssumedArgs {
    /// The same for the simulator.
    pub(crate) fn assumptions(&self) -> larder_simulator::http::Assumptions {
        larder_simulator::http::Assumptions {
            lifetime: self.assume_lifetime.duration(),
            validator: !self.assume_no_validator,
            site: self.site.clone(),
        }
    }
}

/// How fast a log is replayed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Speed {
    /// So many times as fast.
    Times(f64),
    /// As fast as the proxy answers.
    Max,
}

/// The fastest that has a number: at more every lifetime is the least that there is.
const SPEED_MAX: f64 = 100_000.0;

fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    let times = text.strip_suffix(['x', 'X']).and_then(|times| times.trim().parse::<f64>().ok());
    times.filter(|times| (0.001..=SPEED_MAX).contains(times)).map(Speed::Times).ok_or_else(|| {
        format!("`{text}` is no speed; write one like `10x`, from `0.001x` to `100000x`, or `max`")
    })
}

fn proxy(text: &str) -> Result<SocketAddr, String> {
    let authority = text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let Some(authority) = authority else {
        return Err("write the proxy like `http://127.0.0.1:3128`; over TLS none can be asked".to_owned());
    };
    let address = std::net::ToSocketAddrs::to_socket_addrs(authority).ok().and_then(|mut all| all.next());
    address.ok_or_else(|| {
        format!("`{authority}` is no address and port; write one like `http://127.0.0.1:3128`")
    })
}

fn site(text: &str) -> Result<String, String> {
    let target = larder_policy::TargetUri::from_parts(larder_policy::Scheme::Http, text.as_bytes(), b"/");
    target
        .map(|target| target.authority().to_owned())
        .map_err(|_| format!("`{text}` is no host; write one like `www.example.com`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_times_or_max() {
        assert_eq!(speed("10x"), Ok(Speed::Times(10.0)));
        assert_eq!(speed("0.5x"), Ok(Speed::Times(0.5)));
        assert_eq!(speed("max"), Ok(Speed::Max));
        for text in ["10", "x", "0x", "-1x", "NaNx", "infx", "1e9x"] {
            assert!(speed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn proxies_are_plain_addresses() {
        assert_eq!(proxy("http://127.0.0.1:3128/"), Ok("127.0.0.1:3128".parse().unwrap()));
        for text in ["127.0.0.1:3128", "https://127.0.0.1:1", "http://127.0.0.1", "http://"] {
            assert!(proxy(text).is_err(), "{text}");
        }
    }
}
