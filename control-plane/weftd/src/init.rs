//! `weftd init`: a new cluster on this machine. Starts nothing.
//!
//! Everything is checked before anything is written; the directory becomes a replica with its last write, so an
//! attempt that didn't come to its end can be repeated.

use std::path::Path;

use serde_json::{Value, json};
use weft_core::{new_fabric, parse_range};
use weft_errors::{ALREADY_INITIALIZED, Coded, Error, INTERNAL, USAGE};
use weft_model::{
    Action, AddressRange, ClientId, ClusterId, Command, Fabric, FabricDraft, FabricRanges, Holder, Member,
    MemberRole, Name, Part, Purpose, ReplicaId, ReplicaName, Revision, Sequence, Stamp, WallTime,
};
use weft_server::{codec, identity_files};
use weft_store::{DataDir, Identity};
use weft_trust::Authority;

use crate::{args::Init, context_file::ContextFile, listen::Listen, output::print};

/// The first replica's Raft id.
const FIRST: ReplicaId = ReplicaId(1);

/// Runs the command.
pub(crate) fn run(args: &Init) -> Result<(), Error> {
    let fabric = fabric(args)?;
    let name = replica_name(&args.name)?;
    let listen = Listen::look(args.listen);
    if args.dry_run {
        let value = json!({"kind": "Init", "dryRun": true, "ranges": ranges_value(&fabric), "listen": args.listen.to_string(), "preflight": [listen.value()]});
        let text = format!("{}{}\nnothing was made: dry run", listen.text(), ranges_text(&fabric));
        print(args.output, &value, &text);
        return Ok(());
    }
    must_be_new(&args.data_dir)?;
    let file = args.context_file.as_deref().ok_or_else(|| Error::new(&USAGE, "--context-file is missing"))?;
    let context = ContextFile::open(file, &args.context_name, args.listen)?;

    let cluster = ClusterId(random()?);
    let now = wall_time();
    let member = Member {
        id: FIRST,
        name: name.clone(),
        address: args.listen,
        role: MemberRole::Voter,
        revision: Revision(0),
    };
    let command = Command {
        client: ClientId(random()?),
        sequence: Sequence(1),
        stamp: Stamp { time: now, random: random()? },
        action: Action::Found { cluster, fabric: fabric.clone(), member },
    };
    let seed = weft_raft::found(&command, &codec()).map_err(|e| refused(&args.listen, &e))?;

    let authority = Authority::found(cluster, now).map_err(|e| e.envelope())?;
    let of = |part| authority.new_identity(&Holder { cluster, part }, now).map_err(|e| e.envelope());
    let replica = of(Part::Replica { name: name.clone(), id: FIRST })?;
    let admin =
        of(Part::Admin { name: Name::new("admin").map_err(|e| Error::new(&INTERNAL, e.to_string()))? })?;

    weft_process::private_dir(&args.data_dir).map_err(|e| e.envelope())?;
    authority.save(&args.data_dir).map_err(|e| e.envelope())?;
    replica.save(&identity_files(&args.data_dir)).map_err(|e| e.envelope())?;
    context.write(authority.hash(), &admin)?;
    let identity = Identity { cluster, id: FIRST, name, listen: args.listen, peers: Vec::new() };
    DataDir::create(&args.data_dir, identity, Some(&seed)).map_err(|e| e.envelope())?;

    let value = json!({
        "kind": "Init",
        "ca": authority.hash().to_string(),
        "cluster": cluster.to_string(),
        "listen": args.listen.to_string(),
        "ranges": ranges_value(&fabric),
        "preflight": [listen.value()],
    });
    let text = format!(
        "{}Authority   {}\nCluster     {cluster}\n{}\nContext     {:?} in {}\n\nStart it:\n  weftd run --data-dir {}",
        listen.text(),
        authority.hash(),
        ranges_text(&fabric),
        args.context_name,
        file.display(),
        args.data_dir.display(),
    );
    print(args.output, &value, &text);
    Ok(())
}

/// Refuses a directory that holds a replica already, before anything in it is touched.
pub(crate) fn must_be_new(data_dir: &Path) -> Result<(), Error> {
    if data_dir.join("replica").exists() {
        return Err(Error::new(
            &ALREADY_INITIALIZED,
            format!("{} holds a replica already", data_dir.display()),
        )
        .object("directory", "", data_dir.display()));
    }
    Ok(())
}

/// The name of a replica, from the command line.
pub(crate) fn replica_name(text: &str) -> Result<ReplicaName, Error> {
    ReplicaName::new(text).map_err(|e| Error::new(&USAGE, e.to_string()).field("--name"))
}

fn fabric(args: &Init) -> Result<Fabric, Error> {
    let ranges = |purpose, texts: &[String]| -> Result<Vec<AddressRange>, Error> {
        let read =
            |(index, text): (usize, &String)| parse_range(purpose, index, text).map_err(|e| e.envelope());
        texts.iter().enumerate().map(read).collect()
    };
    let draft = FabricDraft {
        families: Some(args.family),
        pods: Some(ranges(Purpose::Pods, &args.pods)?),
        services: Some(ranges(Purpose::Services, &args.services)?),
        nodes: Some(ranges(Purpose::Nodes, &args.nodes)?),
        overlay: Some(args.overlay),
        domain: args.domain.clone(),
        ..FabricDraft::default()
    };
    new_fabric(draft).map_err(|e| e.envelope())
}

/// Core refused the founding: the fabric alone is fine, so it is about this machine's address.
fn refused(listen: &std::net::SocketAddr, error: &weft_raft::Error) -> Error {
    Error::new(
        &weft_errors::RANGE_OVERLAP,
        format!("the cluster can't be founded with a replica at {listen}"),
    )
    .object("fabric", "", "main")
    .because(error)
    .try_this(
        "choose ranges that don't hold the machines' own addresses",
        "weftd init … --pods CIDR --nodes CIDR",
    )
}

fn texts(ranges: &[AddressRange]) -> Vec<String> {
    ranges.iter().map(ToString::to_string).collect()
}

fn ranges_value(fabric: &Fabric) -> Value {
    let FabricRanges { pods, services, nodes, .. } = &fabric.ranges;
    json!({"pods": texts(pods), "services": texts(services), "nodes": texts(nodes)})
}

fn ranges_text(fabric: &Fabric) -> String {
    let FabricRanges { pods, services, nodes, .. } = &fabric.ranges;
    let list = |ranges| texts(ranges).join(" ");
    format!("Ranges      pods {} · services {} · nodes {}", list(pods), list(services), list(nodes))
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::new(&INTERNAL, "the kernel gives no random bytes").because(e))?;
    Ok(bytes)
}

fn wall_time() -> WallTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
