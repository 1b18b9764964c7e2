//! CHECK: is what ADD made still there?

use serde_json::Value;
use weft_errors::{Coded, Error, LINK_FAILED, NOT_FOUND, ROUTE_FAILED};
use weft_kernel::{Namespace, PodInterface};
use weft_model::Family;

use super::request::{Attachment, listed_addresses};
use crate::{node::Node, states::Subsystem};

/// Compares journal, kernel and the previous result; changes that later plugins may make (MTU, MAC, more routes) are
/// tolerated.
pub(crate) fn check(node: &Node, attachment: &Attachment) -> Result<(), Error> {
    let id = &attachment.id;
    let holding = node.addresses.read(|ledger| ledger.holding(id).cloned()).ok_or_else(|| {
        Error::new(&NOT_FOUND, format!("nothing is attached for {id}")).try_this("run DEL and ADD", "")
    })?;
    let previous = attachment.config.previous.as_ref().unwrap_or(&Value::Null);
    if let Some(lost) = listed_addresses(previous).iter().find(|address| !holding.addresses.contains(address))
    {
        return Err(Error::new(&NOT_FOUND, format!("address {lost} isn't held for {id} any more")));
    }
    let namespace = Namespace::open_foreign(&attachment.netns).map_err(|e| e.envelope())?;
    let interface = weft_kernel::inspect(&namespace, &id.interface).map_err(|e| e.envelope())?;
    let interface = interface.ok_or_else(|| {
        Error::new(&LINK_FAILED, format!("the pod has no interface {} any more", id.interface))
    })?;
    check_interface(&interface, &holding)?;
    if weft_kernel::link_mtu(&holding.link).map_err(|e| e.envelope())?.is_none() {
        return Err(Error::new(&LINK_FAILED, format!("the node has no link {} any more", holding.link)));
    }
    match node.states.all().remove(&Subsystem::Nft).and_then(|state| state.error) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn check_interface(interface: &PodInterface, holding: &weft_ipam::Holding) -> Result<(), Error> {
    if !interface.up {
        return Err(Error::new(
            &LINK_FAILED,
            format!("the pod's interface {} is down", holding.attachment.interface),
        ));
    }
    for address in &holding.addresses {
        let family = Family::of(*address);
        if !interface.addresses.iter().any(|(found, _)| found == address) {
            return Err(Error::new(&LINK_FAILED, format!("the pod's interface has lost address {address}")));
        }
        if !interface.default_routes.contains(&family) {
            return Err(Error::new(&ROUTE_FAILED, format!("the pod has lost its {family} default route")));
        }
    }
    Ok(())
}
