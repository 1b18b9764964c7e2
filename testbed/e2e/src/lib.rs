//! Real packets through real processes, a module per requirement.
