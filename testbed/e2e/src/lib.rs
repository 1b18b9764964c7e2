//! Stages for the end-to-end suite: fabrics of the lab with pods in them, shared by the tests of one process.
//!
//! A fabric is started by the first test that needs it and ends with the process, or when others have been used since: fabrics that
//! nobody uses have their clocks and cost processor time, and a new one is there in a second. A test that fails leaves a broken stage, which is taken
//! down (or left up with `WEFT_LAB_KEEP=1`), so the next test starts a new one; logs and captures stay in `target/lab/e2e-*`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::Context;
use weft_lab::checks::Cast;
use weft_lab::fabric::product::{self, Profile};
use weft_lab::layout::{Layout, workspace};
use weft_lab::record::Product;
use weft_lab::topology::{Family, Topology};
use weft_lab::{Fabric, Result, launch, prerequisites, vm};

/// Runs `check` on the topology `name` of `testbed/topologies` in each of the four kinds of families.
pub fn each_family(name: &str, check: impl Fn(&Fabric, &Cast) -> Result) -> Result {
    Family::ALL.into_iter().try_for_each(|family| in_family(name, family, &check))
}

/// Runs `check` on the topology `name` with this kind of families.
pub fn in_family(name: &str, family: Family, check: impl Fn(&Fabric, &Cast) -> Result) -> Result {
    let slot = slot(name, family);
    let mut stage = slot.stage.lock().unwrap_or_else(PoisonError::into_inner);
    slot.used.store(TURN.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    if stage.is_none() {
        make_room()?;
        *stage = Some(Stage::start(name, family).with_context(|| format!("start {name} {}", family.word()))?);
    }
    let Some(ready) = stage.as_ref() else { return Ok(()) };
    let seen = check(&ready.fabric, &ready.cast);
    if let Err(e) = seen {
        let layout = ready.fabric.client().layout().clone();
        if let Some(broken) = stage.take() {
            broken.end()?;
        }
        return Err(e.context(format!("{name} {}; logs in {}", family.word(), layout.logs().display())));
    }
    Ok(())
}

/// Runs `check` where nodes are virtual machines (topology `virtual`). Where there is no qemu or no kernel for them it isn't run, and
/// that is said; `WEFT_NEEDS=vm` makes it fail instead.
pub fn on_virtual_nodes(check: impl Fn(&Fabric, &Cast) -> Result) -> Result {
    let missing = vm::missing().join(" ");
    if missing.is_empty() {
        return in_family("virtual", Family::Dual, check);
    }
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    if std::env::var("WEFT_NEEDS").is_ok_and(|needs| needs.split(',').any(|need| need == "vm")) {
        anyhow::bail!("{test} needs virtual machines: {missing}");
    }
    let _ = writeln!(std::io::stderr(), "not run: {test}, which needs virtual machines. {missing}");
    Ok(())
}

/// Builds the integration test of a crate and says where its program lies.
pub fn test_program(package: &str) -> Result<String> {
    product::test_program(package)
}

struct Stage {
    fabric: Fabric,
    cast: Cast,
    /// Held while the lab exists: two processes don't use one name.
    _lock: File,
}

impl Stage {
    fn start(name: &str, family: Family) -> Result<Self> {
        let product = product()?;
        let layout = Layout::of(&format!("e2e-{name}-{}", family.word()))?;
        let parent = layout.root().parent().context("the lab has no folder")?;
        std::fs::create_dir_all(parent)?;
        let lock = File::create(parent.join(format!("{}.lock", layout.name())))?;
        lock.lock().context("wait for another run of the suite")?;
        weft_lab::substrate::stop(&layout)?;
        let file = workspace().join("testbed/topologies").join(format!("{name}.toml"));
        let mut topology = Topology::read(&file)?;
        topology.family = family;
        let fabric = Fabric::tied(&layout, topology.checked()?, product, &mut |_| {})?;
        let cast = Cast::attach(&fabric)?;
        Ok(Self { fabric, cast, _lock: lock })
    }

    /// Takes the lab down, or leaves it for a look inside.
    fn end(mut self) -> Result {
        if std::env::var_os("WEFT_LAB_KEEP").is_none() {
            return self.fabric.down();
        }
        let name = self.fabric.client().layout().name().to_owned();
        self.fabric.keep()?;
        anyhow::bail!(
            "the lab goes on: cargo lab ls {name}; cargo lab shell --name {name} n1; cargo lab down {name}"
        )
    }
}

/// Place of a stage.
#[derive(Default)]
struct Slot {
    stage: Mutex<Option<Stage>>,
    /// The turn in which it was used last.
    used: AtomicU64,
}

/// Stages that stay while nobody uses them: the four kinds of families on two topologies.
const MOST_IDLE: usize = 8;

static STAGES: Mutex<BTreeMap<(String, &str), Arc<Slot>>> = Mutex::new(BTreeMap::new());
static TURN: AtomicU64 = AtomicU64::new(0);

fn slot(name: &str, family: Family) -> Arc<Slot> {
    let mut stages = STAGES.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(stages.entry((name.to_owned(), family.word())).or_default())
}

/// Takes down what was used longest ago.
fn make_room() -> Result {
    let all: Vec<_> = STAGES.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
    let idle =
        all.iter().filter_map(|slot| Some((slot.used.load(Ordering::Relaxed), slot.stage.try_lock().ok()?)));
    let mut idle: Vec<_> = idle.filter(|(_, stage)| stage.is_some()).collect();
    idle.sort_by_key(|(used, _)| *used);
    let many = idle.len().saturating_sub(MOST_IDLE);
    idle.iter_mut().take(many).filter_map(|(_, stage)| stage.take()).try_for_each(|stage| stage.fabric.down())
}

/// The product, built once per process.
pub fn product() -> Result<Product> {
    static BUILT: OnceLock<core::result::Result<Product, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let (product, lab) = product::build(Profile::Debug).map_err(|e| format!("{e:#}"))?;
        launch::use_program(lab);
        prerequisites::check().map_err(|e| format!("{e:#}"))?;
        Ok(product)
    });
    built.clone().map_err(anyhow::Error::msg)
}
