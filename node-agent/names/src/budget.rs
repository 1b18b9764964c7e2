//! Budgets of askers.
