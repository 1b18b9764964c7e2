//! What a command would do if it were the next entry: asked of a replica's state, which stays as it is.

use weft_core::{Change, Outcome, State};
use weft_model::Command;

use crate::Replica;

impl Replica {
    /// What a command would do now.
    pub fn dry_run(&mut self, command: &Command) -> Outcome {
        weft_core::dry_run(&mut self.state, command)
    }

    /// The same, and a look at the state as it would be then, with what changed; `None` where the command is refused.
    pub fn preview<T>(
        &mut self,
        command: &Command,
        look: impl FnOnce(&State, &[Change]) -> T,
    ) -> (Outcome, Option<T>) {
        weft_core::preview(&mut self.state, command, look)
    }
}
