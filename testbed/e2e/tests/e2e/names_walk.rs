//! Every form of record for every kind of service, with packets: in pods of two nodes, over UDP and TCP, in every kind of families.

use weft_e2e::each_family;
use weft_lab::Result;
use weft_lab::checks::names::walked;

#[test]
fn every_record_of_the_specification_is_answered_in_every_kind_of_families() -> Result {
    each_family("small", |fabric, cast| {
        eprintln!("{}: {}", fabric.topology().family.word(), walked(fabric, cast)?);
        Ok(())
    })
}
