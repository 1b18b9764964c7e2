//! The call as the runtime's environment describes it; checked in the order of libcni's skel.

use std::{ffi::OsString, fs, os::unix::fs::MetadataExt};

use crate::answer::Failure;

/// Name of the variable by which the agent learns the plugin's own network namespace (`device:inode`): a runtime that
/// gives that one as CNI_NETNS would have its host's interfaces changed.
const OWN_NETNS: &str = "WEFT_PLUGIN_NETNS";

/// A verb of CNI 1.1.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Add,
    Del,
    Check,
    Status,
    Gc,
    Version,
}

impl Verb {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Add, "ADD"),
        (Self::Del, "DEL"),
        (Self::Check, "CHECK"),
        (Self::Status, "STATUS"),
        (Self::Gc, "GC"),
        (Self::Version, "VERSION"),
    ];

    const fn required(self) -> &'static [&'static str] {
        match self {
            Self::Add | Self::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
            Self::Del => &["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
            Self::Status | Self::Gc => &["CNI_PATH"],
            Self::Version => &[],
        }
    }
}

/// One call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) verb: Verb,
    pub(crate) command: String,
    /// Every CNI_* variable, and [`OWN_NETNS`].
    pub(crate) variables: Vec<(String, String)>,
}

impl Call {
    /// `None` without CNI_COMMAND: somebody started the program by hand.
    pub(crate) fn from_variables(all: &[(OsString, OsString)]) -> Option<Result<Self, Failure>> {
        let (_, command) = all.iter().find(|(key, _)| key == "CNI_COMMAND")?;
        Some(Self::checked(&command.to_string_lossy(), all))
    }

    fn checked(command: &str, all: &[(OsString, OsString)]) -> Result<Self, Failure> {
        let known = Verb::ALL.iter().find(|(_, name)| *name == command);
        let Some((verb, _)) = known else {
            let message = format!("unknown CNI_COMMAND: {command}");
            return Err(Failure::new(4, message, "known are ADD, DEL, CHECK, GC, STATUS and VERSION"));
        };
        let mut variables = Vec::new();
        for (key, value) in all {
            let Some(key) = key.to_str().filter(|key| key.starts_with("CNI_")) else { continue };
            let value = value.to_str().ok_or_else(|| {
                Failure::new(4, format!("environment variable {key} isn't UTF-8"), value.to_string_lossy())
            })?;
            variables.push((key.to_owned(), value.to_owned()));
        }
        let given = |name: &str| variables.iter().any(|(key, value)| key == name && !value.is_empty());
        let missing: Vec<_> = verb.required().iter().copied().filter(|name| !given(name)).collect();
        if !missing.is_empty() {
            let message = format!("required env variables [{}] missing", missing.join(","));
            return Err(Failure::new(4, message, format!("CNI_COMMAND={command} needs them")));
        }
        if let Ok(own) = fs::metadata("/proc/self/ns/net") {
            variables.push((OWN_NETNS.to_owned(), format!("{}:{}", own.dev(), own.ino())));
        }
        Ok(Self { verb: *verb, command: command.to_owned(), variables })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(text: &str) -> Option<Result<Call, Failure>> {
        let pair = |word: &str| word.split_once('=').map(|(key, value)| (key.into(), value.into()));
        Call::from_variables(&text.split_whitespace().filter_map(pair).collect::<Vec<_>>())
    }

    #[test]
    fn every_missing_variable_is_named_at_once() {
        for (environment, expected) in [
            (
                "CNI_COMMAND=ADD",
                Err("required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH] missing"),
            ),
            (
                "CNI_COMMAND=ADD CNI_NETNS= CNI_IFNAME=eth0 CNI_CONTAINERID=c CNI_PATH=/x",
                Err("required env variables [CNI_NETNS] missing"),
            ),
            (
                "CNI_COMMAND=DEL CNI_CONTAINERID=c",
                Err("required env variables [CNI_IFNAME,CNI_PATH] missing"),
            ),
            ("CNI_COMMAND=DEL CNI_CONTAINERID=c CNI_IFNAME=eth0 CNI_PATH=/x", Ok(Verb::Del)),
            ("CNI_COMMAND=STATUS", Err("required env variables [CNI_PATH] missing")),
            ("CNI_COMMAND=GC CNI_PATH=/x", Ok(Verb::Gc)),
            ("CNI_COMMAND=VERSION", Ok(Verb::Version)),
            ("CNI_COMMAND=UPDATE CNI_PATH=/x", Err("unknown CNI_COMMAND: UPDATE")),
            ("CNI_COMMAND=", Err("unknown CNI_COMMAND: ")),
        ] {
            let got = call(environment).unwrap();
            assert_eq!(
                got.as_ref().map(|c| c.verb).map_err(|f| (f.code, f.message.as_str())),
                expected.map_err(|m| (4, m)),
                "{environment}"
            );
        }
    }

    #[test]
    fn without_a_command_there_is_no_call_and_only_cni_variables_travel() {
        assert!(call("CNI_PATH=/x HOME=/root").is_none());
        let call = call("CNI_COMMAND=STATUS CNI_PATH=/x HOME=/root CNI_ARGS=A=B").unwrap().unwrap();
        let names: Vec<_> = call.variables.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(names, ["CNI_COMMAND", "CNI_PATH", "CNI_ARGS", OWN_NETNS]);
    }
}
