//! What settings depend on besides what was typed: the user, the platform, memory, file systems.
//!
//! One value, so that tests describe a machine instead of having one.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The platform, as far as it decides where a cache belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Platform {
    /// Caches are in `~/Library/Caches`.
    MacOs,
    /// Caches are where the XDG base directory specification puts them.
    Other,
}

/// Bytes of the file system that holds a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    /// In all.
    pub(crate) total: u64,
    /// Free for this user.
    pub(crate) available: u64,
}

impl Space {
    /// A share of all of it, in bytes.
    pub(crate) fn percent(self, percent: u8) -> u64 {
        u64::try_from(u128::from(self.total) * u128::from(percent) / 100).unwrap_or(u64::MAX)
    }
}

/// The machine that settings are for.
pub(crate) struct Machine {
    pub(crate) platform: Platform,
    pub(crate) home: Option<PathBuf>,
    pub(crate) xdg_cache_home: Option<PathBuf>,
    pub(crate) xdg_config_home: Option<PathBuf>,
    pub(crate) root: bool,
    /// Bytes of memory that this process may use, where that can be told.
    pub(crate) memory: Option<u64>,
    pub(crate) space: fn(&Path) -> Option<Space>,
    pub(crate) held: fn(&Path, u64) -> u64,
    pub(crate) read: fn(&Path) -> io::Result<Vec<u8>>,
}

impl Machine {
    /// The machine this process runs on.
    pub(crate) fn this() -> Self {
        let directory =
            |name| std::env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
        Self {
            platform: if cfg!(target_os = "macos") { Platform::MacOs } else { Platform::Other },
            home: directory("HOME"),
            xdg_cache_home: directory("XDG_CACHE_HOME"),
            xdg_config_home: directory("XDG_CONFIG_HOME"),
            root: rustix::process::geteuid().is_root(),
            memory: memory(),
            space,
            held,
            read: |path| std::fs::read(path),
        }
    }

    /// A machine that is the same wherever tests run: ann's, with 8 GiB of memory and a disk of 500 GiB. Files are
    /// those of `fixtures/config/`.
    #[cfg(test)]
    pub(crate) fn imagined() -> Self {
        Self {
            platform: Platform::Other,
            home: Some(PathBuf::from("/home/ann")),
            xdg_cache_home: None,
            xdg_config_home: None,
            root: false,
            memory: Some(8 << 30),
            space: |_| Some(Space { total: 500 << 30, available: 100 << 30 }),
            held: |_, _| 0,
            read: |path| std::fs::read(crate::golden::directory().join(path)),
        }
    }

    /// Reads a file that settings are in, or one that they name.
    pub(crate) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        (self.read)(path)
    }

    /// The file system that holds a path, or will.
    pub(crate) fn space(&self, path: &Path) -> Option<Space> {
        (self.space)(path)
    }

    /// Bytes that the files below a directory use, counted no further than `enough`.
    pub(crate) fn held(&self, path: &Path, enough: u64) -> u64 {
        (self.held)(path, enough)
    }

    /// The platform's cache directory for larder: `$XDG_CACHE_HOME/larder` where that variable is set; else
    /// `/var/cache/larder` for root and `~/.cache/larder` for anyone else. On macOS `/Library/Caches/larder` for root
    /// and `~/Library/Caches/larder` for anyone else. None without a home.
    pub(crate) fn cache_dir(&self) -> Option<PathBuf> {
        if let Some(xdg) = &self.xdg_cache_home {
            return Some(xdg.join("larder"));
        }
        let (system, user) = match self.platform {
            Platform::MacOs => ("/Library/Caches/larder", "Library/Caches/larder"),
            Platform::Other => ("/var/cache/larder", ".cache/larder"),
        };
        if self.root { Some(PathBuf::from(system)) } else { self.home.as_ref().map(|home| home.join(user)) }
    }

    /// Where the interception CA is kept: `$XDG_CONFIG_HOME/larder/ca` where that variable is set; else `/etc/larder/ca` for
    /// root, and for a service without a home, and `~/.config/larder/ca` for anyone else. On macOS
    /// `/Library/Application Support/larder/ca` and `~/Library/Application Support/larder/ca`.
    pub(crate) fn ca_dir(&self) -> PathBuf {
        if let Some(xdg) = &self.xdg_config_home {
            return xdg.join("larder/ca");
        }
        let (system, user) = match self.platform {
            Platform::MacOs => {
                ("/Library/Application Support/larder/ca", "Library/Application Support/larder/ca")
            }
            Platform::Other => ("/etc/larder/ca", ".config/larder/ca"),
        };
        match &self.home {
            Some(home) if !self.root => home.join(user),
            _ => PathBuf::from(system),
        }
    }
}

/// The file system of the nearest directory above the path that exists.
fn space(path: &Path) -> Option<Space> {
    let nearest = path.ancestors().find(|ancestor| ancestor.exists())?;
    let nearest = if nearest.as_os_str().is_empty() { Path::new(".") } else { nearest };
    let figures = rustix::fs::statvfs(nearest).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(figures.f_frsize);
    Some(Space { total: bytes(figures.f_blocks), available: bytes(figures.f_bavail) })
}

/// Allocated bytes below a directory; what cannot be read counts as nothing.
fn held(path: &Path, enough: u64) -> u64 {
    let mut total: u64 = 0;
    let mut pending = vec![path.to_owned()];
    while let Some(directory) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                pending.push(entry.path());
            }
            total = total.saturating_add(metadata.blocks().saturating_mul(512));
            if total >= enough {
                return total;
            }
        }
    }
    total
}

/// The machine's memory, or the bound of the control group this process is in, if that is less.
fn memory() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory_total(&text));
    let group =
        std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    machine.into_iter().chain(group).min()
}

fn memory_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(platform: Platform, root: bool, xdg: Option<&str>) -> Machine {
        let home = Some(PathBuf::from("/home/ann"));
        Machine { platform, home, xdg_cache_home: xdg.map(PathBuf::from), root, ..Machine::this() }
    }

    #[test]
    fn the_cache_directory_follows_the_platform() {
        let dir =
            |platform, root, xdg| machine(platform, root, xdg).cache_dir().unwrap().display().to_string();
        assert_eq!(dir(Platform::Other, false, None), "/home/ann/.cache/larder");
        assert_eq!(dir(Platform::Other, true, None), "/var/cache/larder");
        assert_eq!(dir(Platform::Other, false, Some("/fast")), "/fast/larder");
        assert_eq!(dir(Platform::Other, true, Some("/fast")), "/fast/larder");
        assert_eq!(dir(Platform::MacOs, false, None), "/home/ann/Library/Caches/larder");
        assert_eq!(dir(Platform::MacOs, true, None), "/Library/Caches/larder");
    }

    #[test]
    fn the_ca_directory_follows_the_platform() {
        let dir =
            |platform, root| Machine { platform, root, ..Machine::imagined() }.ca_dir().display().to_string();
        assert_eq!(dir(Platform::Other, false), "/home/ann/.config/larder/ca");
        assert_eq!(dir(Platform::Other, true), "/etc/larder/ca");
        assert_eq!(dir(Platform::MacOs, false), "/home/ann/Library/Application Support/larder/ca");
        assert_eq!(dir(Platform::MacOs, true), "/Library/Application Support/larder/ca");
        let service = Machine { home: None, ..Machine::imagined() };
        assert_eq!(service.ca_dir(), Path::new("/etc/larder/ca"));
        let moved = Machine { xdg_config_home: Some("/conf".into()), root: true, ..Machine::imagined() };
        assert_eq!(moved.ca_dir(), Path::new("/conf/larder/ca"));
    }

    #[test]
    fn nobody_without_a_home_has_no_cache_directory() {
        let homeless = Machine { home: None, ..machine(Platform::Other, false, None) };
        assert_eq!(homeless.cache_dir(), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(memory_total("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!(memory_total("nothing"), None);
    }

    #[test]
    fn space_is_that_of_the_nearest_directory_there_is() {
        let dir = tempfile::tempdir().unwrap();
        let found = space(&dir.path().join("not/yet/there")).unwrap();
        assert!(found.total > 0 && found.available <= found.total);
    }

    #[test]
    fn counting_what_a_directory_holds_stops_when_it_is_enough() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("deep")).unwrap();
        std::fs::write(dir.path().join("deep/file"), vec![1; 300_000]).unwrap();
        assert!(held(dir.path(), u64::MAX) >= 300_000);
        assert!(held(dir.path(), 1) >= 1);
        assert_eq!(held(&dir.path().join("absent"), u64::MAX), 0);
    }
}
