//! Examples of every command, in one table: `--help`, the reference page and a test read it.

/// Path of a command below `weft`, and what people type.
const EXAMPLES: &[(&str, [&str; 3])] = &[
    ("", ["weft status", "weft get pods -A -o wide", "weft explain W2203"]),
    (
        "init",
        ["weft init", "weft init --family dual --pods 10.0.0.0/14 --pods fd00:1::/48", "weft init --dry-run"],
    ),
    ("token", ["weft token", "weft token create --role replica", "weft token revoke ffqyjnhwcd"]),
    (
        "token create",
        [
            "weft token create",
            "weft token create --role replica --ttl 5m",
            "weft token create --role viewer -o json",
        ],
    ),
    ("token list", ["weft token list", "weft token list -o json", "weft tokens"]),
    (
        "token revoke",
        [
            "weft token revoke ffqyjnhwcd",
            "weft token revoke ffqyjnhwcd -o json",
            "weft token revoke -q ffqyjnhwcd",
        ],
    ),
    ("get", ["weft get pods -l app=web --expect 3", "weft get svc -n shop -o wide", "weft get events -A"]),
    (
        "apply",
        [
            "weft apply -f fabric.yaml",
            "weft apply -f fabric.yaml --dry-run=server",
            "weft apply -f folder/ -f - --wait --skip-unknown",
        ],
    ),
    (
        "diff",
        [
            "weft diff -f policy.yaml",
            "weft diff -f folder/ -o json",
            "weft diff -n shop -f shop/policy.yaml --skip-unknown",
        ],
    ),
    (
        "delete",
        [
            "weft delete svc web -n shop",
            "weft delete netpol db -n shop --dry-run=server",
            "weft delete -f shop.yaml --yes --ignore-not-found",
        ],
    ),
    (
        "create",
        [
            "weft create namespace shop",
            "weft create service web --port 80:8080 -l app=web",
            "weft create service shop/dns --port 53/udp,53/tcp -l app=dns",
        ],
    ),
    (
        "create namespace",
        ["weft create namespace shop", "weft create ns shop", "weft create namespace shop -o yaml"],
    ),
    (
        "create service",
        [
            "weft create service web --port 80:8080 -l app=web -n shop",
            "weft create service web --type LoadBalancer --port 443:https -l app=web",
            "weft create service db --type ExternalName --external-name db.example.com",
        ],
    ),
    (
        "policy",
        [
            "weft policy matrix",
            "weft policy why shop/web-0 shop/db-0:5432",
            "weft policy test -f cases.yaml --world policies/",
        ],
    ),
    (
        "policy matrix",
        [
            "weft policy matrix",
            "weft policy matrix --label app -n shop",
            "weft policy matrix --port 5432/tcp --world policies/ -o json",
        ],
    ),
    (
        "policy why",
        [
            "weft policy why shop/web-0 shop/db-0:5432",
            "weft policy why 192.0.2.7 shop/web-0:80 -o json",
            "weft policy why dev/job shop/db-0:53/udp --world policies/",
        ],
    ),
    ("policy lint", ["weft policy lint", "weft policy lint --world policies/", "weft policy lint -o json"]),
    (
        "policy test",
        [
            "weft policy test -f cases.yaml",
            "weft policy test -f cases.yaml --world policies/",
            "weft policy test -f - -o json",
        ],
    ),
    ("service", ["weft service", "weft service show web -n shop", "weft service show shop/web --backends"]),
    ("service list", ["weft service list", "weft service list -A", "weft services -n shop"]),
    (
        "service show",
        [
            "weft service show web",
            "weft service show shop/web --backends",
            "weft service show web --backends --node n1 -o json",
        ],
    ),
    ("describe", ["weft describe svc web", "weft describe pod web-0", "weft describe fabric main -o json"]),
    ("status", ["weft status", "weft status -o json", "weft status --timeout 5s"]),
    ("check", ["weft check", "weft check --node n1 -o wide", "weft check --pre"]),
    ("wait", ["weft wait", "weft wait --revision 4711 --timeout 5s", "weft wait -o json"]),
    ("node", ["weft node", "weft node show n1", "weft node remove n4"]),
    ("node list", ["weft node list", "weft node list -o wide", "weft nodes -o name"]),
    ("node show", ["weft node show n1", "weft node show n1 -o json", "weft node show n1 --timeout 2s"]),
    (
        "node remove",
        ["weft node remove n4", "weft node remove n4 --yes", "weft node remove n4 --yes -o json"],
    ),
    ("pod", ["weft pod", "weft pod add web-0 --node n1 -l app=web", "weft pod remove web-0"]),
    ("pod list", ["weft pod list", "weft pod list -A", "weft pods -n shop"]),
    ("pod show", ["weft pod show web-0", "weft pod show shop/web-0", "weft pod show web-0 -o json"]),
    (
        "pod add",
        [
            "weft pod add web-0",
            "weft pod add web-0 --node n1 -l app=web,tier=fe",
            "weft pod add shop/web-0 --probe http:8080/ready,period=1s --subdomain peers --hostname web-0",
        ],
    ),
    (
        "pod drain",
        [
            "weft pod drain web-0",
            "weft pod drain shop/web-0 --grace 5s",
            "weft pod drain web-0 --grace 1m --no-wait",
        ],
    ),
    (
        "pod remove",
        ["weft pod remove web-0", "weft pod remove shop/web-0", "weft pod remove web-0 -n shop -o json"],
    ),
    ("ipam", ["weft ipam", "weft ipam who 10.128.7.4", "weft ipam check"]),
    ("ipam show", ["weft ipam show", "weft ipam show -o json", "weft ipam show --no-headers"]),
    (
        "ipam who",
        ["weft ipam who 10.128.7.4", "weft ipam who fd5a:7e00:0:7::4", "weft ipam who 10.128.7.4 -o json"],
    ),
    ("ipam check", ["weft ipam check", "weft ipam check -o json", "weft ipam check --timeout 5s"]),
    (
        "ping",
        [
            "weft ping web-0 db-0",
            "weft ping shop/web-0 10.128.7.4 -c 10",
            "weft ping web-0 db-0 --size 1372 --df",
        ],
    ),
    (
        "trace",
        [
            "weft trace shop/web-0 cart.shop:80",
            "weft trace shop/web-0 stats.shop:8125/udp --probe",
            "weft trace node/n1 web-0:8080 -o json",
        ],
    ),
    (
        "dns",
        [
            "weft dns cart.shop --from shop/web-0",
            "weft dns example.com --from web-0 --type AAAA",
            "weft dns 10.112.4.20 --node n1 -o json",
        ],
    ),
    (
        "flows",
        [
            "weft flows -w --verdict dropped",
            "weft flows -w --verdict dropped --pod shop/db-0",
            "weft flows --for 10s --dns --node n1 -o json",
        ],
    ),
    ("env", ["weft env shop/web-0", "weft env web-0 --export", "weft env web-0 --resolv-conf"]),
    ("context", ["weft context", "weft context use prod", "weft context show"]),
    ("context list", ["weft context list", "weft context list -o json", "weft contexts"]),
    ("context use", ["weft context use prod", "weft context use lab-default", "weft context use prod -q"]),
    ("context show", ["weft context show", "weft context show --context prod", "weft context show -o json"]),
    (
        "context add",
        [
            "weft context add prod --endpoint 192.0.2.1:7443 --token wt1.ffqyjnhwcd.secret --ca sha256:7c1d",
            "weft context add prod --endpoint 192.0.2.1:7443,192.0.2.2:7443 --token wt1.ffqyjnhwcd.secret --ca sha256:7c1d",
            "weft context add prod --endpoint 192.0.2.1:7443 --token wt1.ffqyjnhwcd.secret --ca sha256:7c1d -o json",
        ],
    ),
    (
        "context remove",
        ["weft context remove old", "weft context remove old --yes", "weft context remove old --yes -o json"],
    ),
    ("explain", ["weft explain W2203", "weft explain fabric", "weft explain fabric.spec.ranges"]),
    ("completion", ["weft completion bash", "weft completion zsh", "weft completion fish"]),
    ("version", ["weft version", "weft version -o json", "weft version --timeout 2s"]),
];

/// Puts each command's examples below its help.
pub(super) fn add(root: clap::Command) -> clap::Command {
    below(root, "")
}

fn below(mut command: clap::Command, path: &str) -> clap::Command {
    if let Some((_, lines)) = EXAMPLES.iter().find(|(known, _)| *known == path) {
        let mut text = format!("Examples:\n  {}", lines.join("\n  "));
        if let Some(more) = command.get_after_help() {
            text += &format!("\n\n{more}");
        }
        command = command.after_help(text);
    }
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| {
        let inner = if path.is_empty() { name.clone() } else { format!("{path} {name}") };
        command.mut_subcommand(name, |sub| below(sub, &inner))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, tree};

    fn paths(command: &clap::Command, path: &str, all: &mut Vec<String>) {
        all.push(path.to_owned());
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let inner = if path.is_empty() {
                sub.get_name().to_owned()
            } else {
                format!("{path} {}", sub.get_name())
            };
            paths(sub, &inner, all);
        }
    }

    #[test]
    fn every_command_has_examples_of_itself_that_can_be_typed() {
        let mut all = Vec::new();
        paths(&tree(), "", &mut all);
        let mut known: Vec<&str> = EXAMPLES.iter().map(|(path, _)| *path).collect();
        known.sort_unstable();
        all.sort();
        assert_eq!(all, known, "one row per command");
        for (path, lines) in EXAMPLES {
            for line in lines {
                let words: Vec<std::ffi::OsString> = line.split(' ').map(Into::into).collect();
                assert!(Cli::read(&words).is_ok(), "{line}");
                let noun = path.split(' ').next().unwrap_or_default();
                assert!(line.contains(noun), "{line} is no example of {path}");
            }
        }
    }
}
