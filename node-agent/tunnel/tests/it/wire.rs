//! The wire between the nodes: a bridge in a namespace of its own, and an eavesdropper on it.

use std::{
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{node::Node, world::ip};

/// The namespace of the wire.
pub(crate) struct Wire(Node);

/// A running capture of all frames on the wire.
pub(crate) struct Capture {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Vec<u8>>>,
}

impl Wire {
    /// Joins the nodes by cables to one bridge.
    pub(crate) fn between(nodes: &[&Node]) -> Self {
        let wire = Node::new(0);
        wire.run(|_| ip("link add hub up type bridge"));
        for node in nodes {
            let (number, thread) = (node.number, node.thread);
            wire.run(move |_| {
                ip(&format!("link add w{number} type veth peer name u0 netns {thread}"));
                ip(&format!("link set w{number} master hub up"));
            });
            node.run(|inside| {
                ip(&format!("addr add 192.168.7.{}/24 dev u0", inside.number));
                ip("link set u0 up");
            });
        }
        Self(wire)
    }

    /// Listens to everything from now on.
    pub(crate) fn capture(&self) -> Capture {
        self.0.run(|_| {
            // ETH_P_ALL in network byte order, as packet(7) wants it.
            let protocol = Protocol::from(i32::from(3_u16.to_be()));
            let mut socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let stop = Arc::new(AtomicBool::new(false));
            let stopped = Arc::clone(&stop);
            let thread = thread::spawn(move || {
                let (mut frames, mut buffer) = (Vec::new(), vec![0; 65536]);
                loop {
                    match socket.read(&mut buffer) {
                        Ok(length) => frames.push(buffer[..length].to_vec()),
                        Err(_) if stopped.load(Ordering::Relaxed) => return frames,
                        Err(_) => {}
                    }
                }
            });
            Capture { stop, thread }
        })
    }
}

impl Capture {
    /// All frames until now.
    pub(crate) fn finish(self) -> Vec<Vec<u8>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Whether a text stands anywhere in the frames.
pub(crate) fn has(frames: &[Vec<u8>], text: &[u8]) -> bool {
    frames.iter().any(|frame| frame.windows(text.len()).any(|window| window == text))
}

/// Number of IPv4 UDP datagrams to a port.
pub(crate) fn datagrams_to(frames: &[Vec<u8>], port: u16) -> usize {
    let to_port =
        |f: &&Vec<u8>| f.len() > 42 && f[12..14] == [8, 0] && f[23] == 17 && f[36..38] == port.to_be_bytes();
    frames.iter().filter(to_port).count()
}
