//! What stands between a file operation and the system in tests: it counts the steps that change the directory, stops
//! or fails any of them, and writes down all of them for `power`.
//!
//! Steps are made one at a time, whichever thread makes them, so that they have an order. After a stop every
//! operation fails and nothing in the directory changes any more, as if the process were dead.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::power::{Entry, FileId, Journal};

/// A step that changes names in the directory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    Create(&'a Path),
    Rename(&'a Path, &'a Path),
    Link(&'a Path, &'a Path),
    Remove(&'a Path),
    MakeDir(&'a Path),
    RemoveDir(&'a Path),
}

/// What happens at a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// The process is dead: this step is not done, nor is anything after it.
    Stop,
    /// Of a write only so many bytes land, and then it is dead.
    Tear(u64),
    /// So many steps from this one on fail with this error; of writes so many bytes land all the same. A full disk
    /// refuses only what needs room.
    Refuse { error: Errno, times: u64, landing: u64 },
}

/// The faults of one directory and the count of its steps. It may be used by one store after another.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    steps: u64,
    reads: u64,
    fault: Option<(u64, Fault)>,
    failing_reads: Range<u64>,
    stopped: bool,
    journal: Option<Journal>,
}

impl Faults {
    /// Only counts.
    pub(crate) fn none() -> Arc<Self> {
        Arc::default()
    }

    /// Has a fault happen at the step of this number; the first is zero.
    pub(crate) fn at(step: u64, fault: Fault) -> Arc<Self> {
        let faults = Self::none();
        faults.plan(step, fault);
        faults
    }

    /// Counts and writes all steps down.
    pub(crate) fn journaling() -> Arc<Self> {
        let faults = Self::none();
        faults.state().journal = Some(Journal::default());
        faults
    }

    /// Has a fault happen at the step of this number from now on.
    pub(crate) fn plan(&self, step: u64, fault: Fault) {
        self.state().fault = Some((step, fault));
    }

    /// Has reads fail with EIO that have these numbers, opening and asking for lengths included.
    pub(crate) fn fail_reads(&self, numbers: Range<u64>) {
        self.state().failing_reads = numbers;
    }

    /// How many steps there were.
    pub(crate) fn steps(&self) -> u64 {
        self.state().steps
    }

    /// How many reads there were.
    pub(crate) fn reads(&self) -> u64 {
        self.state().reads
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Everything that was done so far, if it is written down.
    pub(crate) fn journal(&self) -> Option<Journal> {
        self.state().journal.clone()
    }

    fn read(&self) -> io::Result<()> {
        let mut state = self.state();
        let number = state.reads;
        state.reads += 1;
        if state.stopped {
            return Err(dead());
        }
        if state.failing_reads.contains(&number) { Err(Errno::IO.into()) } else { Ok(()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts a step. `Ok` when it is to be done; else the error, and how many bytes of a write land all the same.
    fn judge(&mut self, needs_room: bool) -> Result<(), (io::Error, u64)> {
        if self.stopped {
            return Err((dead(), 0));
        }
        let number = self.steps;
        self.steps += 1;
        match self.fault {
            Some((at, Fault::Stop)) if number >= at => {
                self.stopped = true;
                Err((dead(), 0))
            }
            Some((at, Fault::Tear(bytes))) if number >= at => {
                self.stopped = true;
                Err((dead(), bytes))
            }
            Some((at, Fault::Refuse { error, times, landing }))
                if (at..at + times).contains(&number) && (needs_room || error != Errno::NOSPC) =>
            {
                Err((error.into(), landing))
            }
            _ => Ok(()),
        }
    }

    fn write_down(&mut self, entry: impl FnOnce() -> Entry) {
        if let Some(journal) = &mut self.journal {
            journal.push(entry());
        }
    }
}

fn dead() -> io::Error {
    io::Error::other("the process is dead")
}

/// The operation may be done now; no other is done until this is dropped.
pub(crate) struct Passed<'a> {
    _alone: Option<MutexGuard<'a, State>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Seam(Option<Arc<Faults>>);

#[derive(Debug)]
pub(super) struct FileSeam {
    faults: Option<Arc<Faults>>,
    file: FileId,
}

impl Seam {
    pub(super) fn of(faults: Arc<Faults>) -> Self {
        Self(Some(faults))
    }

    pub(super) fn step(&self, step: Step<'_>) -> io::Result<Passed<'_>> {
        let Some(faults) = &self.0 else { return Ok(Passed { _alone: None }) };
        let mut state = faults.state();
        let needs_room =
            matches!(step, Step::Create(_) | Step::Rename(..) | Step::Link(..) | Step::MakeDir(_));
        state.judge(needs_room).map_err(|(error, _)| error)?;
        state.write_down(|| match step {
            Step::Create(path) => Entry::Create(path.to_owned()),
            Step::Rename(from, to) => Entry::Rename(from.to_owned(), to.to_owned()),
            Step::Link(from, to) => Entry::Link(from.to_owned(), to.to_owned()),
            Step::Remove(path) => Entry::Remove(path.to_owned()),
            Step::MakeDir(path) => Entry::MakeDir(path.to_owned()),
            Step::RemoveDir(path) => Entry::RemoveDir(path.to_owned()),
        });
        Ok(Passed { _alone: Some(state) })
    }

    pub(super) fn read(&self) -> io::Result<()> {
        self.0.as_deref().map_or(Ok(()), Faults::read)
    }

    pub(super) fn file(&self, path: &Path) -> FileSeam {
        let known = self.0.as_deref().and_then(|faults| faults.state().journal.as_ref()?.file(path));
        FileSeam { faults: self.0.clone(), file: known.unwrap_or_default() }
    }
}

impl FileSeam {
    pub(super) fn write(
        &self,
        file: &File,
        chunks: &[impl AsRef<[u8]>],
        offset: u64,
    ) -> io::Result<Passed<'_>> {
        let Some(faults) = &self.faults else { return Ok(Passed { _alone: None }) };
        let mut state = faults.state();
        let judged = state.judge(true);
        let mut bytes: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.as_ref()).copied().collect();
        if let Err((_, landing)) = &judged {
            bytes.truncate(usize::try_from(*landing).unwrap_or(usize::MAX));
            if !bytes.is_empty() {
                file.write_all_at(&bytes, offset)?;
            }
        }
        if !bytes.is_empty() {
            state.write_down(|| Entry::Write { file: self.file, offset, bytes });
        }
        judged.map_err(|(error, _)| error)?;
        Ok(Passed { _alone: Some(state) })
    }

    pub(super) fn set_len(&self, len: u64) -> io::Result<Passed<'_>> {
        let Some(faults) = &self.faults else { return Ok(Passed { _alone: None }) };
        let mut state = faults.state();
        state.judge(false).map_err(|(error, _)| error)?;
        state.write_down(|| Entry::SetLen { file: self.file, len });
        Ok(Passed { _alone: Some(state) })
    }

    pub(super) fn allocate(&self) -> io::Result<Passed<'_>> {
        let Some(faults) = &self.faults else { return Ok(Passed { _alone: None }) };
        let mut state = faults.state();
        state.judge(true).map_err(|(error, _)| error)?;
        Ok(Passed { _alone: Some(state) })
    }

    pub(super) fn read(&self) -> io::Result<()> {
        self.faults.as_deref().map_or(Ok(()), Faults::read)
    }
}
