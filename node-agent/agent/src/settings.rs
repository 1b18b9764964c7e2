//! Kernel settings as they were before Weft, so that `weft-agent purge` can put them back.

use std::{collections::BTreeMap, path::Path};

use weft_errors::{Coded, Error};
use weft_plan::{Link, LinkKey, Scope, Setting, Subject};

use crate::{limits, node::Node};

/// Notes the present values of all settings that will be changed; those that were noted before stay as they are.
pub(crate) fn remember(node: &Node, path: &Path) -> Result<(), Error> {
    let mut known = read(path)?;
    let before = known.len();
    for (_, wishes) in Link::desired(&node.view(), &node.facts(), Scope::All) {
        for (key, _) in wishes {
            // Settings of our own links go with them.
            if let LinkKey::Setting(setting) = key
                && !setting.interface().is_some_and(weft_plan::is_ours)
                && !known.contains_key(setting.path())
                && let Some(value) = weft_kernel::read_setting(&setting).map_err(|e| e.envelope())?
            {
                known.insert(setting.path().to_owned(), value);
            }
        }
    }
    if known.len() == before {
        return Ok(());
    }
    let text = serde_json::to_vec_pretty(&known).unwrap_or_default();
    weft_process::durable_replace(path, &text, weft_process::MODE_PRIVATE).map_err(|e| e.envelope())
}

/// Puts everything back; says what, and goes on after errors.
pub(crate) fn restore(path: &Path, done: &mut Vec<String>, errors: &mut Vec<Error>) {
    let known = match read(path) {
        Ok(known) => known,
        Err(error) => return errors.push(error),
    };
    for (name, value) in known {
        let setting = Setting::new(name);
        match weft_kernel::read_setting(&setting) {
            Ok(Some(now)) if now != value => match weft_kernel::write_setting(&setting, &value) {
                Ok(()) => done.push(format!("restore setting {setting}: {now} -> {value}")),
                Err(error) => errors.push(error.envelope()),
            },
            Ok(_) => {}
            Err(error) => errors.push(error.envelope()),
        }
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, String>, Error> {
    match weft_process::read_limited(path, limits::IDENTITY_MAX) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(&weft_errors::FILE_UNREADABLE, "the file of earlier settings can't be read")
                .object("file", "", path.display())
                .because(error)
        }),
        Err(error) if error.is_missing_file() => Ok(BTreeMap::new()),
        Err(error) => Err(error.envelope()),
    }
}
