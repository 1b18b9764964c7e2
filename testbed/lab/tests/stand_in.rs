//! The lab's own checks, tried on a fabric of plain routes made by stand-ins for the product (`stand-in/`): what must hold holds, what
//! must be found is found, and a check that should fail does.

use std::time::Duration;

use weft_lab::checks::{Cast, paths, wire};
use weft_lab::client::Client;
use weft_lab::layout::Layout;
use weft_lab::record::{Product, Record};
use weft_lab::topology::{Overlay, Pod, Topology};
use weft_lab::{Fabric, Result, launch, substrate, wait};

const SOON: Duration = Duration::from_secs(5);

fn fabric(name: &str) -> Result<Fabric> {
    launch::use_program(env!("CARGO_BIN_EXE_weft-lab").into());
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stand-in");
    let file = |name: &str| folder.join(name);
    let product = Product {
        weftd: file("weftd"),
        agent: file("weft-agent"),
        cni: file("weft-cni"),
        weft: file("weft"),
    };
    let mut topology = Topology::of_nodes(2);
    topology.overlay = Overlay::Routed;
    topology.pod.push(Pod {
        name: "web".to_owned(),
        namespace: "shop".to_owned(),
        node: "n2".to_owned(),
        labels: Default::default(),
        serve: vec!["http:80".to_owned()],
    });
    let layout = Layout::of(name)?;
    substrate::stop(&layout)?;
    Fabric::tied(&layout, topology.checked()?, product, &mut |_| {})
}

#[test]
fn the_checks_hold_on_plain_routes_and_the_judge_sees_clear_traffic() -> Result {
    let fabric = fabric("test-stand-in")?;
    assert_eq!(fabric.pods()?.len(), 1, "the topology's pod");
    let cast = Cast::attach(&fabric)?;
    paths::every_pair(&fabric, &cast)?;
    paths::bulk(&fabric, &cast)?;
    paths::localhost(&fabric, &cast)?;
    paths::same_port(&fabric, &cast)?;
    paths::nodes(&fabric, &cast)?;
    paths::through_the_bridge(&fabric, &cast)?;
    wire::captured(&fabric, &cast, "plain", || wire::traffic(&fabric, &cast))?;
    // Nothing here keeps the bridge from sending IPv6 redirects: the check must see them.
    let redirects = paths::no_redirects(&fabric, &cast);
    assert!(redirects.is_err_and(|e| e.to_string().contains("redirects")), "redirects go unnoticed");
    cast.detach(&fabric)?;
    assert_eq!(fabric.pods()?.len(), 1);
    fabric.down()
}

#[test]
fn a_lab_that_is_ended_while_it_comes_up_is_gone_and_only_its_start_fails() -> Result {
    let layout = Layout::of("test-ended")?;
    let start = std::thread::spawn(|| fabric("test-ended").map(drop));
    let up = wait::until(SOON, Duration::from_millis(1), || Client::open(layout.clone()).ok());
    assert!(up.is_some(), "the lab's machines don't come up");
    // Both ends at once: this one, and that of the start that finds its lab gone.
    while !start.is_finished() {
        assert_eq!(substrate::stop(&layout)?, Vec::<String>::new());
    }
    let Ok(started) = start.join() else { anyhow::bail!("the start panicked") };
    let said = started.err().map(|e| format!("{e:#}")).unwrap_or_default();
    assert!(said.contains("the lab did not come up"), "{said}");
    assert!(Client::open(layout.clone()).is_err() && Record::read(&layout).is_err());
    Ok(())
}
