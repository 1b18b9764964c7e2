//! The lab without the product: namespaces, links, services, faults and their end, with real kernels underneath.

use std::time::Duration;

use weft_lab::capture::{self, verdict};
use weft_lab::client::{Client, Job};
use weft_lab::fault::Fault;
use weft_lab::layout::Layout;
use weft_lab::probe::MARKER;
use weft_lab::protocol::{JobSpec, Place, Request, Response, ServiceSpec, ServiceState};
use weft_lab::record::Record;
use weft_lab::topology::{Subnets, Topology};
use weft_lab::{launch, substrate, wait};

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

impl Lab {
    fn probe(&self, place: Place, line: &str) -> serde_json::Value {
        let program = env!("CARGO_BIN_EXE_weft-lab");
        let argv: Vec<&str> = [program, "probe"].into_iter().chain(line.split(' ')).collect();
        let output = self.client.run(place, &argv, SOON * 3).unwrap();
        let last = output.stdout.lines().last().unwrap_or_else(|| panic!("{line}: {output:?}"));
        serde_json::from_str(last).unwrap()
    }

    fn serve(&self, place: Place, line: &str) -> Job {
        let program = env!("CARGO_BIN_EXE_weft-lab");
        let argv =
            [program, "probe", "serve"].into_iter().chain(line.split(' ')).map(str::to_owned).collect();
        let job = self.client.spawn(JobSpec { place, argv, env: Default::default(), stdin: None }).unwrap();
        let ready = wait::until(SOON, Duration::from_millis(2), || {
            job.output().unwrap().stdout.contains("ready").then_some(())
        });
        ready.unwrap_or_else(|| panic!("{line}: {:?}", job.output().unwrap()));
        job
    }

    fn fail(&self, line: &str) {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        self.client.call(&Request::Fail(Fault::parse(&words, false).unwrap())).unwrap();
    }

    fn heal(&self) {
        self.client.call(&Request::Heal(None)).unwrap();
    }

    fn ping(&self, from: &str, to: &str) -> u64 {
        let seen = self.probe(on(from), &format!("ping {to} --count 20 --rate 200 --within 200"));
        seen["received"].as_u64().unwrap_or_else(|| panic!("{seen}"))
    }
}

fn on(machine: &str) -> Place {
    Place::Machine(machine.to_owned())
}

#[test]
fn probes_work_in_both_families_and_see_who_asks() {
    let lab = Lab::start("test-probes", Topology::of_nodes(2));
    let server = lab.serve(on("n2"), "http:80 tcp:9000 udp:9001 bulk:9002 icmp");
    for (to, source) in [("192.168.66.102", "192.168.66.101"), ("fd66:66::66", "fd66:66::65")] {
        assert_eq!(lab.probe(on("n1"), &format!("tcp {to} 9000"))["seen"], source);
        assert_eq!(lab.probe(on("n1"), &format!("udp {to} 9001"))["seen"], source);
        assert_eq!(lab.probe(on("n1"), &format!("http {to} 80"))["body"]["client"], source);
        let put = lab.probe(on("n1"), &format!("put {to} 9002 --bytes 1000003"));
        assert_eq!((&put["ok"], &put["seen"]), (&true.into(), &source.into()), "{put}");
        assert_eq!(lab.ping("n1", to), 20);
        assert!(server.output().unwrap().stdout.contains(&format!("{{\"heard\":\"{source}\"}}")));
        assert_eq!(lab.probe(on("n1"), &format!("tcp {to} 9"))["kind"], "refused");
        assert_eq!(lab.probe(on("n1"), &format!("udp {to} 9"))["kind"], "refused");
    }
    let program = env!("CARGO_BIN_EXE_weft-lab");
    let argv = [program, "probe", "stream", "192.168.66.102", "9000"].map(str::to_owned).to_vec();
    let stream =
        lab.client.spawn(JobSpec { place: on("n1"), argv, env: Default::default(), stdin: None }).unwrap();
    wait::pass(Duration::from_millis(300));
    let seen: serde_json::Value = serde_json::from_str(&stream.stop().unwrap().stdout).unwrap();
    assert!(seen["ok"] == true && seen["sent"].as_u64() > Some(30), "{seen}");
}

#[test]
fn faults_take_effect_and_heal() {
    for subnets in [Subnets::Shared, Subnets::PerNode] {
        let mut topology = Topology::of_nodes(3);
        topology.underlay.subnets = subnets;
        let lab = Lab::start("test-faults", topology);
        let plan = lab.client.describe().unwrap().plan;
        let address = |name: &str| {
            plan.machine(name).unwrap().addresses().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        for to in address("n2") {
            let to = to.as_str();
            assert_eq!(lab.ping("n1", to), 20, "healthy {to}");
            for fault in ["partition n1|n2", "cut n1-n2", "cut n2", "drop n1-n2 100", "kill-node n2"] {
                lab.fail(fault);
                assert_eq!(lab.ping("n1", to), 0, "{fault} {to}");
                let n3 = address("n3").into_iter().find(|a| a.contains(':') == to.contains(':')).unwrap();
                assert_eq!(lab.ping("n1", &n3), 20, "{fault}: n3");
                lab.heal();
                assert_eq!(lab.ping("n1", to), 20, "healed {fault} {to}");
            }
            lab.fail("drop n2 40");
            let some = lab.ping("n1", to);
            assert!(some > 0 && some < 20, "{some} of 20 with 40 % lost each way");
            lab.heal();
            lab.fail("mtu n2 1300");
            let large = lab.probe(on("n1"), &format!("ping {to} --count 3 --size 1400 --within 200"));
            let small = lab.probe(on("n1"), &format!("ping {to} --count 3 --size 400 --within 200"));
            assert_eq!((&large["received"], &small["received"]), (&0.into(), &3.into()), "{to}");
            lab.heal();
        }
    }
}

#[test]
fn services_are_started_again_held_and_heard() {
    let lab = Lab::start("test-services", Topology::of_nodes(1));
    let script = "python3 -c \"import os,socket;s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM);s.sendto(b'READY=1',os.environ['NOTIFY_SOCKET'])\"; exec sleep 1000";
    let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
    let spec =
        ServiceSpec { machine: "n1".to_owned(), name: "sleeper".to_owned(), argv, env: Default::default() };
    lab.client.call(&Request::Services(vec![spec])).unwrap();
    lab.client.ready("n1", "sleeper", SOON).unwrap();
    let state = || {
        lab.client.describe().unwrap().machines.iter().find(|m| m.machine.name == "n1").unwrap().services[0]
            .clone()
    };
    let wait_for = |what: &str, test: &dyn Fn(&ServiceState) -> bool| {
        wait::until(SOON, Duration::from_millis(5), || test(&state()).then_some(()))
            .unwrap_or_else(|| panic!("{what}: {:?}", state()));
    };
    lab.fail("kill-process n1 sleeper");
    wait_for("started again", &|s| s.restarts == 1 && s.ready);
    lab.fail("stop-process n1 sleeper");
    wait_for("held", &|s| s.pid.is_none() && s.held);
    lab.heal();
    wait_for("released", &|s| s.ready);
    lab.fail("kill-node n1");
    wait_for("dead with its machine", &|s| s.pid.is_none());
    lab.heal();
    wait_for("back with its machine", &|s| s.ready);
    lab.fail("pause n1");
    let pid = state().pid.unwrap();
    let status =
        lab.client.run(Place::Switch, &["cat", &format!("/proc/{pid}/status")], SOON).unwrap().stdout;
    assert!(status.contains("T (stopped)"), "{status}");
    lab.heal();
}

#[test]
fn a_capture_holds_every_frame_of_a_link() {
    let lab = Lab::start("test-capture", Topology::of_nodes(2));
    let file = lab.client.layout().captures().join("n1.pcapng");
    let Response::Capturing(number) =
        lab.client.call(&Request::Capture(Place::Switch, "n1".to_owned(), file.clone())).unwrap()
    else {
        panic!("no capture")
    };
    assert_eq!(lab.ping("n1", "192.168.66.102"), 20);
    lab.client.call(&Request::CaptureEnd(number)).unwrap();
    let wanted =
        verdict::Wanted { addresses: vec!["192.168.66.102".parse().unwrap()], marker: MARKER.to_vec() };
    let verdict = capture::judge([file.as_path()], wanted).unwrap();
    assert_eq!(verdict.markers, 40, "{verdict:?}");
    assert!(verdict.addresses.values().all(|n| *n >= 40), "{verdict:?}");
    assert_eq!(verdict.count(verdict::Class::Offender), 40, "{verdict:?}");
}

#[test]
fn nothing_remains_of_a_lab_whose_first_process_is_killed() {
    let lab = Lab::start("test-killed", Topology::of_nodes(2));
    let record = Record::read(lab.client.layout()).unwrap();
    lab.serve(on("n1"), "tcp:9000");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(record.pid as i32), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    let gone = wait::until(SOON, Duration::from_millis(5), || (!alive(&record)).then_some(()));
    assert!(gone.is_some(), "processes of the lab remain");
    // The kernel closes what a process had while it ends, not before.
    let closed = || Client::open(lab.client.layout().clone()).is_err().then_some(());
    assert!(wait::until(SOON, Duration::from_millis(5), closed).is_some(), "the control socket remains");
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains("test-killed"), "{mounts}");
}

/// Whether a process of the lab, or one numbered inside it, is left.
fn alive(record: &Record) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let first = entry.file_name().to_str() == Some(&record.pid.to_string());
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        (first && !stat.contains(") Z")) || line.contains("lab/test-killed/")
    })
}

#[test]
fn two_labs_run_side_by_side_and_end_one_by_one() {
    let first = Lab::start("test-one", Topology::of_nodes(1));
    let second = Lab::start("test-two", Topology::of_nodes(1));
    drop(first);
    assert!(second.on("n1", "ip -o link show eth0").contains("eth0"));
    assert_eq!(substrate::stop(&Layout::of("test-one").unwrap()).unwrap(), Vec::<String>::new());
}

#[test]
fn a_capture_ends_with_its_lab() {
    let lab = Lab::start("test-captured", Topology::of_nodes(1));
    let mut capture = std::process::Command::new(env!("CARGO_BIN_EXE_weft-lab"))
        .args(["capture", "n1", "--name", "test-captured", "--for", "60s"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let space = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let inside = || (space(capture.id())? != space(std::process::id())?).then_some(());
    assert!(wait::until(SOON, Duration::from_millis(5), inside).is_some(), "it doesn't capture");
    drop(lab);
    let ended = wait::until(SOON, Duration::from_millis(5), || capture.try_wait().ok().flatten());
    capture.kill().ok();
    assert!(ended.is_some_and(|status| status.success()), "it holds the namespaces of a lab that is down");
}

#[test]
fn labs_of_one_name_start_and_end_one_after_the_other() {
    launch::use_program(env!("CARGO_BIN_EXE_weft-lab").into());
    let layout = Layout::of("test-up-down").unwrap();
    substrate::stop(&layout).unwrap();
    for round in 0..4 {
        let start = std::thread::spawn({
            let layout = layout.clone();
            move || substrate::start(&layout, Topology::of_nodes(1).checked().unwrap(), None)
        });
        let end = || {
            let mut ends = 0;
            while !start.is_finished() || ends == 0 {
                assert_eq!(substrate::stop(&layout).unwrap(), Vec::<String>::new(), "round {round}");
                ends += 1;
            }
        };
        std::thread::scope(|scope| {
            let other = scope.spawn(end);
            end();
            other.join().unwrap();
        });
        // It may have been ended before its own call came back; nothing else may go wrong.
        let missing = start.join().unwrap().err().map(|e| e.to_string()).unwrap_or_default();
        assert!(missing.is_empty() || missing.contains("no lab"), "round {round}: {missing}");
        assert_eq!(substrate::stop(&layout).unwrap(), Vec::<String>::new(), "round {round}");
        assert!(Client::open(layout.clone()).is_err() && Record::read(&layout).is_err(), "round {round}");
    }
}

#[test]
fn commands_pass_exit_statuses_on_and_say_what_is_missing() {
    let lab = Lab::start("test-commands", Topology::of_nodes(1));
    let run = |line: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_weft-lab"))
            .args(line.split(' '))
            .env("WEFT_LAB", "test-commands")
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    assert_eq!(run("exec n1 -- cat /proc/sys/kernel/hostname").1, "n1\n");
    assert_eq!(run("exec n1 -- false").0, 1);
    let (status, _, error) = run("exec n7 -- true");
    assert!(status == 4 && error.contains("no machine or pod \"n7\""), "{status} {error}");
    assert_eq!(run("fail cut n1-n7").0, 4);
    assert_eq!(run("fail explode n1").0, 2);
    assert_eq!(run("fail cut n1").0, 0);
    assert!(run("ls").1.contains("cut n1"));
    assert_eq!(run("heal").0, 2);
    assert_eq!(run("heal --all"), (0, "cut n1: healed\n".to_owned(), String::new()));
    assert_eq!(run("heal --all").1, "no fault is in force\n");
    let cut = run("fail cut n1").1;
    let undo = cut.trim().strip_prefix("cut n1: in force; undo it with: cargo lab ").unwrap();
    assert_eq!(run(undo).1, "cut n1: healed\n", "the hint can be pasted");
    assert_eq!(run("capture n1 --for 50ms -- port x").0, 2);
    assert_eq!(run("capture n1 --for 50ms").0, 0);
    assert_eq!(run("ctl status").0, 1, "a lab of machines only has no weft");
    drop(lab);
    assert_eq!(run("exec n1 -- true").0, 4);
    let down = |name: &str| run(&format!("down {name}"));
    assert_eq!(down("test-commands"), (0, "there is no lab test-commands\n".to_owned(), String::new()));
    let lab = Lab::start("test-commands", Topology::of_nodes(1));
    assert!(down("test-commands").1.starts_with("lab test-commands is down: nothing of it remains"));
    drop(lab);
}
