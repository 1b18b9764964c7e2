//! Families of a service and their policy: defaults, upgrade and downgrade between one and two
//! (`initIPFamilyFields` and `ValidateServiceClusterIPsRelatedFields` of Kubernetes).

use weft_model::{ClusterAddresses, Fabric, Family, FamilyPolicy, ServiceSpec, ServiceType};

use super::Problems;

const SINGLE: FamilyPolicy = FamilyPolicy::SingleStack;

/// Settles families and policy; the list of addresses is left with as many as are known.
pub(crate) fn settle(
    fabric: &Fabric,
    old: Option<&ServiceSpec>,
    new: &mut ServiceSpec,
    problems: &mut Problems,
) {
    if new.kind == ServiceType::ExternalName {
        return forbid(new, problems);
    }
    let old = old.filter(|old| old.kind != ServiceType::ExternalName);
    let both = fabric.families.list().len() > 1;
    let unselected = new.selector.is_empty()
        && (new.addresses == ClusterAddresses::None
            || (new.addresses == ClusterAddresses::Wanted
                && old.is_some_and(|old| old.addresses == ClusterAddresses::None)));
    let default = if unselected && both { FamilyPolicy::RequireDualStack } else { SINGLE };
    let policy = new.family_policy.or_else(|| old?.family_policy).unwrap_or(default);
    new.family_policy = Some(policy);
    if let Some(old) = old {
        keep(old, policy, new);
        if let (Some(was), Some(is)) = (old.families.first(), new.families.first())
            && was != is
        {
            return problems.invalid("spec.ipFamilies[0]", is.to_string(), "may not change once set");
        }
    }
    let sound = check(fabric, policy, new, problems);
    if !sound {
        return;
    }
    infer(fabric, new, problems);
    if new.families.is_empty() {
        new.families.push(fabric.families.primary());
    }
    if let [one] = new.families.as_slice()
        && policy != SINGLE
        && both
    {
        let other = one.other();
        new.families.push(other);
    }
}

fn forbid(new: &ServiceSpec, problems: &mut Problems) {
    let why = "may not be set for ExternalName services";
    if new.addresses != ClusterAddresses::Wanted {
        problems.forbidden("spec.clusterIPs", why);
    }
    if !new.families.is_empty() {
        problems.forbidden("spec.ipFamilies", why);
    }
    if new.family_policy.is_some() {
        problems.forbidden("spec.ipFamilyPolicy", why);
    }
}

/// What was left out stays; with one family wanted, the second family and address go.
fn keep(old: &ServiceSpec, policy: FamilyPolicy, new: &mut ServiceSpec) {
    if new.addresses == ClusterAddresses::Wanted {
        new.addresses = old.addresses.clone();
    }
    if new.families.is_empty() {
        new.families.clone_from(&old.families);
    }
    let held = old.addresses.list();
    if policy == SINGLE {
        let downgraded = old.family_policy != Some(SINGLE);
        if downgraded && new.families == old.families {
            new.families.truncate(1);
        }
        if downgraded
            && let ClusterAddresses::Given(list) = &mut new.addresses
            && *list == held
        {
            list.truncate(1);
        }
        return;
    }
    if old.families.starts_with(&new.families) {
        new.families.clone_from(&old.families);
    }
    if let ClusterAddresses::Given(list) = &mut new.addresses
        && held.starts_with(list)
    {
        *list = held.to_vec();
    }
}

/// Whether what was given can be worked with.
fn check(fabric: &Fabric, policy: FamilyPolicy, new: &ServiceSpec, problems: &mut Problems) -> bool {
    let mut sound = true;
    let mut bad = |field: String, value: String, why: &str| {
        problems.invalid(field, value, why);
        sound = false;
    };
    if policy == FamilyPolicy::RequireDualStack && fabric.families.list().len() < 2 {
        let why = "this cluster is not configured for dual-stack services";
        bad("spec.ipFamilyPolicy".to_owned(), policy.to_string(), why);
    }
    let addresses = new.addresses.list();
    for (field, count) in [("spec.ipFamilies", new.families.len()), ("spec.clusterIPs", addresses.len())] {
        if count > 2 {
            bad(field.to_owned(), format!("{count} values"), "may only hold up to 2 values");
        } else if count == 2 && policy == SINGLE {
            let what = field.trim_start_matches("spec.");
            let why =
                format!("must be RequireDualStack or PreferDualStack when multiple '{what}' are specified");
            bad("spec.ipFamilyPolicy".to_owned(), policy.to_string(), &why);
        }
    }
    for (index, family) in new.families.iter().enumerate() {
        let field = format!("spec.ipFamilies[{index}]");
        if !fabric.families.has(*family) {
            bad(field, family.to_string(), "not configured on this cluster");
        } else if new.families.iter().take(index).any(|earlier| earlier == family) {
            bad(field, family.to_string(), "each family may stand here once");
        }
    }
    for (index, address) in addresses.iter().enumerate() {
        let (field, family) = (format!("spec.clusterIPs[{index}]"), Family::of(*address));
        let earlier = addresses.iter().take(index).any(|earlier| Family::of(*earlier) == family);
        if earlier {
            bad(field, address.to_string(), "may specify no more than one IP for each IP family");
        } else if let Some(wanted) = new.families.get(index).filter(|wanted| **wanted != family) {
            let why = format!("expected an {wanted} value as indicated by `ipFamilies[{index}]`");
            bad(field, address.to_string(), &why);
        }
    }
    sound
}

/// Families that only the addresses tell.
fn infer(fabric: &Fabric, new: &mut ServiceSpec, problems: &mut Problems) {
    let addresses = new.addresses.list().to_vec();
    for (index, address) in addresses.into_iter().enumerate().skip(new.families.len()) {
        let family = Family::of(address);
        if fabric.families.has(family) {
            new.families.push(family);
        } else {
            let why = format!("{family} is not configured on this cluster");
            problems.invalid(format!("spec.clusterIPs[{index}]"), address.to_string(), &why);
        }
    }
}
