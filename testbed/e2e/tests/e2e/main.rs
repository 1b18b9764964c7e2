//! The end-to-end suite: a module per requirement of the mission, and one for what survives which failure.

mod alone;
mod attacks;
mod bad_input;
mod balancers;
mod check;
mod churn;
mod cli;
mod env;
mod failures;
mod m1;
mod m12;
mod m2;
mod m3;
mod m4;
mod m5;
mod m6;
mod m7;
mod names;
mod names_churn;
mod names_hostile;
mod names_observe;
mod names_walk;
mod nodes;
mod services;
mod shop;
mod vm;
