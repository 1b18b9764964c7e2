//! Services: written, deleted, and what they hold: addresses, node ports, load-balancer addresses.
//!
//! Invariant: an address inside the fabric and a node port have one holder; a load-balancer address has several only
//! where all of them agreed and their ports differ.

mod address;
mod balancer;
mod external;
mod ports;

use weft_model::{Key, Object, ObjectUid, Service, ServiceName, Written};

pub(crate) use balancer::{PoolRef, follow_pools, pool_of, pools, stranded, unfit};

use crate::{
    Error, admit,
    apply::{object, owner},
    edit::Edit,
    limits,
};

/// Puts a service, with everything that it needs given out to it.
pub(crate) fn write(edit: &mut Edit<'_>, wanted: &Service) -> Result<Written, Error> {
    let state = edit.state();
    admit::check_namespace(state, "service", &wanted.name)?;
    let fabric = state.fabric().ok_or(Error::NotFounded)?;
    let old = state.services().get(&wanted.name);
    let mut new = admit::complete_service(state, wanted.clone())?;
    let mut chance = edit.chance(&format!("service/{}", new.name));
    let uid = ObjectUid(chance.bytes());
    address::allocate(state, fabric, &mut new, &mut chance)?;
    ports::allocate(state, fabric, &mut new, &mut chance)?;
    external::check(state, fabric, &new)?;
    balancer::allocate(state, &mut new)?;
    match old {
        None => {
            let (name, count) = (new.name.to_string(), state.services().len());
            object::check_count("service", name, count, limits::MAX_NAMESPACED)?;
            (new.uid, new.generation, new.created) = (uid, 1, edit.time());
        }
        Some(old) => {
            let load_balancer = old.load_balancer.clone();
            let written = Service { load_balancer, ..new.clone() };
            new.generation += u64::from(written != *old);
        }
    }
    Ok(put(edit, new))
}

/// Puts a service; load-balancer addresses that nobody has any more lose their owner.
fn put(edit: &mut Edit<'_>, new: Service) -> Written {
    let before = given(edit, &new.name);
    let written = edit.put_object(Object::Service(new));
    owner::tidy(edit, before);
    written
}

/// Deletes a service: everything that it held is free.
pub(crate) fn delete(edit: &mut Edit<'_>, name: &ServiceName) -> Result<(), Error> {
    if !edit.state().services().contains_key(name) {
        return Err(Error::NotFound { kind: "service", name: name.to_string() });
    }
    let before = given(edit, name);
    edit.delete_object(Key::Service(name.clone()));
    owner::tidy(edit, before);
    Ok(())
}

fn given(edit: &Edit<'_>, name: &ServiceName) -> Vec<std::net::IpAddr> {
    let service = edit.state().services().get(name);
    service.into_iter().flat_map(|service| &service.load_balancer).map(|given| given.address).collect()
}

/// The first holders of something and how many more there are: `shop/a, shop/b, shop/c and 250 more`.
fn holders<'a>(names: impl Iterator<Item = &'a ServiceName>) -> String {
    let mut names = names.peekable();
    let mut first: Vec<String> = Vec::new();
    while first.len() < 3
        && let Some(name) = names.next()
    {
        let name = name.to_string();
        if !first.contains(&name) {
            first.push(name);
        }
    }
    let more = names.count();
    let list = first.join(", ");
    if more > 0 { format!("{list} and {more} more") } else { list }
}
