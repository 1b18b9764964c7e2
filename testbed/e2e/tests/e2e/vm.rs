//! Nodes that are virtual machines: the mesh on the kernel's own WireGuard, which this machine's kernel may lack, and power cuts.

use weft_e2e::on_virtual_nodes;
use weft_lab::Result;
use weft_lab::checks::{faults, mesh, paths, wire};

#[test]
fn pods_reach_each_other_over_the_kernels_wireguard_and_nothing_is_in_clear() -> Result {
    on_virtual_nodes(|fabric, cast| {
        mesh::in_kernel(fabric)?;
        let during = || {
            wire::traffic(fabric, cast)?;
            paths::every_pair(fabric, cast).map(drop)
        };
        wire::captured(fabric, cast, "kernel", during).map(drop)
    })
}

#[test]
fn a_tunnel_process_beside_the_kernels_device_waits() -> Result {
    on_virtual_nodes(|fabric, cast| mesh::tunnel_waits(fabric, cast).map(drop))
}

#[test]
fn a_kernel_device_that_somebody_deleted_is_made_again() -> Result {
    on_virtual_nodes(|fabric, cast| mesh::device_deleted(fabric, cast).map(drop))
}

#[test]
fn an_agent_restart_over_the_kernels_wireguard_loses_no_packet() -> Result {
    on_virtual_nodes(|fabric, cast| faults::agent_dies(fabric, cast).map(drop))
}

#[test]
fn a_node_that_lost_its_power_comes_back_by_itself() -> Result {
    on_virtual_nodes(|fabric, cast| mesh::power_cut(fabric, cast).map(drop))
}

#[test]
fn the_mesh_crates_tests_hold_on_a_kernel_with_wireguard() -> Result {
    on_virtual_nodes(|fabric, _| {
        let program = weft_e2e::test_program("weft-mesh")?;
        mesh::test_program(fabric, &program, &[("WEFT_NEEDS", "kernel-wireguard")]).map(drop)
    })
}
