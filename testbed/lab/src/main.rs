//! Fabrics out of namespaces: testbed and demonstration.

fn main() {}
