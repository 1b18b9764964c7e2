//! The command line as scripts see it: each exit status of the table, and errors in the form that was asked for.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use anyhow::{Context, ensure};
use serde_json::Value;
use weft_e2e::in_family;
use weft_lab::topology::Family;
use weft_lab::{Result, wait::until};

use crate::alone::{Alone, interrupt};

#[test]
fn status_0_means_done_and_1_that_the_answer_is_no() -> Result {
    let alone = Alone::start()?;
    for line in [
        "status",
        "get nodes --expect 0",
        "get members --expect 1+",
        "wait",
        "check",
        "ipam check",
        "explain W2203",
        "explain fabric.spec.ranges",
        "version",
        "context list",
        "node",
        "completion bash",
        "--help",
        "--version",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let said = alone.weft(&words)?;
        ensure!(said.status == 0, "weft {line}: {said:?}");
        let listed = line.starts_with("get nodes") || line == "node";
        ensure!(listed || !said.out.is_empty(), "weft {line} says nothing: {said:?}");
    }
    let said = alone.weft(&["get", "members", "--expect", "3"])?;
    ensure!(said.status == 1 && said.out.contains("cp-1"), "the list is there, the count isn't: {said:?}");
    let said = alone.weft(&["get", "members", "--expect", "3", "-o", "json"])?;
    let list = said.json()?;
    ensure!(said.status == 1 && list["items"][0]["metadata"]["name"] == "cp-1", "{said:?}");
    Ok(())
}

#[test]
fn status_2_means_wrong_use_with_a_suggestion() -> Result {
    let alone = Alone::empty()?;
    for (line, code, suggestion) in [
        ("statsu", "W0001", "did you mean status?"),
        ("get pods --selectro a=b", "W0001", "did you mean --selector?"),
        ("get", "W0001", ""),
        ("token create --role king", "W0001", ""),
        ("token create --ttl 9d", "W0001", ""),
        ("get pods --timeout soon", "W0001", ""),
        ("ipam who here", "W0001", ""),
        ("get pods web-0 -l app=web", "W0001", ""),
        ("get nodes --expect many", "W0001", ""),
        // No context, a file that isn't there, a folder without files.
        ("status", "W0001", "make a cluster, or add a context"),
        ("apply -f /nonexistent.yaml", "W0002", ""),
        ("apply -f /proc/self/net/stat", "W0001", ""),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let error = alone.refused(&words, 2, code)?;
        let first = error["remedy"][0]["text"].as_str().unwrap_or_default();
        ensure!(first.starts_with(suggestion), "weft {line}: wanted {suggestion:?}, got {error}");
    }
    // Off a terminal nothing is asked.
    let alone = Alone::start()?;
    alone.refused(&["node", "remove", "n1"], 2, "W0004")?;
    alone.refused(&["context", "remove", "default"], 2, "W0004")?;
    ensure!(alone.json(&["context", "list"])?["items"].as_array().is_some_and(|all| all.len() == 1));
    Ok(())
}

#[test]
fn status_3_means_refused_and_4_not_found() -> Result {
    let alone = Alone::start()?;
    alone.refused(&["get", "podz"], 3, "W3003")?;
    alone.refused(&["delete", "fabric", "main", "--yes"], 3, "W3104")?;
    alone.refused(&["get", "nodes", "-l", "=,="], 3, "W3001")?;
    for line in [
        "get node n1",
        "get pod web-0",
        "get peers n1",
        "node show n1",
        "node remove n1 --yes",
        "pod show web-0",
        "pod remove web-0",
        "pod add web-0 --node n1",
        "describe member cp-2",
        "token revoke aaaaaaaaaa",
        "ping web-0 db-0",
        "context use nonesuch",
        "explain W9999",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        alone.refused(&words, 4, "W3101").with_context(|| line.to_owned())?;
    }
    let near = alone.refused(&["get", "member", "cp-11"], 4, "W3101")?;
    ensure!(near["remedy"][0]["text"] == "did you mean cp-1?", "{near}");
    // Nobody holds this address: that is an answer, with its document, and a "not found".
    let said = alone.weft(&["ipam", "who", "10.128.0.9", "-o", "json"])?;
    ensure!(said.status == 4 && said.json()?["purpose"] == "pod", "{said:?}");
    Ok(())
}

#[test]
fn status_5_means_not_allowed() -> Result {
    let alone = Alone::start()?;
    let made = alone.json(&["token", "create", "--role", "viewer"])?;
    let (token, ca) = (text(&made, "token")?, text(&made, "ca")?);
    let add = ["context", "add", "look", "--endpoint", alone.listen(), "--token", token, "--ca", ca];
    alone.weft(&add)?.success()?;
    // A viewer reads and changes nothing.
    ensure!(alone.json(&["get", "fabric", "main", "--context", "look"])?["kind"] == "Fabric");
    let before = alone.json(&["token", "list"])?;
    alone.refused(&["token", "create", "--context", "look"], 5, "W7002")?;
    alone.refused(&["node", "remove", "n1", "--yes", "--context", "look"], 5, "W7002")?;
    ensure!(alone.json(&["token", "list"])? == before, "a viewer changed something");
    // Used, revoked and made-up tokens; one for another role; another authority.
    let again = ["context", "add", "more", "--endpoint", alone.listen(), "--ca", ca, "-o", "json", "--token"];
    let revoked = alone.json(&["token", "create", "--role", "viewer"])?;
    alone.weft(&["token", "revoke", text(&revoked["metadata"], "name")?])?.success()?;
    let for_node = alone.json(&["token", "create", "--role", "node"])?;
    let made_up = "wt1.aaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaa";
    // Once each: a machine may try five that don't work in a minute, and then has to wait.
    for bad in [token, text(&revoked, "token")?, text(&for_node, "token")?, made_up] {
        let said = alone.weft(&[&again[..], &[bad]].concat())?;
        let error = said.json()?;
        ensure!(said.status == 5 && error["code"] == "W7003", "{said:?}");
        ensure!(error["remedy"].to_string().contains("weft token create"), "{error}");
    }
    let other = format!("sha256:{}", "0".repeat(64));
    let token = text(&for_node, "token")?;
    let wrong = ["context", "add", "more", "--endpoint", alone.listen(), "--ca", &other, "--token", token];
    alone.refused(&wrong, 5, "W7004")?;
    ensure!(alone.json(&["context", "list"])?["items"].as_array().is_some_and(|all| all.len() == 2));
    // A file with a key that others can read.
    let contexts = alone.path("contexts.toml");
    fs::set_permissions(&contexts, fs::Permissions::from_mode(0o644))?;
    let error = alone.refused(&["status"], 5, "W7005")?;
    ensure!(error["remedy"][0]["command"].as_str().is_some_and(|c| c.starts_with("chmod 600 ")), "{error}");
    Ok(())
}

#[test]
fn status_6_means_unreachable_and_7_too_late() -> Result {
    let mut alone = Alone::start()?;
    let said = alone.weft(&["wait", "--revision", "99999", "--timeout", "1500ms", "-o", "json"])?;
    ensure!(said.status == 7 && said.json()?["done"] == false, "the last state is printed: {said:?}");
    alone.stop();
    let error = alone.refused(&["get", "nodes"], 6, "W1001")?;
    ensure!(error["cause"].to_string().contains(alone.listen()), "the endpoint is named: {error}");
    // Nobody can be asked: the document has what is known here, and why it is no more.
    let said = alone.weft(&["version", "-o", "json"])?;
    let versions = said.json()?;
    ensure!(said.status == 6 && versions["error"]["code"] == "W1001", "{said:?}");
    ensure!(versions["items"][0]["component"] == "client", "{versions}");
    Ok(())
}

#[test]
fn requests_are_told_when_that_is_asked_for_and_tokens_never() -> Result {
    let alone = Alone::start()?;
    let said = alone.weft(&["token", "create", "-v", "-o", "json"])?.success()?;
    let (made, told) = (said.json()?, &said.err);
    ensure!(told.contains("CreateTokenRequest to ") && told.contains(alone.listen()), "{said:?}");
    ensure!(told.contains(": ok in ") && !told.contains(text(&made, "token")?), "{said:?}");
    let said = alone.weft(&["get", "node", "n1", "-v"])?;
    ensure!(said.status == 4 && said.err.contains("Request to "), "{said:?}");
    ensure!(alone.weft(&["get", "nodes"])?.err.lines().all(|line| !line.contains("Request to ")));
    alone.refused(&["get", "nodes", "-v", "-q"], 2, "W0001").map(drop)
}

#[test]
fn status_8_means_that_a_part_could_not_be_asked() -> Result {
    in_family("small", Family::Dual, |fabric, _| {
        fabric.settle()?;
        fabric.hold("n2", "agent")?;
        let seen = until(Duration::from_secs(20), Duration::from_millis(50), || {
            let said = fabric.weft(&["ipam", "check", "-o", "json", "--timeout", "3s"]).ok()?;
            (said.status == 8).then_some(said)
        });
        let partial = fabric.weft(&["status"]);
        fabric.release("n2", "agent")?;
        fabric.client().ready("n2", "agent", Duration::from_secs(20))?;
        let document: Value = serde_json::from_str(&seen.context("no status 8")?.stdout)?;
        ensure!(document["unreachable"][0] == "n2", "the part is named: {document}");
        let partial = partial?;
        ensure!(partial.status == 1 && partial.stdout.contains("node n2  unreachable"), "{partial:?}");
        Ok(())
    })
}

#[test]
fn status_130_means_interrupted() -> Result {
    let alone = Alone::start()?;
    for arguments in [&["get", "members", "-w"][..], &["wait", "--revision", "99999", "-o", "json"][..]] {
        let running = alone.spawn("weft", arguments, &[], "")?;
        let watches = arguments.contains(&"-w");
        let listens = until(Duration::from_secs(10), Duration::from_millis(5), || {
            if watches { running.out().contains("cp-1").then_some(()) } else { waits(running.pid()) }
        });
        listens.context("weft doesn't catch signals")?;
        interrupt(running.pid(), "INT")?;
        let said = running.finish(Duration::from_secs(5))?;
        ensure!(said.status == 130, "{arguments:?}: {said:?}");
        if watches {
            ensure!(said.err.is_empty(), "who only looks knows what it did: {said:?}");
        } else {
            ensure!(said.json()?["code"] == "W0006", "{said:?}");
        }
    }
    Ok(())
}

#[test]
fn every_kind_is_shown_in_every_form_and_labels_select() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        let rack = "apiVersion: weft.io/v1\nkind: Node\nmetadata: {name: n1, labels: {rack: a}}\n";
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("n1.yaml");
        fs::write(&file, rack)?;
        let file = file.to_string_lossy().into_owned();
        let applied = fabric.weft_json(&["apply", "-f", &file, "--wait"])?;
        ensure!(
            applied["wait"]["done"] == true && applied["items"][0]["metadata"]["name"] == "n1",
            "{applied}"
        );
        for (kind, name) in [
            ("nodes", "n1"),
            ("pods", cast.a.name()),
            ("blocks", ""),
            ("members", "cp-1"),
            ("fabric", "main"),
            ("peers", "n2"),
            ("routes", ""),
        ] {
            for form in ["table", "wide", "json", "yaml", "name"] {
                let text =
                    fabric.weft(&["get", kind, "-o", form])?.success(&format!("get {kind} -o {form}"))?;
                ensure!(text.contains(name) && !text.is_empty(), "get {kind} -o {form}: {text}");
            }
            let list = fabric.weft_json(&["get", kind, "--expect", "1+"])?;
            ensure!(list["kind"] == "List" && list["metadata"]["resourceVersion"].is_string(), "{list}");
            let first = text(&list["items"][0]["metadata"], "name")?;
            // One object is that object, by the name that the list gives it.
            let one = fabric.weft_json(&["get", kind, first])?;
            ensure!(one["metadata"]["name"] == first && one["kind"] == list["items"][0]["kind"], "{one}");
        }
        let named = |selector: &str| fabric.weft(&["get", "nodes", "-l", selector, "-o", "name"]);
        ensure!(named("rack=a")?.success("get -l")? == "node/n1\n", "labels select");
        ensure!(named("rack!=a")?.success("get -l")? == "node/n2\n", "labels select what they don't fit");
        let shown = fabric.weft(&["describe", "node", "n1"])?.success("describe")?;
        ensure!(shown.contains("rack: a") && shown.contains("Applied"), "{shown}");
        let shown = fabric.weft(&["node", "show", "n1"])?.success("node show")?;
        for part in ["n1   Ready   agent ", "   kernel ", "PEER", "n2 ", "Subsystems  links ok"] {
            ensure!(shown.contains(part), "{part} in {shown}");
        }
        let shown = fabric.weft(&["status"])?.success("status")?;
        for part in ["HEALTHY", "1/1 replica, leader cp-1", "2/2 ready", "2/2 tunnels fresh"] {
            ensure!(shown.contains(part), "{part} in {shown}");
        }
        Ok(())
    })
}

#[test]
fn a_ping_that_is_too_large_travels_in_parts_unless_that_is_forbidden() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        let ping = |more: &[&str]| {
            let (from, to) = (cast.a.name(), cast.c.name());
            fabric.weft(&[&["ping", from, to, "-c", "1", "--size", "3000", "-o", "json"], more].concat())
        };
        let parts = ping(&[])?;
        ensure!(parts.status == 0, "{parts:?}");
        let whole = ping(&["--df"])?;
        ensure!(whole.status == 1 && whole.stdout.contains("too large"), "{whole:?}");
        Ok(())
    })
}

/// Whether a process catches SIGINT already (proc(5), SigCgt) and has a connection, so that it waits for an answer.
fn waits(pid: u32) -> Option<()> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
    let caught = u64::from_str_radix(caught.trim(), 16).ok()?;
    let sockets =
        fs::read_dir(format!("/proc/{pid}/fd")).ok()?.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    let connected = sockets.filter(|target| target.to_string_lossy().starts_with("socket:")).count() > 0;
    (caught & (1 << 1) != 0 && connected).then_some(())
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().with_context(|| format!("no {key} in {value}"))
}

#[test]
fn a_certificate_that_is_due_or_expired_renews_with_the_next_command() -> Result {
    let alone = Alone::start()?;
    let authority = weft_trust::Authority::load(&alone.path("data"))?;
    let certificate =
        alone.json(&["context", "list"])?["items"][0]["certFile"].as_str().map(|file| alone.path(file));
    let certificate = certificate.context("the context names its certificate")?;
    let files = weft_rpc::FileNames {
        key: certificate.with_extension("key"),
        certificate: certificate.clone(),
        authority: None,
    };
    let present = weft_rpc::Identity::load(&files)?;
    let day = Duration::from_secs(86_400);
    for age in [2 * day, 10 * day, 40 * day] {
        let then = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)? - age;
        let then = weft_model::WallTime(u64::try_from(then.as_millis())?);
        let old = authority.issue(&present.key().request()?.0, present.holder(), then)?;
        present.with_certificate(old)?.save(&files)?;
        let before = weft_rpc::Identity::load(&files)?.expires();
        let said = alone.weft(&["get", "members", "-o", "json"])?;
        let after = weft_rpc::Identity::load(&files)?.expires();
        if age < 37 * day {
            ensure!(said.status == 0 && after > before, "{age:?} old: {said:?}");
        } else {
            ensure!(said.status == 5 && after == before, "too old to renew: {said:?}");
        }
    }
    Ok(())
}
