//! Whether the rows of a state agree with each other: asked when a state is restored, and after every step of the
//! property tests.

mod services;

use weft_model::{AddressRange, Fabric, Node, NodeState, ObjectUid, Pod, PodPhase, RecordKey};

use crate::{Error, State, pool};

impl State {
    /// Checks every invariant over more than one row; reads the whole state.
    pub(crate) fn verify(&self) -> Result<(), Error> {
        let Some(fabric) = self.fabric() else {
            let empty = self.nodes().is_empty() && self.pods().is_empty() && self.leases().is_empty();
            let empty =
                empty && self.services().is_empty() && self.pools().is_empty() && self.owners().is_empty();
            let empty = empty && self.policies().is_empty();
            return if empty { Ok(()) } else { Err(Error::corrupt("object/fabric/main", "it is missing")) };
        };
        self.nodes().values().try_for_each(|node| self.verify_node(fabric, node))?;
        self.verify_leases(fabric)?;
        self.pods().values().try_for_each(|pod| self.verify_pod(fabric, pod))?;
        let addresses = self.pods().values().map(|pod| pod.addresses.len()).sum::<usize>();
        if addresses != self.index.addresses.len() {
            return Err(Error::corrupt("object/pod", "an address is held twice"));
        }
        services::verify(self, fabric)?;
        let nameless = self.policies().values().find(|policy| policy.uid == ObjectUid([0; 16]));
        if let Some(policy) = nameless {
            let key = format!("object/networkpolicy/{}", policy.name);
            return Err(Error::corrupt(key, "it has no identity"));
        }
        if self.index.token_hashes.len() != self.tokens().len() {
            return Err(Error::corrupt("token", "two tokens have one hash"));
        }
        if let Some(id) = self.members().keys().next_back()
            && *id >= self.meta().next_replica
        {
            return Err(Error::corrupt(RecordKey::Meta, format!("replica {id} was never given out")));
        }
        Ok(())
    }

    fn verify_node(&self, fabric: &Fabric, node: &Node) -> Result<(), Error> {
        let bad = |why: String| Err(Error::corrupt(format!("object/node/{}", node.name), why));
        if self.index.uids.get(&node.uid) != Some(&node.name) {
            return bad("another node has the same identity".to_owned());
        }
        if node.state == NodeState::Removed {
            return Ok(());
        }
        for (family, address) in node.mesh.iter() {
            if !fabric.families.has(family) || pool::mesh_position(fabric, *address).is_none() {
                return bad(format!("mesh address {address} lies in no node range"));
            }
            if self.index.mesh.get(address) != Some(&node.name) {
                return bad(format!("mesh address {address} is held twice"));
            }
        }
        for address in &node.underlay {
            if self.index.underlay.get(address) != Some(&node.name) {
                return bad(format!("underlay address {address} is claimed twice"));
            }
        }
        if node.wireguard_key.is_some_and(|key| self.index.keys.get(&key) != Some(&node.name)) {
            return bad("another node has the same key".to_owned());
        }
        Ok(())
    }

    fn verify_leases(&self, fabric: &Fabric) -> Result<(), Error> {
        let is_block = |block: AddressRange| {
            block.prefix() == pool::block_prefix(fabric, block.family())
                && pool::block_position(fabric, block).is_some()
        };
        for lease in self.leases().values() {
            let bad = |why: &str| Err(Error::corrupt(format!("object/block/{}", lease.block), why));
            if !is_block(lease.block) {
                return bad("it isn't a block of a pod range");
            }
            if self.nodes().get(&lease.node).is_none_or(|node| node.state != NodeState::Active) {
                return bad("its holder isn't an active node");
            }
            if lease.epoch > self.meta().last_epoch {
                return bad("its epoch was never given out");
            }
            if self.freed().contains_key(&lease.block) {
                return bad("it is leased and free");
            }
        }
        match self.freed().keys().find(|block| !is_block(**block)) {
            Some(block) => Err(Error::corrupt(format!("freed/{block}"), "it isn't a block of a pod range")),
            None => Ok(()),
        }
    }

    fn verify_pod(&self, fabric: &Fabric, pod: &Pod) -> Result<(), Error> {
        let bad = |why: String| Err(Error::corrupt(format!("object/pod/{}", pod.uid), why));
        for address in &pod.addresses {
            if self.index.addresses.get(address) != Some(&pod.uid) {
                return bad(format!("address {address} is held twice"));
            }
            let lease = pool::block_of(fabric, *address).and_then(|block| self.leases().get(&block));
            if lease.is_none_or(|lease| lease.node != pod.node) {
                return bad(format!("address {address} lies in no block of node {}", pod.node));
            }
        }
        let owns = self.pod_named(&pod.name).is_some_and(|owner| owner.uid == pod.uid);
        if owns != (pod.phase == PodPhase::Active) {
            return bad("its phase doesn't say who owns its name".to_owned());
        }
        Ok(())
    }
}
