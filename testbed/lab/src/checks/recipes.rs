//! The recipes of docs/policy.md as they stand there: each is applied, tried with packets, and taken back.

use std::net::IpAddr;

use anyhow::{Context, ensure};
use weft_model::Direction;

use super::{Cast, TCP, names, works};
use crate::fabric::Pod;
use crate::{Fabric, Result};

/// What people read.
const PAGE: &str = include_str!("../../../../docs/policy.md");
/// The database's own port.
const DATABASE: &str = "5432";
/// Milliseconds in which an answer comes, also on a busy machine.
const PATIENCE: &str = "4000";
/// Milliseconds after which a probe that must not be answered ends; that its packet was denied is proven by the node's count.
const SILENCE: &str = "200";

/// A pod of the scene.
#[derive(Clone, Copy, Debug)]
enum Who {
    Web,
    Db,
    Log,
    Stranger,
}
use Who::{Db, Log, Stranger, Web};

/// What must hold while a recipe is in force.
struct Recipe {
    /// Names of its policies, as the page has them in one block.
    policies: &'static [&'static str],
    /// From, to, port.
    passes: &'static [(Who, Who, &'static str)],
    /// The same, and whose end denies.
    denied: &'static [(Who, Who, &'static str, Direction)],
}

/// The recipe of one application's tiers.
pub(super) const TIERS: &[&str] = &["db", "web"];

const RECIPES: [Recipe; 4] = [
    Recipe {
        policies: &["closed"],
        passes: &[(Web, Stranger, TCP)],
        denied: &[(Web, Db, DATABASE, Direction::Ingress), (Stranger, Web, TCP, Direction::Ingress)],
    },
    Recipe {
        policies: &["own-namespace"],
        passes: &[(Web, Db, DATABASE), (Web, Stranger, TCP)],
        denied: &[(Stranger, Web, TCP, Direction::Ingress), (Stranger, Db, DATABASE, Direction::Ingress)],
    },
    Recipe {
        policies: &["names-only"],
        passes: &[(Stranger, Web, TCP)],
        denied: &[(Web, Db, DATABASE, Direction::Egress), (Log, Web, TCP, Direction::Egress)],
    },
    Recipe {
        policies: TIERS,
        passes: &[(Web, Db, DATABASE), (Log, Web, TCP), (Db, Web, TCP)],
        denied: &[
            (Log, Db, DATABASE, Direction::Ingress),
            (Stranger, Db, DATABASE, Direction::Ingress),
            (Web, Db, TCP, Direction::Egress),
            (Web, Stranger, TCP, Direction::Egress),
        ],
    },
];

/// Pods for the recipes: three roles of namespace `shop` on two nodes, and a front end of another namespace.
pub struct Scene<'a> {
    fabric: &'a Fabric,
    pods: [Pod; 4],
}

impl<'a> Scene<'a> {
    /// Attaches the pods.
    pub fn set(fabric: &'a Fabric, cast: &Cast) -> Result<Self> {
        let (first, second) = (cast.a.node(), cast.c.node());
        let pod = |namespace: &str, name: &str, node: &str, role: &str| {
            let labels = [("role".to_owned(), role.to_owned())].into();
            let serve = ["tcp:9000", "tcp:5432"].map(str::to_owned).to_vec();
            let [name, namespace, node] = [name, namespace, node].map(str::to_owned);
            fabric.attach(&crate::topology::Pod { name, namespace, node, labels, serve })
        };
        let pods = [
            pod("shop", "web-0", first, "web")?,
            pod("shop", "db-0", second, "db")?,
            pod("shop", "log-0", first, "log")?,
            pod("street", "web-0", second, "web")?,
        ];
        fabric.settle()?;
        Ok(Self { fabric, pods })
    }

    /// Takes them away.
    pub fn strike(self) -> Result {
        self.pods.iter().try_for_each(|pod| self.fabric.detach(pod))
    }

    pub(super) const fn fabric(&self) -> &'a Fabric {
        self.fabric
    }

    /// A pod that no recipe of tiers lets to the database.
    pub(super) fn log(&self) -> &Pod {
        self.of(Log)
    }

    /// The database's first address.
    pub(super) fn database(&self) -> IpAddr {
        self.of(Db).addresses()[0]
    }

    /// Its node.
    pub(super) fn database_node(&self) -> &str {
        self.of(Db).node()
    }

    fn of(&self, who: Who) -> &Pod {
        &self.pods[who as usize]
    }

    fn passes(&self, (from, to, port): (Who, Who, &str)) -> Result {
        for address in self.of(to).addresses() {
            works(
                self.fabric,
                &self.of(from).place(),
                &["tcp", &address.to_string(), port, "--within", PATIENCE],
            )
            .with_context(|| format!("{from:?} may reach {to:?} at {port}"))?;
        }
        Ok(())
    }

    fn denied(&self, (from, to, port, direction): (Who, Who, &str, Direction)) -> Result {
        let whose = self.of(match direction {
            Direction::Ingress => to,
            Direction::Egress => from,
        });
        let families = self.of(to).addresses().iter().map(|to| {
            let own = whose.addresses().iter().find(|own| own.is_ipv4() == to.is_ipv4());
            Ok((*to, *own.context("a family that one of them lacks")?))
        });
        for (address, own) in families.collect::<Result<Vec<_>>>()? {
            let before = self.fabric.drops(whose.node())?;
            let place = self.of(from).place();
            let seen = self.fabric.probe(place, &["tcp", &address.to_string(), port, "--within", SILENCE])?;
            ensure!(seen["ok"] != true, "{from:?} reached {to:?} at {port}: {seen}");
            let dropped = self.fabric.drops(whose.node())?.since(&before).at(direction, own);
            ensure!(dropped > 0, "{from:?} to {to:?} at {port}: its {direction:?} denied nothing; {seen}");
        }
        Ok(())
    }

    fn asks_for_names(&self, who: Who) -> Result {
        let server = names::in_service_ranges(self.fabric, 10)?[0].to_string();
        let question = ["dns", &server, "kubernetes.default.svc.cluster.local"];
        let seen = self.fabric.probe(self.of(who).place(), &question)?;
        ensure!(seen["rcode"].is_string(), "{who:?} may ask for names: {seen}");
        Ok(())
    }

    /// One recipe is in force, and then it isn't.
    fn tried(&self, recipe: &Recipe) -> Result {
        let text = block(recipe.policies)?;
        self.fabric.apply(text)?;
        recipe.passes.iter().try_for_each(|way| self.passes(*way))?;
        recipe.denied.iter().try_for_each(|way| self.denied(*way))?;
        [Web, Db, Log].into_iter().try_for_each(|who| self.asks_for_names(who))?;
        self.fabric.erase(text)?;
        self.fabric.settle()?;
        recipe.denied.iter().try_for_each(|(from, to, port, _)| self.passes((*from, *to, port)))
    }
}

/// The YAML blocks of the chapter on recipes.
fn blocks() -> impl Iterator<Item = &'static str> {
    let chapter = PAGE.split("\n## ").find(|chapter| chapter.starts_with("Recipes")).unwrap_or_default();
    chapter.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next())
}

/// The block of the page that holds these policies.
pub(super) fn block(policies: &[&str]) -> Result<&'static str> {
    let holds = |text: &&str| policies.iter().all(|name| text.contains(&format!("{{name: {name}, ")));
    blocks().find(holds).with_context(|| format!("docs/policy.md has no recipe {policies:?}"))
}

/// Every recipe of the page does what the page says, and nothing of it remains when it is deleted.
pub fn tried(scene: &Scene<'_>) -> Result<String> {
    let written = blocks().count();
    ensure!(written == RECIPES.len(), "docs/policy.md has {written} recipes; {} are tried", RECIPES.len());
    for recipe in &RECIPES {
        scene.tried(recipe).with_context(|| format!("recipe {:?}", recipe.policies))?;
    }
    let denied: usize = RECIPES.iter().map(|recipe| recipe.denied.len()).sum();
    Ok(format!(
        "{written} recipes of docs/policy.md; {denied} ways denied by the nodes' counts, open again afterwards"
    ))
}
