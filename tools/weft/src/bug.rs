//! A panic is a bug in Weft: it is said as such, with where the report lies, and ends with status 70.

use std::{
    backtrace::Backtrace,
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use weft_errors::{Error, INTERNAL};

use crate::fail::Outcome;

/// What the last panic said, and where its report lies.
static LAST: Mutex<Option<(String, Option<PathBuf>)>> = Mutex::new(None);

/// Runs the command; a panic of it becomes an error.
pub(crate) fn caught(run: impl FnOnce() -> Outcome) -> Outcome {
    set_hook(Box::new(|info| {
        let kept = Some((info.to_string(), report(info)));
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    }));
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err(error().into()))
}

fn error() -> Error {
    let last = LAST.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (what, file) = last.unwrap_or_else(|| ("nothing is known of it".to_owned(), None));
    let words: Vec<&str> = what.split_whitespace().collect();
    let error =
        Error::new(&INTERNAL, "weft came to a point that it should never reach").because(words.join(" "));
    match file {
        Some(file) => error.try_this("please report it with this file", file.display().to_string()),
        None => error,
    }
}

/// Writes what helps to find the bug: no argument, because one can be a token.
fn report(info: &PanicHookInfo<'_>) -> Option<PathBuf> {
    let file = std::env::temp_dir().join(format!("weft-bug-{}.txt", std::process::id()));
    let text = format!("weft {}\n{info}\n\n{}\n", env!("CARGO_PKG_VERSION"), Backtrace::force_capture());
    weft_process::durable_replace(&file, text.as_bytes(), 0o600).ok().map(|()| file)
}

#[cfg(test)]
mod tests {
    use weft_errors::ExitCode;

    use super::*;
    use crate::fail::Failure;

    #[test]
    fn a_panic_ends_with_70_and_names_its_report() {
        let outcome = caught(|| panic!("the table has {} columns", 3));
        let Err(Failure::Error(error)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(Failure::from((*error).clone()).exit(), ExitCode::Bug);
        assert!(error.cause.iter().any(|cause| cause.contains("the table has 3 columns")), "{error}");
        let file = PathBuf::from(&error.remedy[0].command);
        assert!(std::fs::read_to_string(&file).unwrap().contains("bug.rs"));
        std::fs::remove_file(file).unwrap();
        assert!(caught(|| Ok(())).is_ok());
    }
}
