//! Other people's firewalls: base chains that drop at their end what no rule of theirs accepted.
//!
//! A verdict of ours can't overrule them: a packet passes a hook only when every base chain there lets it (nft(8), "accept").
//! Their rules are not evaluated; who accepts one of our devices by name has thought of us.

use crate::{
    Hook, Observed, ObservedChain, ObservedRule, Policy, TableRef, Verdict,
    expr::{CmpOp, Expr},
};

/// A base chain of a filter whose policy is drop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropPolicy {
    /// Its table.
    pub table: TableRef,
    /// Its name.
    pub chain: String,
    /// Where it stands: input, forward or output.
    pub hook: Hook,
    /// Whether a rule of its table accepts one of the devices that were asked for.
    pub accepts: bool,
}

impl Observed {
    /// Base chains with policy drop for incoming, forwarded and outgoing packets, in order of table and name.
    pub fn drop_policies(&self, devices: &[&str]) -> Vec<DropPolicy> {
        let accepts = |table: &TableRef| self.rules_of(table).any(|rule| accepts(rule, devices));
        let found = self.all_chains().filter_map(|chain| {
            let hook = dropping_hook(chain)?;
            let (table, name) = (chain.table.clone(), chain.name.clone());
            Some(DropPolicy { accepts: accepts(&table), table, chain: name, hook })
        });
        found.collect()
    }
}

fn dropping_hook(chain: &ObservedChain) -> Option<Hook> {
    let (kind, hook, _, policy) = chain.base.as_ref()?;
    let hooks = [Hook::Input, Hook::Forward, Hook::Output];
    let hook = hooks.into_iter().find(|known| known.number(chain.table.family) == *hook)?;
    (kind == "filter" && *policy == Policy::Drop.number()).then_some(hook)
}

fn accepts(rule: &ObservedRule, devices: &[&str]) -> bool {
    let is_device = |data: &[u8]| {
        let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
        data.get(..end).is_some_and(|name| devices.iter().any(|device| device.as_bytes() == name))
    };
    let names = |expr: &Expr| matches!(expr, Expr::Cmp { op: CmpOp::Eq, data, .. } if is_device(data));
    let lets = |expr: &Expr| matches!(expr, Expr::Verdict(Verdict::Accept));
    rule.exprs.iter().any(names) && rule.exprs.iter().any(lets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Reply, TableFamily};

    fn table(family: TableFamily, name: &str) -> TableRef {
        TableRef { family, name: name.to_owned() }
    }

    fn chain(table: &TableRef, name: &str, base: Option<(&str, u32, u32)>) -> Reply {
        let base = base.map(|(kind, hook, policy)| (kind.to_owned(), hook, 0, policy));
        Reply::Chain(ObservedChain { table: table.clone(), name: name.to_owned(), base, bound: false })
    }

    fn rule(table: &TableRef, data: &[u8], op: CmpOp, verdict: Verdict) -> Reply {
        let exprs = vec![Expr::Cmp { from: 0, op, data: data.to_vec() }, Expr::Verdict(verdict)];
        Reply::Rule(ObservedRule {
            table: table.clone(),
            chain: "any".to_owned(),
            handle: 1,
            comment: String::new(),
            counted: None,
            exprs,
        })
    }

    fn check(replies: Vec<Reply>, expected: &[&str]) {
        let mut observed = Observed::default();
        replies.into_iter().for_each(|reply| observed.add(reply));
        let found = observed.drop_policies(&["weftbr0", "weft0"]);
        let said: Vec<_> = found
            .iter()
            .map(|p| format!("{} {} {} {}", p.table, p.chain, p.hook.name(), p.accepts))
            .collect();
        assert_eq!(said, expected);
    }

    #[test]
    fn chains_that_drop_at_their_end_are_found_and_those_that_know_us_are_marked() {
        let (docker, ufw) = (table(TableFamily::Ip, "filter"), table(TableFamily::Inet, "ufw"));
        check(vec![chain(&docker, "FORWARD", Some(("filter", 2, 0)))], &["ip filter FORWARD forward false"]);
        check(
            vec![
                chain(&docker, "FORWARD", Some(("filter", 2, 1))),
                chain(&docker, "POSTROUTING", Some(("nat", 4, 0))),
                chain(&docker, "PREROUTING", Some(("filter", 0, 0))),
                chain(&docker, "DOCKER", None),
            ],
            &[],
        );
        let drop = || chain(&ufw, "input", Some(("filter", 1, 0)));
        for (data, op, verdict, accepts) in [
            (&b"weftbr0\0"[..], CmpOp::Eq, Verdict::Accept, true),
            (b"weft0\0\0\0\0\0\0\0\0\0\0\0", CmpOp::Eq, Verdict::Accept, true),
            (b"weftbr0\0", CmpOp::Ne, Verdict::Accept, false),
            (b"weftbr0\0", CmpOp::Eq, Verdict::Drop, false),
            (b"eth0\0", CmpOp::Eq, Verdict::Accept, false),
        ] {
            let expected = format!("inet ufw input input {accepts}");
            check(vec![drop(), rule(&ufw, data, op, verdict.clone())], &[&expected]);
            check(vec![drop(), rule(&docker, data, op, verdict)], &["inet ufw input input false"]);
        }
    }
}
