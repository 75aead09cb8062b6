//! Java's trust store: a copy of its own with our authority added. Java's `keytool` makes it; without that there is none.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::environment::{STORE_PASSWORD, Surroundings};

/// Where Java's own roots are, below its home: since 9, and before.
const ROOTS: [&str; 2] = ["lib/security/cacerts", "jre/lib/security/cacerts"];

/// An installed Java.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Java {
    home: PathBuf,
}

/// The Java that commands would start: that of `JAVA_HOME`, else the one on the path.
pub(crate) fn find(surroundings: &Surroundings) -> Option<Java> {
    let named =
        surroundings.get("JAVA_HOME").map(PathBuf::from).filter(|home| home.join("bin/java").is_file());
    let on_path = || {
        let java = std::env::split_paths(surroundings.get("PATH")?)
            .map(|directory| directory.join("java"))
            .find(|java| java.is_file())?;
        // On the path stands a link to `bin/java` of its home.
        Some(fs::canonicalize(java).ok()?.parent()?.parent()?.to_owned())
    };
    named.or_else(on_path).map(|home| Java { home })
}

/// Makes a trust store in this directory from Java's own and the authority in a PEM file.
///
/// # Errors
///
/// Why there is none, for people.
pub(crate) fn trust_store(java: &Java, authority: &Path, directory: &Path) -> Result<PathBuf, String> {
    let keytool = java.home.join("bin/keytool");
    if !keytool.is_file() {
        return Err(format!("there is no keytool in {}", java.home.join("bin").display()));
    }
    let store = directory.join("java-trust-store");
    // A file of its own in the end, as it is renamed into place once it is whole.
    let growing = directory.join(format!("java-trust-store.{}", std::process::id()));
    let roots = ROOTS.iter().map(|roots| java.home.join(roots)).find(|roots| roots.is_file());
    let roots = roots.ok_or_else(|| format!("there are no roots in {}", java.home.display()))?;
    let bytes = fs::read(&roots).map_err(|error| format!("cannot read {}: {error}", roots.display()))?;
    fs::write(&growing, bytes).map_err(|error| format!("cannot write {}: {error}", growing.display()))?;
    let run = Command::new(&keytool)
        .args(["-importcert", "-noprompt", "-alias", "larder", "-storepass", STORE_PASSWORD, "-file"])
        .arg(authority)
        .args([OsStr::new("-keystore"), growing.as_os_str()])
        // Its own options are for the programs that it was set for.
        .env_remove("JAVA_TOOL_OPTIONS")
        .stdin(Stdio::null())
        .output();
    let failed = match run {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    };
    let made = match failed {
        None => fs::rename(&growing, &store).map_err(|error| error.to_string()),
        Some(why) => Err(why),
    };
    made.map_err(|why| {
        let _ = fs::remove_file(&growing);
        format!("keytool failed: {why}")
    })?;
    Ok(store)
}
