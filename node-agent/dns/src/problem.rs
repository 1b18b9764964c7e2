//! What is wrong with the settings, as the agent is told.

use weft_names::Problem;
use weft_proto::v1::{self, NamesProblemKind as Kind};

/// A problem, with the words for it.
pub(crate) fn to_wire(problem: &Problem) -> v1::NamesProblem {
    let (kind, servers, domain) = match problem {
        Problem::OwnAddress { server } => (Kind::OwnAddress, vec![*server], String::new()),
        Problem::Domain { domain } => (Kind::Domain, Vec::new(), domain.clone()),
        Problem::OwnDomain { domain } => (Kind::OwnDomain, Vec::new(), domain.clone()),
        Problem::NoServer { domain, own } => (Kind::NoServer, own.clone(), domain.clone()),
    };
    let servers = servers.iter().map(Into::into).collect();
    v1::NamesProblem { kind: kind.into(), servers, domain, message: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_keeps_what_it_is_about() {
        let server = "10.96.0.10:53".parse().unwrap();
        let domain = || "corp.example".to_owned();
        let check = |problem: Problem, kind: Kind, servers: usize, domain: &str| {
            let wire = to_wire(&problem);
            assert_eq!((wire.kind(), wire.servers.len(), wire.domain.as_str()), (kind, servers, domain));
            assert_eq!(wire.message, problem.to_string());
        };
        check(Problem::OwnAddress { server }, Kind::OwnAddress, 1, "");
        check(Problem::Domain { domain: domain() }, Kind::Domain, 0, "corp.example");
        check(Problem::OwnDomain { domain: domain() }, Kind::OwnDomain, 0, "corp.example");
        check(Problem::NoServer { domain: domain(), own: vec![server] }, Kind::NoServer, 1, "corp.example");
        check(Problem::NoServer { domain: ".".to_owned(), own: Vec::new() }, Kind::NoServer, 0, ".");
    }
}
