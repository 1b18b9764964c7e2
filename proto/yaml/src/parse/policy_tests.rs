//! Tables for policies: defaults, what null and `{}` mean, and each refusal with its place and path.

use weft_model::{Draft, Protocol};

use super::*;
use crate::{Drafted, Options, parse};

const POLICY: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: web
  namespace: shop
spec:
  podSelector:
    matchLabels: {app: web}
";

/// A policy whose spec goes on with these lines.
fn with(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    format!("{POLICY}{lines}")
}

fn spec(lines: &str) -> PolicySpec {
    let text = with(lines);
    let parsed = parse(&text, "f", &Options::default()).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
    match parsed.objects.into_iter().next() {
        Some(Drafted { draft: Draft::Whole(Object::NetworkPolicy(policy)), .. }) => policy.spec,
        other => panic!("{other:?}"),
    }
}

/// Peers of the first ingress rule.
fn peers(lines: &str) -> Vec<PolicyPeer> {
    spec(&format!("ingress:\n- from:\n  - {lines}")).ingress.remove(0).peers
}

fn labels(text: &str) -> LabelSelector {
    let labels = text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    LabelSelector { labels: labels.into_iter().collect(), expressions: Vec::new() }
}

/// All refusals of a text, one a line, without the file.
fn refusals(text: &str) -> String {
    let errors = parse(text, "f", &Options::default()).expect_err(text);
    let lines: Vec<_> =
        errors.iter().map(|error| error.to_string().trim_start_matches("f:").to_owned()).collect();
    lines.join("\n")
}

/// The only refusal of a policy with these lines, by its beginning.
fn refused(lines: &str, words: &str) {
    let said = refusals(&with(lines));
    assert!(said.starts_with(words) && !said.contains('\n'), "{lines}\n gave {said}\n wanted {words}");
}

#[test]
fn types_have_the_default_of_kubernetes() {
    for (lines, ingress, egress) in [
        ("", true, false),
        ("ingress: []", true, false),
        ("egress: []", true, false),
        ("egress: null", true, false),
        ("egress: [{}]", true, true),
        ("policyTypes: []\negress: [{}]", true, true),
        ("policyTypes: [Egress]", false, true),
        ("policyTypes: [Ingress]\negress: [{}]", true, false),
        ("policyTypes: [Egress, Ingress]", true, true),
        ("policyTypes: [Egress, Egress]", false, true),
    ] {
        let read = spec(lines);
        assert_eq!((read.isolates_ingress, read.isolates_egress), (ingress, egress), "{lines:?}");
    }
    let unheeded = spec("policyTypes: [Ingress]\negress: [{}]");
    assert_eq!(unheeded.egress.len(), 1, "kept, though it isn't heeded");
}

#[test]
fn nothing_is_no_rule_and_an_empty_rule_is_anybody() {
    for lines in ["", "ingress: []", "ingress: null", "ingress:"] {
        assert!(spec(lines).ingress.is_empty(), "{lines:?}");
    }
    for lines in ["ingress: [{}]", "ingress: [{from: null, ports: null}]", "ingress: [{from: [], ports: []}]"]
    {
        assert_eq!(spec(lines).ingress, [PolicyRule::default()], "{lines:?}");
    }
}

#[test]
fn a_selector_that_isnt_there_is_another_than_an_empty_one() {
    let pods = |namespaces, pods| vec![PolicyPeer::Pods { namespaces, pods }];
    let all = || Some(LabelSelector::default());
    for (lines, expected) in [
        ("podSelector: {}", pods(None, all())),
        ("namespaceSelector: {}", pods(all(), None)),
        ("{namespaceSelector: {}, podSelector: null}", pods(all(), None)),
        (
            "{namespaceSelector: null, podSelector: {matchLabels: {app: db}}}",
            pods(None, Some(labels("app=db"))),
        ),
        ("podSelector: {matchLabels: null, matchExpressions: null}", pods(None, all())),
        (
            "namespaceSelector: {matchLabels: {team: a}}\n    podSelector: {matchLabels: {app: db}}",
            pods(Some(labels("team=a")), Some(labels("app=db"))),
        ),
    ] {
        assert_eq!(peers(lines), expected, "{lines}");
    }
    // Two entries are two peers.
    let two = peers("namespaceSelector: {matchLabels: {team: a}}\n  - podSelector: {matchLabels: {app: db}}");
    assert_eq!(two.len(), 2);
    for missing in ["", "podSelector:", "podSelector: null", "podSelector: {}"] {
        let text = POLICY.replace(
            "podSelector:\n    matchLabels: {app: web}",
            &format!("{missing}\n  policyTypes: [Ingress]"),
        );
        let parsed = parse(&text, "f", &Options::default()).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
        let Some(Draft::Whole(Object::NetworkPolicy(policy))) =
            parsed.objects.into_iter().next().map(|d| d.draft)
        else {
            panic!("{text}")
        };
        assert!(policy.spec.pods.is_empty(), "{missing:?} selects all pods of its namespace");
    }
    refused(
        "ingress:\n- from:\n  - {}",
        "11:7: spec.ingress[0].from[0]: Required value: must specify a peer",
    );
    refused(
        "ingress:\n- from:\n  - podSelector:",
        "11:7: spec.ingress[0].from[0]: Required value: must specify a peer",
    );
}

#[test]
fn expressions_have_operators_and_values() {
    let read = |expression: &str| {
        spec(&format!("ingress: [{{from: [{{podSelector: {{matchExpressions: [{expression}]}}}}]}}]"))
    };
    for (word, operator) in [
        ("In, values: [b, a, a]", LabelOperator::In),
        ("NotIn, values: ['']", LabelOperator::NotIn),
        ("Exists", LabelOperator::Exists),
        ("Exists, values: []", LabelOperator::Exists),
        ("DoesNotExist, values: null", LabelOperator::DoesNotExist),
    ] {
        let rule = read(&format!("{{key: app, operator: {word}}}")).ingress.remove(0);
        let [PolicyPeer::Pods { pods: Some(pods), .. }] = rule.peers.as_slice() else { panic!("{rule:?}") };
        assert_eq!(pods.expressions[0].operator, operator, "{word}");
    }
    let list = "spec.ingress[0].from[0].podSelector.matchExpressions[0]";
    for (expression, words) in [
        ("{key: app}", format!("{list}.operator: must be given")),
        ("{operator: Exists}", format!("{list}.key: must be given")),
        (
            "{key: app, operator: in, values: [a]}",
            format!("{list}.operator: unknown operator \"in\": use In"),
        ),
        ("{key: app, operator: In}", format!("{list}.values: Required value")),
        ("{key: app, operator: NotIn, values: []}", format!("{list}.values: Required value")),
        ("{key: app, operator: Exists, values: [a]}", format!("{list}.values: Forbidden")),
        ("{key: app, operator: In, values: [1]}", format!("{list}.values[0]: must be text")),
        ("{key: app, operator: In, values: ['a b']}", format!("{list}.values: Invalid value: \"a b\"")),
        ("{key: 'a b', operator: Exists}", format!("{list}.key: Invalid value: \"a b\"")),
        ("{key: app, operater: Exists, operator: Exists}", format!("{list}.operater isn't a field")),
    ] {
        let said = refusals(&with(&format!(
            "ingress:\n- from:\n  - podSelector:\n      matchExpressions:\n      - {expression}"
        )));
        let words = format!(": {words}");
        assert!(
            said.starts_with("13:") && said.contains(&words),
            "{expression}\n gave {said}\n wanted {words}"
        );
    }
}

#[test]
fn ports_are_numbers_ranges_names_or_all() {
    let read = |port: &str| spec(&format!("egress: [{{ports: [{port}]}}]")).egress.remove(0).ports.remove(0);
    let name = |text: &str| PortMatch::Name(text.to_owned());
    for (text, protocol, port) in [
        ("{}", Protocol::Tcp, PortMatch::Any),
        ("{protocol: SCTP, port: null}", Protocol::Sctp, PortMatch::Any),
        ("{port: 80}", Protocol::Tcp, PortMatch::Numbers(80, 80)),
        ("{protocol: UDP, port: 53, endPort: 53}", Protocol::Udp, PortMatch::Numbers(53, 53)),
        ("{port: 1, endPort: 65535}", Protocol::Tcp, PortMatch::Numbers(1, 65535)),
        ("{port: http}", Protocol::Tcp, name("http")),
    ] {
        assert_eq!(read(text), PolicyPort { protocol, port }, "{text}");
    }
    let path = "spec.egress[0].ports[0]";
    for (text, words) in [
        ("{port: 0}", format!("{path}.port: must be a whole number from 1 to 65535")),
        ("{port: 65536}", format!("{path}.port: must be a whole number from 1 to 65535")),
        ("{port: -1}", format!("{path}.port: must be a whole number")),
        ("{port: 80.5}", format!("{path}.port: must be a whole number")),
        ("{port: '80'}", format!("{path}.port: Invalid value: \"80\": must contain at least one letter")),
        ("{port: ''}", format!("{path}.port: Invalid value: \"\": must be 1 to 15 characters")),
        ("{port: Http}", format!("{path}.port: Invalid value: \"Http\"")),
        ("{port: 'a--b'}", format!("{path}.port: Invalid value: \"a--b\": must not contain consecutive")),
        ("{port: this-is-too-long}", format!("{path}.port: Invalid value: \"this-is-too-long\"")),
        ("{protocol: tcp}", format!("{path}.protocol: unknown protocol \"tcp\": use TCP, UDP, SCTP")),
        ("{protocol: ICMP}", format!("{path}.protocol: unknown protocol \"ICMP\"")),
        ("{endPort: 90}", format!("{path}.endPort: means something only together with port")),
        ("{port: http, endPort: 90}", format!("{path}.endPort: means something only with a numeric port")),
        (
            "{port: 80, endPort: 79}",
            format!("{path}.endPort: Invalid value: 79: must be greater than or equal"),
        ),
        ("{port: 80, endPort: 70000}", format!("{path}.endPort: must be a whole number from 1 to 65535")),
        ("{port: 80, endPort: http}", format!("{path}.endPort: must be a whole number")),
        (
            "{port: 80, endport: 90}",
            format!("{path}.endport isn't a field of NetworkPolicy; did you mean \"endPort\"?"),
        ),
        ("null", format!("{path}: must be a map, is nothing")),
    ] {
        let said = refusals(&with(&format!("egress:\n- ports:\n  - {text}")));
        assert!(
            said.starts_with("11:") && said.contains(&format!(": {words}")),
            "{text}\n gave {said}\n wanted {words}"
        );
    }
}

#[test]
fn blocks_are_ranges_with_exceptions_inside() {
    let read = |text: &str| peers(&format!("ipBlock: {text}"));
    let block = |range: &str, except: &[&str]| {
        let except = except.iter().map(|text| text.parse().unwrap()).collect();
        vec![PolicyPeer::Block { range: range.parse().unwrap(), except }]
    };
    assert_eq!(read("{cidr: 0.0.0.0/0}"), block("0.0.0.0/0", &[]));
    assert_eq!(read("{cidr: '2001:db8::/32', except: null}"), block("2001:db8::/32", &[]));
    assert_eq!(read("{cidr: 10.1.2.3/8, except: [10.9.9.9/16]}"), block("10.0.0.0/8", &["10.9.0.0/16"]));
    let path = "spec.ingress[0].from[0].ipBlock";
    for (text, words) in [
        ("{}", format!("{path}.cidr: must be given")),
        ("{cidr: null}", format!("{path}.cidr: must be given")),
        ("{cidr: 10.0.0.0}", format!("{path}.cidr: \"10.0.0.0\" is not a range")),
        ("{cidr: 10.0.0.0/33}", format!("{path}.cidr: \"10.0.0.0/33\" is not a range")),
        ("{cidr: '::ffff:10.0.0.0/104'}", format!("{path}.cidr: \"::ffff:10.0.0.0/104\" is not a range")),
        (
            "{cidr: 10.0.0.0/8, except: [10.0.0.0/8]}",
            format!(
                "{path}.except[0]: Invalid value: \"10.0.0.0/8\": must be a strict subset of `cidr`, 10.0.0.0/8"
            ),
        ),
        (
            "{cidr: 10.0.0.0/8, except: [10.1.0.0/16, 11.0.0.0/16]}",
            format!("{path}.except[1]: Invalid value: \"11.0.0.0/16\""),
        ),
        (
            "{cidr: 10.0.0.0/8, except: ['fd00::/64']}",
            format!("{path}.except[0]: Invalid value: \"fd00::/64\""),
        ),
        ("{cidr: 10.0.0.0/8, except: [10.1.0]}", format!("{path}.except[0]: \"10.1.0\" is not a range")),
        ("{cidr: 10.0.0.0/8, except: 10.1.0.0/16}", format!("{path}.except: must be a list, is text")),
        (
            "{cdir: 10.0.0.0/8, cidr: 10.0.0.0/8}",
            format!("{path}.cdir isn't a field of NetworkPolicy; did you mean \"cidr\"?"),
        ),
    ] {
        let said = refusals(&with(&format!("ingress:\n- from:\n  - ipBlock: {text}")));
        assert!(
            said.starts_with("11:") && said.contains(&format!(": {words}")),
            "{text}\n gave {said}\n wanted {words}"
        );
    }
    for other in ["podSelector: {}", "namespaceSelector: {}"] {
        refused(
            &format!("ingress:\n- from:\n  - ipBlock: {{cidr: 10.0.0.0/8}}\n    {other}"),
            "11:16: spec.ingress[0].from[0].ipBlock: may not be combined with podSelector",
        );
    }
}

#[test]
fn a_misspelt_field_opens_nothing() {
    for (lines, words) in [
        (
            "policyType: [Egress]",
            "9:3: spec.policyType isn't a field of NetworkPolicy; did you mean \"policyTypes\"?",
        ),
        ("policyTypes: [egress]", "9:17: spec.policyTypes[0]: unknown type \"egress\": use Ingress, Egress"),
        ("policyTypes: Egress", "9:16: spec.policyTypes: must be a list, is text"),
        ("ingres: [{}]", "9:3: spec.ingres isn't a field of NetworkPolicy; did you mean \"ingress\"?"),
        ("ingress: {}", "9:12: spec.ingress: must be a list, is a map"),
        ("ingress: [null]", "9:13: spec.ingress[0]: must be a map, is nothing"),
        ("ingress: [{to: [{podSelector: {}}]}]", "9:14: spec.ingress[0].to isn't a field of NetworkPolicy"),
        ("egress: [{from: [{podSelector: {}}]}]", "9:13: spec.egress[0].from isn't a field of NetworkPolicy"),
        (
            "ingress: [{form: [{podSelector: {}}]}]",
            "9:14: spec.ingress[0].form isn't a field of NetworkPolicy; did you mean \"from\"?",
        ),
        ("ingress: [{from: [null]}]", "9:21: spec.ingress[0].from[0]: must be a map, is nothing"),
        ("ingress: [{from: {podSelector: {}}}]", "9:20: spec.ingress[0].from: must be a list, is a map"),
        ("ingress: [{from: [{podSelecter: {}}]}]", "9:22: spec.ingress[0].from[0].podSelecter isn't a field"),
        (
            "ingress: [{from: [{podSelector: {app: web}}]}]",
            "9:36: spec.ingress[0].from[0].podSelector.app isn't a field of NetworkPolicy",
        ),
        (
            "ingress: [{from: [{podSelector: {matchLabels: {app: 1}}}]}]",
            "9:55: spec.ingress[0].from[0].podSelector.matchLabels.app: must be text",
        ),
        (
            "ingress: [{from: [{podSelector: {matchLabels: {app: 'a b'}}}]}]",
            "9:49: spec.ingress[0].from[0].podSelector.matchLabels[app]: Invalid value: \"a b\"",
        ),
    ] {
        let said = refusals(&with(lines));
        assert!(said.starts_with(words), "{lines}\n gave {said}\n wanted {words}");
    }
    let said = refusals(&POLICY.replace("matchLabels: {app: web}", "matchLables: {app: web}"));
    assert!(
        said.starts_with("8:5: spec.podSelector.matchLables isn't a field of NetworkPolicy; did you mean"),
        "{said}"
    );
    let said = refusals(&POLICY.replace("networking.k8s.io/v1", "extensions/v1beta1"));
    assert!(said.contains("kind NetworkPolicy of extensions/v1beta1 isn't served here"), "{said}");
    assert!(said.contains("its apiVersion is networking.k8s.io/v1"), "{said}");
    let said = refusals("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a}\n");
    assert_eq!(said, "1:1: spec: must be given");
}

#[test]
fn all_problems_of_a_policy_are_shown_at_once_with_their_places() {
    let said = refusals(&with(
        "policyTypes: [Ingres]\n\
         ingress:\n\
         - from:\n\
         \u{20} - {}\n\
         \u{20} - ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/8]}\n\
         \u{20} ports:\n\
         \u{20} - {port: '80'}\n\
         \u{20} - {port: 80, endPort: 1}\n\
         egress:\n\
         - to: [{podSelector: {matchExpressions: [{key: a, operator: In}]}}]",
    ));
    let places: Vec<&str> = said.lines().map(|line| line.split(": ").nth(1).unwrap_or_default()).collect();
    assert_eq!(
        places,
        [
            "spec.ingress[0].from[0]",
            "spec.ingress[0].from[1].ipBlock.except[0]",
            "spec.ingress[0].ports[0].port",
            "spec.ingress[0].ports[1].endPort",
            "spec.egress[0].to[0].podSelector.matchExpressions[0].values",
            "spec.policyTypes[0]",
        ],
        "{said}"
    );
}

#[test]
fn more_than_a_policy_may_have_is_refused_with_the_number() {
    let many = |one: &str, count: usize| vec![one; count].join(", ");
    for (lines, words) in [
        (
            format!("ingress: [{}]", many("{}", 257)),
            "9:12: spec.ingress: Too many: 257: must have at most 256 items",
        ),
        (
            format!("ingress: [{{from: [{}]}}]", many("{podSelector: {}}", 257)),
            "9:13: spec.ingress[0].from: Too many: 257: must have at most 256 items",
        ),
        (
            format!("egress: [{{ports: [{}]}}]", many("{port: 1}", 101)),
            "9:12: spec.egress[0].ports: Too many: 101: must have at most 100 items",
        ),
    ] {
        refused(&lines, words);
    }
    assert_eq!(spec(&format!("ingress: [{}]", many("{}", 256))).ingress.len(), 256);
}
