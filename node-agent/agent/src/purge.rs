//! `weft-agent purge`: the machine as it was found. Everything is known by our marks; nothing else is touched.

use std::{fs, path::Path};

use weft_errors::{Coded, Error};
use weft_model::{
    Overlay,
    ownership::{MESH_DEVICES, NFT_POLICY_TABLE, NFT_TABLE, run},
};
use weft_nft::{Batch, Difference, Elements, Table, TableFamily, TableRef};
use weft_plan::Ruleset;

use crate::{conflist, ip_netns, lock::Lock, paths::Paths, settings};

/// What was removed, and what couldn't be.
#[derive(Debug, Default)]
pub(crate) struct Purged {
    /// One line per object.
    pub(crate) done: Vec<String>,
    /// All errors.
    pub(crate) errors: Vec<Error>,
}

/// Removes everything, goes on after errors. Fails only when an agent runs here.
pub(crate) fn purge(paths: &Paths) -> Result<Purged, Error> {
    let _lock = match paths.state.exists() {
        true => Some(Lock::take(paths)?),
        false => None,
    };
    let mut purged = Purged::default();
    let Purged { done, errors } = &mut purged;
    // First what lets runtimes and packets in, then what they used.
    conflist::remove(&paths.conflist(), done, errors);
    ip_netns::purge(done);
    remove_namespaces(Path::new(run::NETNS_DIR), done, errors);
    let (lines, failures) = weft_kernel::purge();
    done.extend(lines);
    errors.extend(failures.iter().map(Coded::envelope));
    for device in MESH_DEVICES {
        match weft_kernel::remove_mesh_device(device) {
            Ok(true) => done.push(format!("remove link {device}")),
            Ok(false) => {}
            Err(error) => errors.push(error.envelope()),
        }
    }
    for removed in [
        remove_tables(done),
        remove_own_tables(done, NFT_TABLE),
        remove_own_tables(done, NFT_POLICY_TABLE),
        remove_answer_tables(done),
    ] {
        if let Err(error) = removed {
            errors.push(error);
        }
    }
    settings::restore(&paths.settings(), done, errors);
    // Files last: they say what there was to be removed.
    if errors.is_empty() {
        let names = Path::new(weft_model::ownership::state::DNS_DIR);
        for directory in [Path::new("/run/weft"), names, &paths.state] {
            remove_directory(directory, done, errors);
        }
    }
    Ok(purged)
}

fn remove_tables(done: &mut Vec<String>) -> Result<(), Error> {
    let mut socket = weft_kernel::NftSocket::open().map_err(|e| e.envelope())?;
    // The tables bear the same names in both modes.
    let ruleset = Ruleset::new(Overlay::Wireguard);
    let observed = socket.observe(ruleset.tables()).map_err(|e| e.envelope())?;
    let missing: Vec<_> = ruleset
        .verify(&Elements::default(), &observed)
        .into_iter()
        .filter_map(|difference| if let Difference::NoTable(table) = difference { Some(table) } else { None })
        .collect();
    let there: Vec<_> = ruleset.tables().iter().filter(|table| !missing.contains(&table.id)).collect();
    if !there.is_empty() {
        socket.commit(&ruleset.remove()).map_err(|e| e.envelope())?;
        done.extend(there.iter().map(|table| format!("remove nf_tables table {}", table.id)));
    }
    Ok(())
}

/// Tables of one name, of both families: those of services, those of policies.
fn remove_own_tables(done: &mut Vec<String>, name: &str) -> Result<(), Error> {
    let mut socket = weft_kernel::NftSocket::open().map_err(|e| e.envelope())?;
    let named = |family| TableRef { family, name: name.to_owned() };
    let empty = |family| Table { id: named(family), chains: Vec::new(), sets: Vec::new() };
    let tables = [TableFamily::Ip, TableFamily::Ip6].map(empty);
    let observed = socket.observe(&tables).map_err(|e| e.envelope())?;
    let there: Vec<_> = tables.iter().filter(|table| observed.has_table(&table.id)).collect();
    if !there.is_empty() {
        let mut batch = Batch::new();
        there.iter().for_each(|table| batch.remove_table(&table.id));
        socket.commit(&batch).map_err(|e| e.envelope())?;
        done.extend(there.iter().map(|table| format!("remove nf_tables table {}", table.id)));
    }
    Ok(())
}

fn remove_answer_tables(done: &mut Vec<String>) -> Result<(), Error> {
    let mut socket = weft_kernel::NftSocket::open().map_err(|e| e.envelope())?;
    let tables = weft_plan::answer_tables();
    let observed = socket.observe(&tables).map_err(|e| e.envelope())?;
    let there: Vec<_> = tables.iter().filter(|table| observed.has_table(&table.id)).collect();
    if !there.is_empty() {
        socket.commit(&weft_plan::remove_answer_tables()).map_err(|e| e.envelope())?;
        done.extend(there.iter().map(|table| format!("remove nf_tables table {}", table.id)));
    }
    Ok(())
}

/// Namespaces of pods made by `weft pod add`.
fn remove_namespaces(directory: &Path, done: &mut Vec<String>, errors: &mut Vec<Error>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        match weft_kernel::remove_namespace(directory, &name) {
            Ok(()) => done.push(format!("remove network namespace {}", entry.path().display())),
            Err(error) => errors.push(error.envelope()),
        }
    }
}

fn remove_directory(directory: &Path, done: &mut Vec<String>, errors: &mut Vec<Error>) {
    match fs::remove_dir_all(directory) {
        Ok(()) => done.push(format!("remove directory {}", directory.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => errors.push(
            Error::new(&weft_errors::FILE_UNREADABLE, "a directory can't be removed")
                .object("file", "", directory.display())
                .because(error),
        ),
    }
}
