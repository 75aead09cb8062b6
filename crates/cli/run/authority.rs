//! The CA of runs: the user's own, made where there is none.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use larder_server::tls::{CaCertificates, CaDirectory, CaError, CaOptions};

use crate::ca::new_authority;
use crate::failure::Failure;
use crate::output;

/// Another run that makes one at this moment is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// The certificates of the CA in a directory.
pub(super) fn ensure(directory: PathBuf) -> Result<CaCertificates, Failure> {
    let directory = CaDirectory::new(directory);
    let since = Instant::now();
    loop {
        let missing = match directory.certificates() {
            Ok(certificates) => return Ok(certificates),
            Err(error @ CaError::Missing { .. }) => error,
            Err(error) => return Err(Failure::Failed(error.into())),
        };
        if since.elapsed() > PATIENCE {
            return Err(Failure::Failed(missing.into()));
        }
        let authority = new_authority(Vec::new(), CaOptions::DAYS)?;
        match directory.create(&authority) {
            Ok(()) => output::note(&format!("larder: made a CA in {}\n", directory.path().display())),
            // Another run is about to; its key comes before its certificate.
            Err(CaError::Exists { .. }) => thread::sleep(PAUSE),
            Err(CaError::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {
                thread::sleep(PAUSE);
            }
            Err(error) => return Err(Failure::Failed(error.into())),
        }
    }
}
