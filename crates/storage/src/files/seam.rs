//! What stands between a file operation and the system: nothing.
//!
//! Tests put `files/faults.rs` in its place, which has the same interface. Everything here is empty and compiled away.

use std::fs::File;
use std::io;
use std::path::Path;

/// A step that changes names in the directory.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "only tests look at what a step is")]
pub(crate) enum Step<'a> {
    Create(&'a Path),
    Rename(&'a Path, &'a Path),
    Link(&'a Path, &'a Path),
    Remove(&'a Path),
    MakeDir(&'a Path),
    RemoveDir(&'a Path),
}

/// The operation may be done now.
#[derive(Debug)]
pub(crate) struct Passed;

#[derive(Clone, Debug, Default)]
pub(super) struct Seam;

#[derive(Debug)]
pub(super) struct FileSeam;

impl Seam {
    pub(super) fn step(&self, _: Step<'_>) -> io::Result<Passed> {
        Ok(Passed)
    }

    pub(super) fn read(&self) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn file(&self, _: &Path) -> FileSeam {
        FileSeam
    }
}

impl FileSeam {
    pub(super) fn write(&self, _: &File, _: &[impl AsRef<[u8]>], _: u64) -> io::Result<Passed> {
        Ok(Passed)
    }

    pub(super) fn set_len(&self, _: u64) -> io::Result<Passed> {
        Ok(Passed)
    }

    pub(super) fn allocate(&self) -> io::Result<Passed> {
        Ok(Passed)
    }

    pub(super) fn read(&self) -> io::Result<()> {
        Ok(())
    }
}
