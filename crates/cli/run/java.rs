//! Java's trust store: a copy of its own with our authority added. Java's `keytool` makes it; without that there is none.

use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::bundle::Bundle;
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

impl Java {
    /// A trust store with Java's own roots and an authority's certificates. It is kept beside the authority, as making it
    /// takes a second, and made anew when either has changed.
    ///
    /// # Errors
    ///
    /// Why there is none, for people.
    pub(crate) fn trust_store(&self, authority: &Bundle, directory: &Path) -> Result<PathBuf, String> {
        let roots = ROOTS.iter().map(|roots| self.home.join(roots)).find(|roots| roots.is_file());
        let roots = roots.ok_or_else(|| format!("there are no roots in {}", self.home.display()))?;
        let bytes = fs::read(&roots).map_err(|error| format!("cannot read {}: {error}", roots.display()))?;
        let mut hasher = DefaultHasher::new();
        (&bytes, authority.certificates()).hash(&mut hasher);
        let store = directory.join(format!("java-trust-store-{:016x}", hasher.finish()));
        if store.is_file() {
            return Ok(store);
        }
        let making = tempfile::Builder::new().prefix("java-").tempdir_in(directory);
        let making = making.map_err(|error| format!("cannot write into {}: {error}", directory.display()))?;
        let growing = making.path().join("store");
        fs::write(&growing, bytes).map_err(|error| format!("cannot write {}: {error}", growing.display()))?;
        for (number, certificate) in authority.one_by_one().enumerate() {
            let file = making.path().join("authority.pem");
            certificate.write(&file).map_err(|error| format!("{error:#}"))?;
            self.import(&growing, &file, &format!("larder-{number}"))?;
        }
        fs::rename(&growing, &store).map_err(|error| format!("cannot write {}: {error}", store.display()))?;
        Ok(store)
    }

    fn import(&self, store: &Path, certificate: &Path, alias: &str) -> Result<(), String> {
        let keytool = self.home.join("bin/keytool");
        if !keytool.is_file() {
            return Err(format!("there is no keytool in {}", self.home.join("bin").display()));
        }
        let output = Command::new(&keytool)
            .args(["-importcert", "-noprompt", "-alias", alias, "-storepass", STORE_PASSWORD, "-file"])
            .args([certificate.as_os_str(), OsStr::new("-keystore"), store.as_os_str()])
            // These options are for the programs that they were set for.
            .env_remove("JAVA_TOOL_OPTIONS")
            .stdin(Stdio::null())
            .output();
        match output {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(format!("keytool failed: {}", String::from_utf8_lossy(&output.stdout).trim())),
            Err(error) => Err(format!("cannot run {}: {error}", keytool.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_keytool_there_is_no_trust_store_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let (home, kept) = (dir.path().join("java"), dir.path().join("ca"));
        let java = Java { home: home.clone() };
        let office = crate::golden::directory().join("office-ca.pem");
        let authority = Bundle::named(&[("PIP_CERT", office.as_os_str())].into_iter().collect());
        fs::create_dir_all(home.join("lib/security")).unwrap();
        fs::create_dir(&kept).unwrap();
        assert!(java.trust_store(&authority, &kept).unwrap_err().starts_with("there are no roots in "));
        fs::write(home.join("lib/security/cacerts"), "roots").unwrap();
        assert!(java.trust_store(&authority, &kept).unwrap_err().starts_with("there is no keytool in "));
        assert_eq!(fs::read_dir(&kept).unwrap().count(), 0);
    }

    #[test]
    fn the_java_that_java_home_names_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        fs::write(dir.path().join("bin/java"), "").unwrap();
        let home = [("JAVA_HOME", dir.path().as_os_str())].into_iter().collect();
        assert_eq!(find(&home), Some(Java { home: dir.path().to_owned() }));
        assert_eq!(find(&Surroundings::default()), None);
    }
}
