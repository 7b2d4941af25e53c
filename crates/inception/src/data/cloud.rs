//! Data in object stores and on web servers, by the crate `object_store`; with the feature `cloud` alone.
//!
//! ```text
//! URL ─ address ─▶ connection of its bucket or host (one each, kept) ─▶ GET, HEAD, list, each retried for a while
//!                  what was listed: sizes and ETags (kept) ─▶ is it a file, a folder? what is in it?
//! ```
//! Callers are plain threads that wait; a small runtime of its own does what is asynchronous. Settings and credentials are those
//! of the environment, as the providers' own tools read them. A request that fails for no fault of its own is made again until
//! [`PATIENCE`] is over; then it is [`Unreachable`], which ends a command.

mod address;
mod connect;
mod fault;
mod listing;
mod reader;

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use object_store::{GetOptions, ObjectMeta, ObjectStore};
use tokio::runtime::Runtime;

use super::folder::is_collection_file;
use super::list;
use super::storage::Unreachable;
use address::{Address, Kind};
use fault::{Doing, explain};
use listing::{Listing, Meta};
pub(super) use reader::Reader;

/// Seconds for which a request is made again.
const PATIENCE: &str = "INCEPTION_RETRY_SECONDS";

/// Where nothing is said: a store's bad minute, and less than credentials of a request live.
const DEFAULT_PATIENCE: u64 = 180;

/// How often an answer that breaks off is asked for anew; a server that does not answer has [`PATIENCE`] instead.
const ATTEMPTS: u32 = 4;

/// Everything that is kept for the life of the program.
struct Cloud {
    runtime: Runtime,
    patience: Duration,
    stores: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
    /// By the beginning of the URL why a store does not answer: whoever asks next need not find that out again.
    silent: Mutex<HashMap<String, String>>,
    listing: RwLock<Listing>,
}

fn cloud() -> io::Result<&'static Cloud> {
    static CLOUD: OnceLock<Result<Cloud, String>> = OnceLock::new();
    CLOUD.get_or_init(Cloud::new).as_ref().map_err(|problem| unreachable_error(problem.clone()))
}

fn unreachable_error(problem: String) -> io::Error {
    io::Error::other(Unreachable(problem))
}

/// As [`super::storage::prepare`]: asks what `root` is, and lists what is below it.
pub(super) fn prepare(root: &Path) -> io::Result<()> {
    let (cloud, address) = (cloud()?, Address::parse(root)?);
    if cloud.listed().file(&address).is_some() || cloud.listed().covers(&address.url()) {
        return Ok(());
    }
    let is_single = address.kind == Kind::Http || is_collection_file(root);
    if is_single {
        match cloud.head(&address) {
            Ok(_) if address.kind != Kind::Http && list::is(root) => {
                return cloud.list(&address.parent()).map(drop);
            }
            Ok(_) => return Ok(()),
            Err(e) if address.kind == Kind::Http || e.kind() != io::ErrorKind::NotFound => return Err(e),
            Err(_) => {}
        }
    }
    match cloud.list(&address)? {
        0 if is_single || address.key.is_empty() => Err(fault::nothing_there()),
        0 => match cloud.head(&address) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(fault::nothing_there()),
            found => found.map(drop),
        },
        _ => Ok(()),
    }
}

/// Whether there is such an object.
pub(super) fn exists(path: &Path) -> io::Result<bool> {
    let (cloud, address) = (cloud()?, Address::parse(path)?);
    if size(path).is_some() {
        return Ok(true);
    }
    if cloud.listed().covers(&address.url()) {
        return Ok(false);
    }
    match cloud.head(&address) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// What is directly below a folder.
pub(super) fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let (cloud, address) = (cloud()?, Address::parse(folder)?);
    if address.kind == Kind::Http {
        return Err(fault::no_folders());
    }
    if !cloud.listed().covers(&address.url()) && cloud.list(&address)? == 0 {
        return Err(fault::nothing_there());
    }
    Ok(cloud.listed().names(&address.url()).map(|name| folder.join(name)).collect())
}

/// All of an object.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let (cloud, address) = (cloud()?, Address::parse(path)?);
    let known = cloud.listed().file(&address);
    let bytes = cloud.get(&address, None, None)?;
    match known.filter(|meta| meta.size != bytes.len() as u64) {
        None => Ok(bytes),
        Some(Meta { size, .. }) => Err(fault::changed(format!("had {size} bytes and has {}", bytes.len()))),
    }
}

/// A part of an object: as much as there is, should it be shorter.
pub(super) fn read_part(path: &Path, start: u64, len: u64) -> io::Result<Vec<u8>> {
    let (cloud, address) = (cloud()?, Address::parse(path)?);
    let meta = cloud.meta(&address)?;
    let end = start.saturating_add(len).min(meta.size);
    if start >= end {
        return Ok(Vec::new());
    }
    cloud.get(&address, Some(start..end), meta.tag)
}

/// Whether a folder of this name was listed.
pub(super) fn is_dir(path: &Path) -> bool {
    let found = cloud().and_then(|cloud| Ok(cloud.listed().has_folder(&Address::parse(path)?.url())));
    found.unwrap_or(false)
}

/// The size of an object that was listed or asked for.
pub(super) fn size(path: &Path) -> Option<u64> {
    known(path).map(|meta| meta.size)
}

/// The ETag of such an object.
pub(super) fn tag(path: &Path) -> Option<String> {
    known(path)?.tag.map(String::from)
}

fn known(path: &Path) -> Option<Meta> {
    cloud().ok()?.listed().file(&Address::parse(path).ok()?)
}

impl Cloud {
    fn new() -> Result<Self, String> {
        let patience = match std::env::var(PATIENCE) {
            Err(_) => DEFAULT_PATIENCE,
            Ok(text) => {
                text.parse().map_err(|_| format!("{PATIENCE}={text}: expected a number of seconds"))?
            }
        };
        connect::install_tls();
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(2).enable_all().thread_name("cloud");
        Ok(Cloud {
            runtime: runtime.build().map_err(|e| format!("no threads to fetch with: {e}"))?,
            patience: Duration::from_secs(patience),
            stores: Mutex::default(),
            silent: Mutex::default(),
            listing: RwLock::default(),
        })
    }

    /// No code that can panic runs under this lock.
    fn listed(&self) -> std::sync::RwLockReadGuard<'_, Listing> {
        self.listing.read().unwrap_or_else(|e| e.into_inner())
    }

    fn store(&self, address: &Address) -> io::Result<Arc<dyn ObjectStore>> {
        let mut stores = self.stores.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(store) = stores.get(&address.base) {
            return Ok(store.clone());
        }
        let store = connect::connect(address, self.patience).map_err(unreachable_error)?;
        stores.insert(address.base.clone(), store.clone());
        Ok(store)
    }

    /// What is known of an object, asked for if need be.
    fn meta(&self, address: &Address) -> io::Result<Meta> {
        let known = self.listed().file(address);
        known.map_or_else(|| self.head(address), Ok)
    }

    fn head(&self, address: &Address) -> io::Result<Meta> {
        let (store, object) = (self.store(address)?, address.object()?);
        let found = self.patiently(address, Doing::Read, || async {
            let options = GetOptions { head: true, ..GetOptions::default() };
            Ok(store.get_opts(&object, options).await?.meta)
        })?;
        let meta = Meta::of(&found);
        self.listing.write().unwrap_or_else(|e| e.into_inner()).add_file(address, meta.clone());
        Ok(meta)
    }

    /// Bytes of an object; those of a `range` only while its ETag is still `tag`, for what was found in it lies elsewhere else.
    fn get(
        &self,
        address: &Address,
        range: Option<Range<u64>>,
        tag: Option<Box<str>>,
    ) -> io::Result<Vec<u8>> {
        let (store, object) = (self.store(address)?, address.object()?);
        // A weak tag never matches.
        let if_match = tag.map(String::from).filter(|tag| !tag.starts_with("W/"));
        let wanted = range.as_ref().map(|range| range.end - range.start);
        let bytes = self.patiently(address, Doing::Read, || async {
            let (range, if_match) = (range.clone().map(Into::into), if_match.clone());
            store
                .get_opts(&object, GetOptions { range, if_match, ..GetOptions::default() })
                .await?
                .bytes()
                .await
        })?;
        match wanted.filter(|&wanted| wanted != bytes.len() as u64) {
            None => Ok(bytes.into()),
            Some(wanted) => {
                Err(unreachable_error(format!("the answer has {} of {wanted} bytes: try again", bytes.len())))
            }
        }
    }

    /// Lists all objects below; how many there are.
    fn list(&self, address: &Address) -> io::Result<usize> {
        let (store, prefix) = (self.store(address)?, address.object()?);
        let found: Vec<ObjectMeta> = self.patiently(address, Doing::List, || async {
            let prefix = Some(&prefix).filter(|_| !address.key.is_empty());
            let mut listed = store.list(prefix);
            let mut found = Vec::new();
            while let Some(meta) = listed.next().await {
                found.push(meta?);
            }
            Ok(found)
        })?;
        let mut listing = self.listing.write().unwrap_or_else(|e| e.into_inner());
        listing.add_folder(address, &found).map_err(unreachable_error)?;
        Ok(found.len())
    }

    /// The result of `request`. The client makes one again to which there is no answer; one whose answer breaks off is made again here.
    fn patiently<T, F: Future<Output = object_store::Result<T>>>(
        &self,
        address: &Address,
        doing: Doing,
        request: impl Fn() -> F,
    ) -> io::Result<T> {
        let silent = || self.silent.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(problem) = silent().get(&address.base) {
            return Err(unreachable_error(problem.clone()));
        }
        let start = Instant::now();
        for attempt in 1.. {
            let error = match self.runtime.block_on(request()) {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let is_over = attempt == ATTEMPTS || start.elapsed() >= self.patience;
            if is_over || !fault::is_passing(&error) {
                let told = explain(&error, address, doing, start.elapsed());
                if fault::is_passing(&error) {
                    silent().insert(address.base.clone(), told.to_string());
                }
                return Err(told);
            }
            std::thread::sleep(Duration::from_millis(200 << attempt).min(self.patience));
        }
        Err(unreachable_error("was not asked for".into()))
    }
}
