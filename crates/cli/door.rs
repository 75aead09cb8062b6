//! The way to a store that may be in use: through the control socket of the process that owns the directory, or by
//! opening it when nobody does. Which of the two it was is always said.

use anyhow::Context;
use larder_server::control::{Client, ClientError};
use larder_storage::{OpenError, Store};
use tokio::runtime::Runtime;

use crate::args::StoreArgs;
use crate::failure::Failure;
use crate::output;
use crate::settings::{self, Machine, Settings, Sources, StoreSettings, Variables};

/// More disk than there is, in bytes.
const BOUNDLESS: u64 = 1 << 60;

/// A store to ask something.
pub(crate) enum Door {
    /// Another process owns the directory.
    Running(Client),
    /// Nobody did; now this process does.
    Alone(Alone),
}

/// A store that this process opened, and what runs it.
pub(crate) struct Alone {
    store: Store,
    runtime: Runtime,
}

/// Where the store is, by flags, variables and the file.
pub(crate) fn locate(args: StoreArgs) -> Result<StoreSettings, Failure> {
    Ok(settings(args)?.store)
}

/// Likewise, and how a larder with these settings judges requests.
pub(crate) fn settings(args: StoreArgs) -> Result<Settings, Failure> {
    let (flags, file) = args.split();
    let sources = Sources { file, variables: Variables::of_process(), flags };
    settings::for_store(sources, &Machine::this()).map_err(Failure::Configuration)
}

/// Goes to a store, and says how.
pub(crate) fn open(settings: &StoreSettings) -> Result<Door, Failure> {
    let dir = settings.options.dir.display();
    if let Some(client) = running(settings)? {
        output::note(&format!("asking the larder that runs on {dir}\n"));
        return Ok(Door::Running(client));
    }
    // Opening would make an empty cache, and its figures would look like an answer.
    if !settings.options.dir.is_dir() {
        return Err(anyhow::anyhow!(
            "there is no cache at {dir}; name the right directory with `--cache-dir DIR` or `--config FILE`"
        )
        .into());
    }
    let alone = Alone::open(settings)?;
    output::note(&format!("no larder runs on {dir}; opened the cache directly\n"));
    Ok(Door::Alone(alone))
}

/// The larder that runs on the directory, if one does.
pub(crate) fn running(settings: &StoreSettings) -> Result<Option<Client>, Failure> {
    Client::connect(&settings.options.dir).map_err(refused)
}

/// What a running larder did not do, in the user's terms.
pub(crate) fn refused(error: ClientError) -> Failure {
    let denied = matches!(&error, ClientError::Connect { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied);
    let error = anyhow::Error::new(error);
    Failure::Failed(if denied {
        error.context("only the user that runs larder may ask it; try again as that user")
    } else {
        error
    })
}

/// Why a store cannot be opened, in the user's terms.
pub(crate) fn cannot_open(error: OpenError) -> anyhow::Error {
    let advice = match &error {
        OpenError::Io { source, .. } => match source.kind() {
            std::io::ErrorKind::PermissionDenied => {
                Some("run larder as the user that owns it, or choose another with `--cache-dir DIR`")
            }
            std::io::ErrorKind::StorageFull => {
                Some("make room on its file system, or choose another with `--cache-dir DIR`")
            }
            std::io::ErrorKind::ReadOnlyFilesystem => {
                Some("its file system is read-only; choose another with `--cache-dir DIR`")
            }
            _ => Some("put that right, or choose another with `--cache-dir DIR`"),
        },
        OpenError::Locked { .. } => Some(
            "choose another with `--cache-dir DIR`, or ask the larder that has it (one that `larder run` left behind ends by itself within a minute)",
        ),
        // The others say themselves how to go on.
        _ => None,
    };
    let error = anyhow::Error::new(error);
    match advice {
        Some(advice) => error.context(format!("cannot use the cache directory; {advice}")),
        None => error,
    }
}

impl Alone {
    fn open(settings: &StoreSettings) -> anyhow::Result<Self> {
        // Whoever only asks makes no store.
        let dir = &settings.options.dir;
        let empty = std::fs::read_dir(dir).map_or_else(
            |error| error.kind() == std::io::ErrorKind::NotFound,
            |mut entries| entries.next().is_none(),
        );
        if empty {
            anyhow::bail!(
                "there is no cache at {}; choose another directory with `--cache-dir DIR`",
                dir.display()
            );
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start a runtime")?;
        let store = {
            let _inside = runtime.enter();
            // The larder that made it may have had another limit, and a question must not evict anything.
            let mut options = settings.options.clone();
            options.disk_limit = BOUNDLESS;
            options.max_objects = None;
            options.keep_free = Some(0);
            options.scrub_rate = 0;
            match Store::open(options) {
                Err(error @ OpenError::Locked { .. }) => {
                    return Err(anyhow::Error::new(error).context("it does not answer on its control socket"));
                }
                other => other.map_err(cannot_open)?,
            }
        };
        // A question that comes before the store knows all it holds would be answered wrongly.
        runtime.block_on(store.ready());
        Ok(Self { store, runtime })
    }

    /// Asks the store something, then closes it.
    pub(crate) fn ask<T, F: Future<Output = T>>(self, question: impl FnOnce(Store) -> F) -> T {
        self.runtime.block_on(async {
            let answer = question(self.store.clone()).await;
            self.store.close().await;
            answer
        })
    }
}
