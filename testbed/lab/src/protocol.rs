//! What the commands ask of the supervisor: one JSON document per line each way on its control socket.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::plan::{Kind, Machine, Plan};

/// Where something runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The switch between the machines: sees every underlay link.
    Switch,
    /// On a machine.
    Machine(String),
    /// In a pod: machine and file name below its `/run/netns`.
    Pod(String, String),
}

/// A process that the init of a machine keeps alive.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// The machine it runs on.
    pub machine: String,
    /// Short name: `weftd`, `agent`, `tunnel`.
    pub name: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Added to the supervisor's environment.
    pub env: BTreeMap<String, String>,
}

/// A process that runs once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobSpec {
    /// Where.
    pub place: Place,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Added to the supervisor's environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What it reads; nothing otherwise.
    #[serde(default)]
    pub stdin: Option<String>,
}

/// What happens to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Act {
    /// SIGKILL; the init starts it again.
    Kill,
    /// SIGTERM; the init starts it again when it has ended.
    Restart,
    /// SIGKILL and held down.
    Hold,
    /// No longer held down.
    Release,
}

/// A request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// What is there.
    Describe,
    /// This connection's end is the lab's end.
    Tie,
    /// Starts services.
    Services(Vec<ServiceSpec>),
    /// Acts on a service.
    Act(String, String, Act),
    /// Waits until a service has said that it is ready: machine, service, milliseconds.
    Ready(String, String, u64),
    /// Starts a process.
    Spawn(JobSpec),
    /// Waits for the end of a process: job, milliseconds.
    Await(u64, u64),
    /// Signals a process: job, signal number.
    Signal(u64, i32),
    /// Remembers an attached pod.
    PodAdded(PodRecord),
    /// Forgets a pod by namespace and name.
    PodRemoved(String, String),
    /// Adds a machine.
    Grow(String, Kind),
    /// Captures an interface into a file: place, interface, file.
    Capture(Place, String, PathBuf),
    /// Ends a capture.
    CaptureEnd(u64),
    /// Brings a fault about.
    Fail(Fault),
    /// Undoes one fault, or all.
    Heal(Option<Fault>),
    /// Ends the lab.
    Down,
}

/// The answer to a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    /// Done.
    Done,
    /// It could not be done: in words, and the exit status that says so.
    Failed(String, u8),
    /// To `Describe`.
    Lab(Box<Description>),
    /// To `Spawn`.
    Job(u64),
    /// To `Await`: none when it still runs.
    Ended(Option<Ending>),
    /// To `Ready`: false when the time passed.
    Ready(bool),
    /// To `Grow`.
    Machine(Machine),
    /// To `Capture`.
    Capturing(u64),
    /// To `CaptureEnd`.
    Captured(Captured),
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Exit status, or 128 + signal.
    pub status: u8,
}

/// What a capture counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captured {
    /// Frames in the file.
    pub frames: u64,
    /// Frames that the kernel dropped because we read too slowly.
    pub missed: u64,
}

/// A pod of the lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PodRecord {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Machine it is attached on.
    pub node: String,
    /// File name below the machine's `/run/netns`.
    pub netns: String,
    /// CNI container id.
    pub container: String,
    /// Addresses, the primary first.
    pub addresses: Vec<IpAddr>,
}

/// State of a service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceState {
    /// Short name.
    pub name: String,
    /// Process id in the supervisor's namespace (of a virtual machine: in its own) while it runs.
    pub pid: Option<u32>,
    /// Times it was started again.
    pub restarts: u32,
    /// Whether it has said that it is ready since its last start.
    pub ready: bool,
    /// Whether it is held down.
    pub held: bool,
}

/// State of a machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MachineState {
    /// Name, kind and addresses.
    pub machine: Machine,
    /// First process of the machine in the supervisor's namespace; none while it is down.
    pub pid: Option<u32>,
    /// Whether that process is a virtual machine: nobody can enter it from outside.
    #[serde(default)]
    pub is_virtual: bool,
    /// Its services.
    pub services: Vec<ServiceState>,
}

/// A whole lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Description {
    /// How machines are connected.
    pub plan: Plan,
    /// Machines.
    pub machines: Vec<MachineState>,
    /// Pods.
    pub pods: Vec<PodRecord>,
    /// Faults in force.
    pub faults: Vec<Fault>,
}
