//! Takes back everything of this crate's making, by mark, and nothing else.

use weft_model::ownership::{LINK_GROUP_DEAD, LINK_GROUP_PODS, VETH_ALIAS_PREFIX};
use weft_plan::{Executor, Step};

use crate::{
    attach::is_gone, error::Error, held::HeldAddresses, host::renamed_from, link::is_our_bridge,
    netlink::Netlink, observe::all_links, request::Request, route::RouteExecutor,
};

/// Deletes routes, rules and links that bear our marks in the calling thread's namespace, and returns a line per object.
///
/// Goes on after an error and returns all of them. Mesh devices, tables of nf_tables, settings and files are their owners' work.
pub fn purge() -> (Vec<String>, Vec<Error>) {
    let mut done = Vec::new();
    let mut errors = Vec::new();
    if let Err(error) = purge_routes(&mut done, &mut errors) {
        errors.push(error);
    }
    if let Err(error) = purge_held(&mut done) {
        errors.push(error);
    }
    if let Err(error) = purge_links(&mut done, &mut errors) {
        errors.push(error);
    }
    (done, errors)
}

fn purge_routes(done: &mut Vec<String>, errors: &mut Vec<Error>) -> Result<(), Error> {
    let mut executor = RouteExecutor::open()?;
    let steps: Vec<_> =
        executor.observe(&[])?.into_iter().map(|(key, was)| Step::Delete { key, was }).collect();
    let failures = executor.execute(&steps).err().unwrap_or_default();
    let failed: Vec<usize> = failures.iter().map(|failure| failure.step).collect();
    done.extend(
        steps
            .iter()
            .enumerate()
            .filter(|(place, _)| !failed.contains(place))
            .map(|(_, step)| step.to_string()),
    );
    errors.extend(failures.into_iter().map(|failure| failure.error));
    Ok(())
}

fn purge_held(done: &mut Vec<String>) -> Result<(), Error> {
    let mut held = HeldAddresses::open()?;
    for address in held.read()? {
        held.release(address)?;
        done.push(format!("release address {address}"));
    }
    Ok(())
}

fn purge_links(done: &mut Vec<String>, errors: &mut Vec<Error>) -> Result<(), Error> {
    let mut netlink = Netlink::open()?;
    for link in all_links(&mut netlink)? {
        let pod = link.kind == "veth"
            && (link.group == LINK_GROUP_DEAD
                || link.group == LINK_GROUP_PODS && link.alias.starts_with(VETH_ALIAS_PREFIX));
        if !pod && !is_our_bridge(&link) && renamed_from(&link).is_none() {
            continue;
        }
        match netlink.one(Request::delete_link(link.index, &link.name)) {
            Ok(_) => done.push(format!("remove link {}", link.name)),
            Err(error) if error.errno().is_some_and(is_gone) => {}
            Err(error) => errors.push(error),
        }
    }
    Ok(())
}
