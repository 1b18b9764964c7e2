//! Bad input: an error with its code, what was wrong, where, what to do; and what was stored before is still there.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use weft_e2e::in_family;
use weft_lab::client::Output;
use weft_lab::fabric::on;
use weft_lab::topology::Family;
use weft_lab::wait::until;
use weft_lab::{Fabric, Result, checks::control};

use crate::alone::{Alone, contents, four_parts};

const FABRIC: &str = "apiVersion: weft.io/v1\nkind: Fabric\nmetadata: {name: main}\nspec:\n";

#[test]
fn bad_yaml_is_refused_with_its_place_and_nothing_is_stored() -> Result {
    let alone = Alone::start()?;
    let stored = || alone.json(&["get", "fabric", "main"]);
    let before = stored()?;
    let ranges = |pods: &str| format!("{FABRIC}  ranges:\n    pods: [{pods}]\n");
    // A text, its code, and what the field and the remedy or cause must name.
    for (name, text, code, field, words) in [
        (
            "misspelt",
            format!("{FABRIC}  familys: dual\n"),
            "W3002",
            "spec.familys (FILE:5:3)",
            "write families",
        ),
        (
            "unknown",
            format!("{FABRIC}  mtuPolicy: probe\n"),
            "W3002",
            "spec.mtuPolicy (FILE:5:3)",
            "blockPrefixV4",
        ),
        (
            "host-bits",
            ranges("10.128.0.1/14"),
            "W2201",
            "spec.ranges.pods[0] (FILE:6:12)",
            "write 10.128.0.0/14",
        ),
        (
            "overlap",
            ranges("10.128.0.0/14, 'fd5a:7e00::/48', 10.112.0.0/15"),
            "W2203",
            "FILE",
            "10.112.0.0/15",
        ),
        (
            "reserved",
            ranges("10.128.0.0/14, 'fd5a:7e00::/48', 127.0.0.0/8"),
            "W2202",
            "spec.ranges.pods[2]",
            "1122",
        ),
        ("families", format!("{FABRIC}  families: v4\n"), "W3103", "spec.families", "dual"),
        ("kind", FABRIC.replace("Fabric", "Fabrik"), "W3003", "FILE:1:1", "Fabric"),
        (
            "twice",
            format!("{FABRIC}  domain: a.b\n---\n{FABRIC}  domain: c.d\n"),
            "W3001",
            "FILE:7:1",
            "FILE:1:1",
        ),
        ("malformed", format!("{FABRIC}  ranges: [\n"), "W3004", "FILE:", "mend the text"),
        ("double-key", format!("{FABRIC}spec: {{}}\n"), "W3004", "FILE:5:1", "mend the text"),
        // What comes first is fine: all or nothing.
        (
            "half",
            format!(
                "{FABRIC}  ranges:\n    pods: [10.128.0.0/14, 'fd5a:7e00::/48', 10.132.0.0/14]\n---\napiVersion: weft.io/v1\nkind: Node\nmetadata: {{nmae: n1}}\n"
            ),
            "W3002",
            "metadata.nmae (FILE:10:12)",
            "write name",
        ),
    ] {
        let file = alone.write(&format!("{name}.yaml"), &text)?;
        let error = alone.refused(&["apply", "-f", &file], 3, code)?;
        let named = error["field"].as_str().unwrap_or_default();
        ensure!(named.contains(&field.replace("FILE", &file)), "{name}: the place is {field}: {error}");
        ensure!(
            error.to_string().contains(&words.replace("FILE", &file)),
            "{name}: {words} isn't named: {error}"
        );
        ensure!(stored()? == before, "{name}: what was stored has changed");
    }
    // Of two files one is bad: neither counts.
    alone.write(
        "two/a.yaml",
        &format!("{FABRIC}  ranges:\n    pods: [10.128.0.0/14, 'fd5a:7e00::/48', 10.132.0.0/14]\n"),
    )?;
    let bad = alone.write("two/b.yaml", &format!("{FABRIC}  oops: 1\n"))?;
    let folder = alone.path("two").to_string_lossy().into_owned();
    let error = alone.refused(&["apply", "-f", &folder], 3, "W3002")?;
    ensure!(error["field"].as_str().is_some_and(|f| f.contains(&bad)), "{error}");
    ensure!(stored()? == before, "half of a folder was stored");
    // The positive twin: the same way, with good text, first dry and then for good.
    let good = alone.write(
        "good.yaml",
        &format!("{FABRIC}  ranges:\n    pods: [10.128.0.0/14, 'fd5a:7e00::/48', 10.132.0.0/14]\n"),
    )?;
    alone.weft(&["apply", "-f", &good, "--dry-run=server"])?.success()?;
    ensure!(stored()? == before, "a dry run stores nothing");
    let said = alone.weft(&["apply", "-f", &good, "--wait"])?.success()?;
    ensure!(said.out.contains("fabric/main  changed") && said.out.contains("10.132.0.0/14"), "{said:?}");
    ensure!(stored()?["spec"]["ranges"]["pods"].to_string().contains("10.132.0.0/14"), "{}", stored()?);
    // What is printed feeds back and changes nothing.
    let printed = alone.weft(&["get", "fabric", "main", "-o", "yaml"])?.success()?.out;
    let said = alone.run("weft", &["apply", "-f", "-"], &[], &printed)?.success()?;
    ensure!(said.out.contains("unchanged"), "{said:?}");
    Ok(())
}

#[test]
fn a_cluster_with_bad_ranges_is_not_made() -> Result {
    let alone = Alone::empty()?;
    let data = alone.path("data");
    let data_text = data.to_string_lossy().into_owned();
    let init = ["init", "--no-start", "--name", "cp-1", "--listen", alone.listen(), "--data-dir", &data_text];
    for (arguments, code, field, words) in [
        (&["--pods", "10.0.0.1/14"][..], "W2201", "spec.ranges.pods[0]", "10.0.0.0/14"),
        (&["--pods", "ten"][..], "W2201", "spec.ranges.pods[0]", "ten"),
        (
            &["--family", "v4", "--pods", "10.0.0.0/14", "--services", "10.1.0.0/16"][..],
            "W2203",
            "spec.ranges.services[0]",
            "10.0.0.0/14",
        ),
        (&["--family", "v4", "--pods", "224.0.0.0/14"][..], "W2202", "spec.ranges.pods[0]", "224.0.0.0/4"),
        (&["--family", "v4", "--pods", "fd00::/48"][..], "W2201", "spec.ranges.pods[0]", "v4"),
        (&["--pods", "10.0.0.0/30"][..], "W2204", "spec.ranges.pods[0]", "10.0.0.0/30"),
    ] {
        let error = alone.refused(&[&init[..], arguments].concat(), 3, code)?;
        ensure!(error["field"] == field && error.to_string().contains(words), "{arguments:?}: {error}");
        ensure!(!data.exists() && !alone.path("contexts.toml").exists(), "{arguments:?}: something was made");
    }
    // A good one is made once; the second time it is refused and the first one is as it was.
    alone.init("data", alone.listen())?.success()?;
    let made = contents(&data)?;
    alone.refused(&init, 3, "W1107")?;
    ensure!(contents(&data)? == made, "a second init touched the first cluster");
    Ok(())
}

#[test]
fn a_replica_with_another_clusters_identity_does_not_start() -> Result {
    let mut alone = Alone::start()?;
    let before = alone.json(&["get", "fabric", "main"])?;
    alone.end()?;
    // Another cluster, with its own contexts.
    let mut other = Alone::start()?;
    other.end()?;
    let (data, theirs) = (alone.path("data"), other.path("data"));
    let run = |alone: &Alone| alone.run("weftd", &["run", "--data-dir", &data.to_string_lossy()], &[], "");
    // Their certificate and key, their authority, their mark of the directory, their log, their state.
    for (part, place) in [
        ("identity", "identity/cert.pem"),
        ("ca", "ca"),
        ("replica", "identity/cert.pem"),
        ("log", "log"),
        ("state", ""),
    ] {
        let kept = alone.path(&format!("kept-{part}"));
        move_to(&data.join(part), &kept)?;
        copy(&theirs.join(part), &data.join(part))?;
        let rest = contents(&data)?;
        let said = run(&alone).with_context(|| format!("with their {part}"))?;
        ensure!(said.status == 3 && said.err.contains("error[W1101]"), "{part}: {said:?}");
        let named = data.join(place).to_string_lossy().trim_end_matches('/').to_owned();
        ensure!(said.err.contains(&named), "{part}: {named} isn't named: {said:?}");
        ensure!(said.err.contains("; try point it at its own cluster"), "{part}: what to do: {said:?}");
        let durable = |all: Vec<(PathBuf, Vec<u8>)>| {
            let opened = |path: &Path| part == "log" && path.components().any(|c| c.as_os_str() == "log");
            all.into_iter().filter(|(path, _)| !path.ends_with("lock") && !opened(path)).collect::<Vec<_>>()
        };
        // To see whose a log is its engine opens it; to see whose the state is both are. All else is left alone.
        let untouched = part == "state" || durable(contents(&data)?) == durable(rest);
        ensure!(untouched, "{part}: a refused start changed the directory");
        remove(&data.join(part))?;
        move_to(&kept, &data.join(part))?;
    }
    // With its own identity it goes on with what it had; a second process on the directory is refused.
    alone.serve("data")?;
    ensure!(alone.json(&["get", "fabric", "main"])? == before, "something was lost");
    let said = run(&alone)?;
    ensure!(said.status == 2 && said.err.contains("error[W1103]"), "{said:?}");
    // A client that was given another cluster's authority talks to nobody.
    let contexts = fs::read_to_string(alone.path("contexts.toml"))?;
    let pin = contexts.lines().find(|line| line.starts_with("ca = ")).context("no pin")?.to_owned();
    let theirs = fs::read_to_string(other.path("contexts.toml"))?;
    let other_pin = theirs.lines().find(|line| line.starts_with("ca = ")).context("no pin")?.to_owned();
    fs::write(alone.path("contexts.toml"), contexts.replace(&pin, &other_pin))?;
    alone.refused(&["get", "nodes"], 5, "W7004").map(drop)
}

#[test]
fn bad_configuration_names_file_line_and_meaning() -> Result {
    let alone = Alone::empty()?;
    let file = alone.write("weftd.toml", "[raft]\nheartbeat-ms = 50\n\n[lgo]\nformat = \"text\"\n")?;
    let said = alone.run("weftd", &["run", "--check-config", "--config", &file], &[], "")?;
    ensure!(said.status == 2 && said.err.contains("error[W0003]"), "{said:?}");
    for words in ["weftd.toml:4", "lgo", "did you mean log?"] {
        ensure!(said.err.contains(words), "{words} isn't said: {said:?}");
    }
    let contexts = alone.write("contexts.toml", "current = \"a\"\n\n[context.a]\nendpoint = [\"x:1\"]\n")?;
    fs::set_permissions(&contexts, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let error = alone.refused(&["status"], 2, "W0003")?;
    ensure!(
        error["field"] == format!("{contexts}:4") && error["cause"].to_string().contains("endpoint"),
        "{error}"
    );
    Ok(())
}

#[test]
fn without_an_agent_a_runtime_and_an_administrator_hear_that_it_is_missing() -> Result {
    let alone = Alone::empty()?;
    let socket = alone.path("none.sock").to_string_lossy().into_owned();
    let config = r#"{"cniVersion":"1.0.0","name":"weft","type":"weft-cni"}"#;
    for (verb, code, status) in [("ADD", 11, 1), ("CHECK", 11, 1), ("STATUS", 50, 1)] {
        let env = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_NETNS", "/proc/self/ns/net"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", "/opt/cni/bin"),
            ("WEFT_CNI_SOCKET", socket.as_str()),
        ];
        let said = alone.run("weft-cni", &[], &env, config)?;
        let answer = said.json()?;
        ensure!(said.status == status && answer["code"] == code, "{verb}: {said:?}");
        ensure!(answer["cniVersion"] == "1.0.0", "{verb}: the version of the configuration: {answer}");
        let (message, details) = (answer["msg"].to_string(), answer["details"].to_string());
        ensure!(message.contains(&socket) && details.contains("W4401"), "{verb}: place and code: {answer}");
        ensure!(details.contains("start weft-agent"), "{verb}: what to do: {answer}");
    }
    in_family("small", Family::Dual, |fabric, _| {
        // A machine without an agent.
        let said = fabric.on(on("cp-1"), &[&weft(fabric), "pod", "add", "web-0", "-o", "json"])?;
        let error: Value = serde_json::from_str(&said.stdout)?;
        ensure!(said.status == 6 && error["code"] == "W4401", "{said:?}");
        ensure!(error["message"].to_string().contains("/run/weft/agent.sock"), "{error}");
        four_parts(&error)
    })
}

#[test]
fn a_taken_pod_name_is_refused_to_people_and_never_to_a_runtime() -> Result {
    in_family("small", Family::Dual, |fabric, _| {
        let weft = weft(fabric);
        let add = |node: &str| fabric.on(on(node), &[&weft, "pod", "add", "taken", "-o", "json"]);
        add("n1")?.success("weft pod add")?;
        let owner = || fabric.weft_json(&["get", "pod", "taken"]);
        let published = until(Duration::from_secs(10), Duration::from_millis(20), || owner().ok());
        let first = published.context("the pod isn't published")?;
        // On the same node, on another one, through the control plane.
        let far = || fabric.weft(&["pod", "add", "taken", "--node", "n2", "-o", "json"]);
        for said in [add("n1")?, add("n2")?, far()?] {
            let error: Value = serde_json::from_str(&said.stdout)?;
            ensure!(said.status == 3 && error["code"] == "W3102", "{said:?}");
            ensure!(error["object"]["name"] == "taken" && error["field"] == "metadata.name", "{error}");
            ensure!(error.to_string().contains("node n1"), "who has it is named: {error}");
            four_parts(&error)?;
        }
        ensure!(owner()? == first, "the pod that had the name has changed");
        // A runtime that moves a pod isn't refused: the younger owns the name, the older keeps its address until its DEL.
        let moved = fabric.pod("n2", "taken", &[])?;
        let both = until(Duration::from_secs(10), Duration::from_millis(20), || {
            let all = fabric.weft_json(&["get", "pods"]).ok()?;
            let named = |phase: &str| {
                let mut pods = all["items"].as_array().into_iter().flatten();
                pods.find(|p| p["metadata"]["name"] == "taken" && p["status"]["phase"] == phase).cloned()
            };
            Some((named("Active")?, named("Superseded")?))
        });
        let (active, old) = both.context("one of each")?;
        ensure!(
            active["spec"]["nodeName"] == "n2" && old["status"]["podIPs"] == first["status"]["podIPs"],
            "{old}"
        );
        fabric.detach(&moved)?;
        fabric.on(on("n1"), &[&weft, "pod", "remove", "taken"])?.success("weft pod remove")?;
        control::addresses_add_up(fabric).map(drop)
    })
}

#[test]
fn a_cni_call_that_makes_no_sense_attaches_nothing() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        let before = fabric.weft_json(&["ipam", "check"])?;
        let good = fabric.cni_config("n1", &[])?;
        let with = |key: &str, value: Value| -> Result<String> {
            let mut config: Value = serde_json::from_str(&good)?;
            config[key] = value;
            Ok(config.to_string())
        };
        for (config, code, words) in [
            (with("cniVersion", json!("9.9.9"))?, 1, &["9.9.9", "1.1.0"][..]),
            (with("cniVersion", json!(1))?, 6, &["expected a string"][..]),
            (with("name", json!("no/slash"))?, 7, &["name"][..]),
            (good.replace('}', ""), 6, &["line 1"][..]),
        ] {
            for verb in ["ADD", "CHECK"] {
                let said = cni(fabric, verb, &cast.a.record.netns, &config)?;
                let answer: Value = serde_json::from_str(&said.stdout)?;
                ensure!(said.status == 1 && answer["code"] == code, "{verb} {config}: {said:?}");
                let text = answer.to_string();
                ensure!(words.iter().all(|word| text.contains(word)), "{verb} {config}: {words:?}: {answer}");
                let details = answer["details"].as_str().unwrap_or_default();
                ensure!(details.starts_with("W4402 ") && details.contains("; try "), "{verb}: {answer}");
                ensure!(answer["cniVersion"] != "9.9.9", "an answer is in a version that we speak: {answer}");
            }
        }
        let after = fabric.weft_json(&["ipam", "check"])?;
        ensure!(after["addresses"] == before["addresses"] && after["items"] == json!([]), "{before} {after}");
        control::agrees(fabric)
    })
}

#[test]
fn a_corrupt_journal_is_kept_aside_and_no_pod_is_lost() -> Result {
    in_family("small", Family::Dual, |fabric, _| {
        let pods =
            (0..4).map(|i| fabric.pod("n1", &format!("journal-{i}"), &[])).collect::<Result<Vec<_>>>()?;
        let gone = fabric.pod("n1", "journal-gone", &[])?;
        fabric.detach(&gone)?;
        control::agrees(fabric)?;
        fabric.hold("n1", "agent")?;
        let folder = fabric.client().layout().disk("n1").join("var-lib-weft/agent");
        let damaged = damage(&folder.join("ipam.journal"), "journal-1");
        fabric.release("n1", "agent")?;
        let damaged = damaged?;
        fabric.client().ready("n1", "agent", Duration::from_secs(20))?;
        // The file is kept as it was, and the log says code, place and remedy.
        let aside = fs::read_dir(&folder)?.flatten().map(|entry| entry.path());
        let aside: Vec<PathBuf> = aside.filter(|path| path.to_string_lossy().contains(".corrupt-")).collect();
        let [kept] = aside.as_slice() else { anyhow::bail!("one file is kept aside: {aside:?}") };
        ensure!(fs::read(kept)? == damaged, "the damaged file isn't kept as it was");
        let log = fs::read_to_string(fabric.client().layout().log("n1", "agent"))?;
        let line = log.lines().find(|line| line.contains("W2401")).context("the log says nothing")?;
        for words in ["byte ", "/var/lib/weft/agent/ipam.journal", "kept as"] {
            ensure!(line.contains(words), "{words} isn't said: {line}");
        }
        // Every pod has its name and addresses still and goes on; new ones get other addresses.
        let fresh = fabric.pod("n1", "journal-new", &["tcp:9000"])?;
        control::addresses_add_up(fabric)?;
        let agrees =
            until(Duration::from_secs(10), Duration::from_millis(50), || control::agrees(fabric).ok());
        agrees.map_or_else(|| control::agrees(fabric), Ok)?;
        for pod in &pods {
            let to = fresh.addresses()[0].to_string();
            let seen = fabric.probe(pod.place(), &["tcp", &to, "9000"])?;
            let own = pod.addresses()[0].to_string();
            ensure!(seen["ok"] == true && seen["seen"] == own, "{} -> {to}: {seen}", pod.name());
        }
        // The runtime's DEL finds them all.
        for pod in pods.iter().chain([&fresh]) {
            fabric.detach(pod)?;
        }
        control::addresses_add_up(fabric).map(drop)
    })
}

/// Turns a byte of a pod's record around; gives back what the file holds then.
fn damage(journal: &Path, pod: &str) -> Result<Vec<u8>> {
    let mut bytes = fs::read(journal).with_context(|| format!("read {}", journal.display()))?;
    let at = bytes.windows(pod.len()).position(|window| window == pod.as_bytes());
    bytes[at.with_context(|| format!("{pod} isn't in {}", journal.display()))?] ^= 0xff;
    fs::write(journal, &bytes)?;
    Ok(bytes)
}

/// One call of the plugin on n1 for a container that nobody has attached.
fn cni(fabric: &Fabric, verb: &str, netns: &str, config: &str) -> Result<Output> {
    let netns = format!("/run/netns/{netns}");
    let env = [
        ("CNI_COMMAND", verb),
        ("CNI_CONTAINERID", "nobody"),
        ("CNI_NETNS", &netns),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/opt/cni/bin"),
    ];
    let program = fabric.cni_program();
    fabric.client().run_with(on("n1"), &[&program], &env, Some(config.to_owned()), Duration::from_secs(20))
}

/// The command line's program, for machines of the lab.
fn weft(fabric: &Fabric) -> String {
    Path::new(&fabric.weftd_program()).with_file_name("weft").to_string_lossy().into_owned()
}

fn copy(from: &Path, to: &Path) -> Result {
    if !from.is_dir() {
        return fs::copy(from, to).map(drop).with_context(|| format!("copy {}", from.display()));
    }
    fs::create_dir(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    fs::read_dir(from)?.flatten().try_for_each(|entry| copy(&entry.path(), &to.join(entry.file_name())))
}

fn remove(path: &Path) -> Result {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.with_context(|| format!("remove {}", path.display()))
}

fn move_to(from: &Path, to: &Path) -> Result {
    copy(from, to)?;
    remove(from)
}
