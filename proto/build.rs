//! Compiles `weft/**/*.proto` with protox (no protoc is needed) and keeps the descriptor set for reflection.

use std::{env, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 15] = [
    "weft/v1/types.proto",
    "weft/v1/service.proto",
    "weft/v1/policy.proto",
    "weft/v1/object.proto",
    "weft/v1/items.proto",
    "weft/v1/resolver.proto",
    "weft/v1/drops.proto",
    "weft/v1/change.proto",
    "weft/v1/sync.proto",
    "weft/v1/join.proto",
    "weft/v1/admin.proto",
    "weft/v1/replica.proto",
    "weft/v1/local.proto",
    "weft/v1/names.proto",
    "weft/internal/v1/log.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").btree_map(".").compile_fds(descriptors)?;
    Ok(())
}
