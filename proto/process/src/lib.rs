//! What every process of Weft does alike: logs, signals and the task tree, configuration, files that survive a crash,
//! waiting with a deadline, telling the service manager.
//!
//! Not here: anything about pods, nodes or replicas.

mod config;
mod error;
mod files;
mod logs;
mod quantity;
mod service;
mod signals;
mod tasks;
pub mod wait;

pub use config::{ConfigRequest, Loaded, Problem, Source, Sources, key_paths, load, print_config};
pub use error::Error;
pub use files::{
    MODE_PRIVATE, MODE_PUBLIC, durable_remove, durable_replace, private_dir, read_limited, read_private,
};
pub use logs::{LogFormat, init_logs};
pub use quantity::{HumanDuration, HumanSize, parse_duration, parse_size};
pub use service::{notify_ready, notify_status, notify_stopping, watchdog_interval, watchdog_loop};
pub use signals::Signals;
pub use tasks::{STOP_LIMIT, Stopped, Tasks};
