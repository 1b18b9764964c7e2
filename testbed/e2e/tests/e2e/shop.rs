//! M8: a multi-service application in plain Kubernetes YAML applies unchanged and answers; what is told of services is so.

use weft_e2e::{each_family, in_family};
use weft_lab::checks::services::{self, Shop, Stage};
use weft_lab::topology::Family;
use weft_lab::{Fabric, Result, checks::Cast};

#[test]
fn a_shop_in_plain_kubernetes_yaml_applies_unchanged_and_every_service_answers() -> Result {
    in_family("shop", Family::Dual, |fabric, cast| {
        let shop = Shop::open(fabric, cast)?;
        let checks = [services::front, services::api, services::cache, services::payment, services::others];
        checks.into_iter().try_for_each(|check| check(&shop).map(drop))?;
        shop.close()
    })
}

fn told(fabric: &Fabric, cast: &Cast) -> Result {
    let stage = Stage::set(fabric, cast)?;
    let checks = [services::traces_agree, services::troubles_are_told];
    let seen = checks.into_iter().try_for_each(|check| check(&stage).map(drop));
    stage.strike()?;
    seen
}

#[test]
fn what_is_told_of_a_packet_is_what_a_real_one_meets() -> Result {
    each_family("small", told)?;
    in_family("routed", Family::Dual, told)
}
