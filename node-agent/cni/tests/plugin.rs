//! The built plugin against no agent and against a small one of the test.

#![allow(clippy::unwrap_used, reason = "helpers of a test may panic")]

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

const CONFIG: &str = r#"{"cniVersion":"1.0.0","name":"weft","type":"weft-cni"}"#;
const FULL: &str = "CNI_CONTAINERID=c1 CNI_NETNS=/run/netns/x CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin";

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weft-cni-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Exit status and standard output of a call.
fn call(place: &Path, command: &str, environment: &str, config: &str) -> (i32, String) {
    let mut plugin = Command::new(env!("CARGO_BIN_EXE_weft-cni"));
    plugin.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    plugin.env("WEFT_CNI_SOCKET", place.join("cni.sock")).env("WEFT_CNI_SPOOL", place.join("spool"));
    plugin.env("CNI_COMMAND", command).envs(environment.split_whitespace().filter_map(|w| w.split_once('=')));
    let mut child = plugin.spawn().unwrap();
    // A plugin that refuses early doesn't read its input.
    let _ = child.stdin.take().unwrap().write_all(config.as_bytes());
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn without_an_agent_only_del_succeeds_and_is_kept() {
    let place = Place::new("alone");
    for (command, environment, code) in
        [("ADD", FULL, 11), ("CHECK", FULL, 11), ("STATUS", "CNI_PATH=/x", 50)]
    {
        let (status, text) = call(&place.0, command, environment, CONFIG);
        assert_eq!(status, 1, "{command}");
        let start = format!(r#"{{"cniVersion":"1.0.0","code":{code},"msg":"weft-agent can't be reached at "#);
        assert!(text.starts_with(&start), "{command}: {text}");
    }
    assert!(!place.0.join("spool").exists());
    let without_netns = "CNI_CONTAINERID=c1 CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin";
    assert_eq!(call(&place.0, "DEL", without_netns, CONFIG), (0, String::new()));
    let kept: Vec<_> = fs::read_dir(place.0.join("spool")).unwrap().map(|f| f.unwrap().path()).collect();
    let frame = fs::read(&kept[0]).unwrap();
    assert_eq!((kept.len(), frame[0]), (1, 1));
    let body = String::from_utf8(frame[5..].to_vec()).unwrap();
    assert!(body.starts_with(r#"{"command":"DEL","env":{"#) && body.contains(r#""CNI_CONTAINERID":"c1""#));
    assert!(
        body.ends_with(r#""config":"{\"cniVersion\":\"1.0.0\",\"name\":\"weft\",\"type\":\"weft-cni\"}"}"#)
    );
}

#[test]
fn version_needs_neither_agent_nor_input_and_wrong_calls_are_refused_before_the_agent() {
    let place = Place::new("version");
    let (status, text) = call(&place.0, "VERSION", "", "");
    assert_eq!(
        (status, text.contains(r#""supportedVersions":["0.3.1","0.4.0","1.0.0","1.1.0"]"#)),
        (0, true)
    );
    let (status, text) = call(&place.0, "ADD", "", CONFIG);
    assert_eq!(
        (status, text.contains(r#""code":4,"msg":"required env variables [CNI_CONTAINERID,"#)),
        (1, true)
    );
    let (status, text) = call(&place.0, "STATUS", "CNI_PATH=/x", &" ".repeat(1024 * 1024 + 1));
    assert_eq!((status, text.contains(r#""code":5,"#)), (1, true), "{text}");
}

#[test]
fn the_agents_answer_goes_through_unchanged() {
    let place = Place::new("agent");
    let listener = UnixListener::bind(place.0.join("cni.sock")).unwrap();
    let agent = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 5];
        stream.read_exact(&mut head).unwrap();
        let mut body = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize];
        stream.read_exact(&mut body).unwrap();
        stream.write_all(b"\x01\x01\0\0\0\x0e{\"code\": 7}\n\n\n").unwrap();
        String::from_utf8(body).unwrap()
    });
    let answer = call(&place.0, "ADD", FULL, CONFIG);
    assert_eq!(answer, (1, "{\"code\": 7}\n\n\n".to_owned()));
    assert!(agent.join().unwrap().contains(r#""CNI_NETNS":"/run/netns/x""#));
}
