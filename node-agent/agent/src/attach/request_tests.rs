//! Requests of runtimes: what is read from them, and what is refused.

use super::*;

const ADD: &str = "ADD CNI_CONTAINERID=c1 CNI_NETNS=/run/netns/x CNI_IFNAME=eth0 CNI_PATH=/opt";
const V1: &str = r#"{"cniVersion":"1.1.0","name":"weft"}"#;

fn call(line: &str, config: &str) -> Checked {
    let mut words = line.split_whitespace();
    let command = words.next().unwrap_or_default().to_owned();
    let pair = |word: &str| word.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
    Call { command, env: words.filter_map(pair).collect(), config: config.to_owned() }.check()
}

fn check(line: &str, config: &str, expected: &str) {
    let got = match call(line, config).1 {
        Ok(Request::Add(a)) => format!("add {} {} {}", a.id, a.pod, a.netns),
        Ok(Request::Check(a)) => format!("check {}", a.id),
        Ok(Request::Del(id)) => format!("del {id}"),
        Ok(Request::Status) => "status".to_owned(),
        Ok(Request::Version) => "version".to_owned(),
        Err(failure) => format!("{} {}", failure.code, failure.message),
    };
    assert_eq!(got, expected, "{line} {config}");
}

#[test]
fn checks_come_in_the_order_of_skel() {
    check("FOO", "{", "4 unknown CNI_COMMAND: FOO");
    check(
        "ADD CNI_PATH=/opt",
        "{",
        "4 required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME] missing",
    );
    let bad = "ADD CNI_CONTAINERID=-c CNI_NETNS=/x CNI_IFNAME=e/0 CNI_PATH=/opt";
    check(bad, "{", "6 the configuration on standard input can't be decoded");
    check(bad, r#"{"cniVersion":"9"}"#, "7 missing network name");
    check(bad, r#"{"cniVersion":"9","name":"w"}"#, r#"4 invalid characters in containerID "-c""#);
    check(
        "ADD CNI_CONTAINERID=c CNI_NETNS=/x CNI_IFNAME=e/0 CNI_PATH=/opt",
        r#"{"cniVersion":"9","name":"w"}"#,
        r#"4 invalid interface name "e/0""#,
    );
    check(ADD, r#"{"cniVersion":"9","name":"w"}"#, r#"1 cniVersion "9" isn't supported"#);
    check("VERSION", "not read", "version");
}

#[test]
fn verbs_belong_to_versions() {
    let old = |version: &str| format!(r#"{{"cniVersion":"{version}","name":"w","prevResult":{{}}}}"#);
    check(&ADD.replace("ADD", "CHECK"), &old("0.3.1"), "1 CHECK isn't part of CNI 0.3.1");
    check(&ADD.replace("ADD", "CHECK"), &old("0.4.0"), "check c1:eth0");
    check(&ADD.replace("ADD", "CHECK"), V1, "7 CHECK needs prevResult");
    check("STATUS CNI_PATH=/opt", &old("1.0.0"), "1 STATUS isn't part of CNI 1.0.0");
    check("STATUS CNI_PATH=/opt", V1, "status");
    check("GC CNI_PATH=/opt", V1, "1 GC isn't supported yet");
    check(ADD, &old("1.0.0"), "2 prevResult can't be honoured");
    check("DEL CNI_CONTAINERID=c1 CNI_IFNAME=eth0 CNI_PATH=/opt", &old("0.3.1"), "del c1:eth0");
}

#[test]
fn del_needs_name_and_version_only() {
    let del = "DEL CNI_CONTAINERID=c1 CNI_IFNAME=eth0 CNI_PATH=/opt";
    for extra in [
        r#""ipam":{"type":"host-local"}"#,
        r#""runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80}]}"#,
        r#""runtimeConfig":{"bandwidth":{"ingressRate":1},"ips":7}"#,
        r#""args":{"cni":{"labels":[{"key":"-","value":"x"}],"ips":["no"]}}"#,
        r#""args":7,"runtimeConfig":"x""#,
    ] {
        let config = format!(r#"{{"cniVersion":"1.1.0","name":"weft",{extra}}}"#);
        check(del, &config, "del c1:eth0");
        assert!(call(ADD, &config).1.is_err(), "ADD refuses {extra}");
    }
    check(del, r#"{"cniVersion":"9","name":"w"}"#, r#"1 cniVersion "9" isn't supported"#);
    check(del, r#"{"cniVersion":"1.1.0"}"#, "7 missing network name");
    let arguments = format!("{del} CNI_ARGS=FOO=bar;MAC=x");
    check(&arguments, V1, "del c1:eth0");
}

#[test]
fn a_pod_is_named_by_its_runtime_or_by_its_container() {
    check(ADD, V1, "add c1:eth0 default/pod-c1 /run/netns/x");
    let named = "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0";
    check(&format!("{ADD} {named}"), V1, "add c1:eth0 shop/web-0 /run/netns/x");
    let long = ADD.replace("=c1", "=CNI_tool-0123456789abcdef");
    check(&long, V1, "add CNI_tool-0123456789abcdef:eth0 default/pod-cni-tool-012 /run/netns/x");
    check(
        &format!("{ADD} CNI_ARGS=K8S_POD_NAME=Web"),
        V1,
        r#"4 "Web" is not a valid name: only lower-case letters, digits and '-' are allowed"#,
    );
}

#[test]
fn the_plugins_own_namespace_is_forbidden_unless_overridden() {
    let forbidden = |extra: &str| match call(&format!("{ADD} WEFT_PLUGIN_NETNS=4:7 {extra}"), V1).1 {
        Ok(Request::Add(attachment)) => attachment.forbidden_netns,
        other => panic!("{other:?}"),
    };
    assert_eq!(forbidden("").as_deref(), Some("4:7"));
    assert_eq!(forbidden("CNI_NETNS_OVERRIDE=0").as_deref(), Some("4:7"));
    assert_eq!(forbidden("CNI_NETNS_OVERRIDE=TRUE"), None);
}

#[test]
fn addresses_of_a_result() {
    let result =
        serde_json::json!({"ips": [{"address": "10.1.0.7/32"}, {"address": "fd00::7/128"}, {"x": 1}]});
    assert_eq!(
        listed_addresses(&result),
        ["10.1.0.7".parse::<std::net::IpAddr>().unwrap(), "fd00::7".parse().unwrap()]
    );
}
