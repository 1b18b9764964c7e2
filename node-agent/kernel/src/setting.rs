//! Kernel settings below `/proc/sys/net` of the calling thread's network namespace.
//!
//! `/proc/sys/net` shows the namespace of the thread that opens it (`fs/proc/proc_sysctl.c`), so a pod's settings are written
//! by a thread inside ([`crate::Namespace::run`]).

use std::{fs, io, path::PathBuf};

use weft_plan::Setting;

use crate::error::Error;

/// The value of a setting without the final newline; `None` when the setting doesn't exist (a module or interface is absent).
pub fn read_setting(setting: &Setting) -> Result<Option<String>, Error> {
    match fs::read_to_string(path_of(setting)) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => {
            let setting = setting.to_string();
            Err(Error::Setting { setting, action: "read".to_owned(), source })
        }
    }
}

/// Sets a setting and reads it back: some are clamped or refused without an error.
pub fn write_setting(setting: &Setting, value: &str) -> Result<(), Error> {
    let failed =
        |source| Error::Setting { setting: setting.to_string(), action: format!("set to {value}"), source };
    fs::write(path_of(setting), value).map_err(failed)?;
    match read_setting(setting)? {
        Some(found) if found == value => Ok(()),
        found => {
            let found = found.unwrap_or_else(|| "nothing".to_owned());
            Err(failed(io::Error::other(format!("it reads {found} afterwards"))))
        }
    }
}

fn path_of(setting: &Setting) -> PathBuf {
    PathBuf::from("/proc/sys/net").join(setting.path())
}
