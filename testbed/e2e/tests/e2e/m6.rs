//! M6: IPv4 only, IPv6 only, dual-stack with either first; everybody agrees on the primary.

use anyhow::ensure;
use weft_e2e::each_family;
use weft_lab::Result;
use weft_lab::topology::Family;

#[test]
fn pods_have_the_fabrics_families_with_the_primary_first() -> Result {
    each_family("small", |fabric, cast| {
        let wanted: &[bool] = match fabric.topology().family {
            Family::V4 => &[true],
            Family::V6 => &[false],
            Family::Dual => &[true, false],
            Family::Dual6 => &[false, true],
        };
        for pod in &cast.all {
            let got: Vec<bool> = pod.addresses().iter().map(std::net::IpAddr::is_ipv4).collect();
            ensure!(got == wanted, "{} has {:?}", pod.name(), pod.addresses());
        }
        Ok(())
    })
}
