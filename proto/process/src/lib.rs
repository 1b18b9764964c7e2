//! Logs, signals, the task tree, configuration files, durable_replace.
