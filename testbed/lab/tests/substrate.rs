//! The lab without the product: namespaces, links, services, faults and their end, with real kernels underneath.

use std::time::Duration;

use weft_lab::client::Client;
use weft_lab::layout::Layout;
use weft_lab::protocol::Place;
use weft_lab::topology::Topology;
use weft_lab::{launch, substrate};

const SOON: Duration = Duration::from_secs(5);

struct Lab {
    client: Client,
}

impl Lab {
    fn start(name: &str, topology: Topology) -> Self {
        launch::use_program(env!("CARGO_BIN_EXE_weft-lab").into());
        let layout = Layout::of(name).unwrap();
        substrate::stop(&layout).unwrap();
        let client = substrate::start(&layout, topology.checked().unwrap(), None).unwrap();
        Self { client }
    }

    fn on(&self, machine: &str, line: &str) -> String {
        let argv: Vec<&str> = line.split(' ').collect();
        let output = self.client.run(Place::Machine(machine.to_owned()), &argv, SOON).unwrap();
        output.success(line).unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        assert_eq!(substrate::stop(self.client.layout()).unwrap(), Vec::<String>::new());
    }
}

#[test]
fn machines_have_their_own_links_files_and_processes() {
    let lab = Lab::start("test-machines", Topology::of_nodes(2));
    assert!(lab.on("n1", "ip -o address show dev eth0").contains("192.168.66.101/24"));
    assert!(lab.on("n1", "ip -6 route show default").contains("fd66:66::c9"));
    lab.on("n1", "touch /run/mark /var/lib/weft/mark /var/run/mark2");
    assert_eq!(lab.on("n2", "ls /var/lib/weft").trim(), "");
    assert_eq!(
        lab.on("n1", "ls /run").split_whitespace().collect::<Vec<_>>(),
        ["lab", "mark", "mark2", "netns", "wireguard"]
    );
    assert_eq!(lab.on("n1", "cat /proc/sys/kernel/hostname").trim(), "n1");
    assert_eq!(lab.on("n1", "cat /proc/1/comm").trim(), "weft-lab");
    lab.on("n1", "test -f /etc/passwd");
}
