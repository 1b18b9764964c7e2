//! Typed nf_tables objects, their netlink bytes and their nft text.
