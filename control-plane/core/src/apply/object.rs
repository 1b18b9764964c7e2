//! Namespaces, endpoint slices, what people say of pods, pools and policies: written and deleted.

use std::collections::BTreeSet;

use weft_model::{
    Answer, EndpointSlice, Key, LoadBalancerPool, Name, Namespace, NamespaceName, NetworkPolicy, Object,
    ObjectUid, PodSpec, Written,
};

use super::service;
use crate::{Error, ServiceError, admit, edit::Edit, limits, state::within};

/// Refuses one more object of a kind of which there are enough.
pub(crate) fn check_count(kind: &'static str, name: String, count: usize, limit: usize) -> Result<(), Error> {
    if count < limit {
        return Ok(());
    }
    Err(Error::TooLarge { kind, name, what: "objects of its kind beside it", limit })
}

pub(crate) fn write_namespace(edit: &mut Edit<'_>, wanted: &Namespace) -> Result<Written, Error> {
    let mut new = admit::complete_namespace(edit.state(), wanted.clone())?;
    let namespaces = edit.state().namespaces();
    if !namespaces.contains_key(&new.name) {
        check_count("namespace", new.name.to_string(), namespaces.len(), limits::MAX_NAMESPACES)?;
        new.created = edit.time();
    }
    Ok(edit.put_object(Object::Namespace(new)))
}

pub(crate) fn write_slice(edit: &mut Edit<'_>, wanted: &EndpointSlice) -> Result<Written, Error> {
    admit::check_namespace(edit.state(), "endpointslice", &wanted.name)?;
    let mut new = admit::complete_slice(edit.state(), wanted.clone())?;
    admit::check_foreign(edit.state(), &new)?;
    match edit.state().slices().get(&new.name) {
        Some(old) => new.generation += u64::from(new != *old),
        None => {
            let count = edit.state().slices().len();
            check_count("endpointslice", new.name.to_string(), count, limits::MAX_NAMESPACED)?;
            let uid = ObjectUid(edit.chance(&format!("endpointslice/{}", new.name)).bytes());
            (new.uid, new.generation, new.created) = (uid, 1, edit.time());
        }
    }
    Ok(edit.put_object(Object::Slice(new)))
}

pub(crate) fn write_pod_spec(edit: &mut Edit<'_>, wanted: &PodSpec) -> Result<Written, Error> {
    admit::check_namespace(edit.state(), "podspec", &wanted.name)?;
    let mut new = admit::complete_pod_spec(edit.state(), wanted.clone())?;
    let specs = edit.state().pod_specs();
    let old = specs.get(&new.name);
    if old.is_none() {
        check_count("podspec", new.name.to_string(), specs.len(), limits::MAX_NAMESPACED)?;
    }
    new.generation += u64::from(old.is_none_or(|old| new != *old));
    Ok(edit.put_object(Object::PodSpec(new)))
}

pub(crate) fn write_pool(edit: &mut Edit<'_>, wanted: &LoadBalancerPool) -> Result<Written, Error> {
    let state = edit.state();
    let mut new = admit::complete_pool(state, wanted.clone())?;
    admit::check_pool(state, &new)?;
    let old = state.pools().get(&new.name);
    new.generation += u64::from(old.is_none_or(|old| new != *old));
    if let Some(old) = old {
        let stays = |address| new.ranges.iter().any(|range| range.contains(address));
        check_held(edit, old, stays)?;
    }
    let written = edit.put_object(Object::Pool(new));
    if written != Written::Unchanged {
        service::follow_pools(edit);
    }
    Ok(written)
}

pub(crate) fn write_policy(edit: &mut Edit<'_>, wanted: &NetworkPolicy) -> Result<Written, Error> {
    admit::check_namespace(edit.state(), "networkpolicy", &wanted.name)?;
    let mut new = admit::complete_policy(edit.state(), wanted.clone())?;
    match edit.state().policies().get(&new.name) {
        Some(old) => new.generation += u64::from(new != *old),
        None => {
            let count = edit.state().policies().len();
            check_count("networkpolicy", new.name.to_string(), count, limits::MAX_POLICIES)?;
            let uid = ObjectUid(edit.chance(&format!("networkpolicy/{}", new.name)).bytes());
            (new.uid, new.generation, new.created) = (uid, 1, edit.time());
        }
    }
    Ok(edit.put_object(Object::NetworkPolicy(new)))
}

fn check_held(
    edit: &Edit<'_>,
    pool: &LoadBalancerPool,
    stays: impl Fn(std::net::IpAddr) -> bool,
) -> Result<(), Error> {
    match service::stranded(edit.state(), &pool.ranges, stays) {
        Some((address, holder)) => {
            Err(ServiceError::PoolInUse { pool: pool.name.clone(), address, holder }.into())
        }
        None => Ok(()),
    }
}

/// Deletes objects: all or none. The order is ours: what uses others goes before them.
pub(crate) fn delete(edit: &mut Edit<'_>, keys: &[Key]) -> Result<Answer, Error> {
    if keys.len() > limits::MAX_OBJECTS_PER_WRITE {
        let (what, limit) = ("objects", limits::MAX_OBJECTS_PER_WRITE);
        return Err(Error::TooLarge { kind: "delete", name: "of objects".to_owned(), what, limit });
    }
    let keys: BTreeSet<_> = keys.iter().map(|key| (rank(key), key)).collect();
    keys.into_iter().try_for_each(|(_, key)| delete_one(edit, key))?;
    Ok(Answer::Done)
}

const fn rank(key: &Key) -> u8 {
    match key {
        Key::Service(_) | Key::Slice(_) | Key::PodSpec(_) | Key::NetworkPolicy(_) => 0,
        Key::Pool(_) => 1,
        Key::Namespace(_) => 2,
        Key::Fabric | Key::Node(_) | Key::Pod(_) | Key::Lease(_) | Key::Member(_) | Key::Owner(_) => 3,
    }
}

fn delete_one(edit: &mut Edit<'_>, key: &Key) -> Result<(), Error> {
    match key {
        Key::Service(name) => service::delete(edit, name),
        Key::Slice(name) => delete_row(edit, key, "endpointslice", name.to_string()),
        Key::PodSpec(name) => delete_row(edit, key, "podspec", name.to_string()),
        Key::NetworkPolicy(name) => delete_row(edit, key, "networkpolicy", name.to_string()),
        Key::Pool(name) => delete_pool(edit, name),
        Key::Namespace(name) => delete_namespace(edit, name),
        Key::Fabric => read_only("fabric", "main".to_owned()),
        Key::Node(name) => read_only("node", name.to_string()),
        Key::Pod(uid) => read_only("pod", uid.to_string()),
        Key::Lease(block) => read_only("block", block.to_string()),
        Key::Member(id) => read_only("member", id.to_string()),
        Key::Owner(address) => read_only("owner", address.to_string()),
    }
}

const fn read_only(kind: &'static str, name: String) -> Result<(), Error> {
    Err(Error::ReadOnlyKind { kind, name })
}

fn delete_row(edit: &mut Edit<'_>, key: &Key, kind: &'static str, name: String) -> Result<(), Error> {
    if edit.state().object(key).is_none() {
        return Err(Error::NotFound { kind, name });
    }
    edit.delete_object(key.clone());
    Ok(())
}

fn delete_pool(edit: &mut Edit<'_>, name: &Name) -> Result<(), Error> {
    let missing = || Error::NotFound { kind: "loadbalancerpool", name: name.to_string() };
    let pool = edit.state().pools().get(name).ok_or_else(missing)?;
    check_held(edit, pool, |_| false)?;
    edit.delete_object(Key::Pool(name.clone()));
    Ok(())
}

/// Everything that people wrote in it goes too.
fn delete_namespace(edit: &mut Edit<'_>, name: &NamespaceName) -> Result<(), Error> {
    let state = edit.state();
    let services: Vec<_> = within(state.services(), name).map(|(name, _)| name.clone()).collect();
    let slices = within(state.slices(), name).map(|(name, _)| Key::Slice(name.clone()));
    let specs = within(state.pod_specs(), name).map(|(name, _)| Key::PodSpec(name.clone()));
    let policies = within(state.policies(), name).map(|(name, _)| Key::NetworkPolicy(name.clone()));
    let rest: Vec<_> = slices.chain(specs).chain(policies).collect();
    admit::check_delete_namespace(state, name, !services.is_empty() || !rest.is_empty())?;
    services.iter().try_for_each(|service| service::delete(edit, service))?;
    rest.into_iter().for_each(|key| edit.delete_object(key));
    edit.delete_object(Key::Namespace(name.clone()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use weft_errors::{Coded, TOO_LARGE};

    use super::*;

    #[test]
    fn kinds_have_an_end() {
        let check = |count| check_count("service", "default/web".to_owned(), count, 10).map_err(|e| e.code());
        assert_eq!((check(9), check(10)), (Ok(()), Err(&TOO_LARGE)));
    }
}
