//! CLUSTER and what belongs to it, as a server alone answers: only the slot of a key can be told, everything
//! else is refused.
//!
//! Knows no nodes. Behaviour: valkey src/cluster.c without `cluster-enabled`; facts: src/commands/cluster*.json.

use cairn_engine::base::slot::key_slot;
use cairn_engine::command::spec::{
    ADMIN, CHANNELS, FAST, Flags, Group, KeySpec, LOADING, MAY_REPLICATE, NO_ASYNC_LOADING, NOSCRIPT,
    READONLY, STALE, Spec, WRITE,
};
use cairn_engine::command::{Args, CommandError, Outcome, help};

use super::{Call, SessionCommand};

/// Every command of this file.
pub(super) const COMMANDS: &[SessionCommand] = &[CLUSTER, ASKING, CLUSTERSCAN];

/// The answer to whatever needs a cluster.
const DISABLED: CommandError = CommandError::text("ERR This instance has cluster support disabled");

fn refuse(_: &mut Call<'_>, _: Args<'_>) -> Outcome {
    Err(DISABLED)
}

const ASKING: SessionCommand = SessionCommand::new(
    Spec::new("asking", Group::Cluster, "3.0.0", 1, "")
        .flags(FAST)
        .categories(&["connection"])
        .summary("Says that the next command follows a redirection by ASK."),
    refuse,
);

const CLUSTERSCAN: SessionCommand = SessionCommand::new(
    Spec::new(
        "clusterscan",
        Group::Cluster,
        "9.1.0",
        -2,
        "cursor [ MATCH match-pattern:pattern ] [ COUNT count:int ] [ TYPE type ] [ SLOT slot:int ]",
    )
    .flags(READONLY)
    .keys(&[KeySpec::one(1, CHANNELS)])
    .categories(&["keyspace"])
    .complexity("O(N) in the number of keys that are looked at")
    .summary("Goes through the keys of a cluster."),
    refuse,
);

/// Reads what one node knows.
const TELLS: Flags = LOADING.or(STALE);
/// Changes the cluster.
const CHANGES: Flags = ADMIN.or(STALE).or(NO_ASYNC_LOADING);
/// Changes the cluster, and its replicas get to know.
const REPLICATES: Flags = CHANGES.or(MAY_REPLICATE);
/// Tells operators.
const OPERATORS: Flags = ADMIN.or(STALE);

const SLOT_RANGES: &str = "range=< start-slot:int end-slot:int >...";
const FLUSHES: Flags = WRITE.or(ADMIN).or(NO_ASYNC_LOADING);
const STATISTICS: &str = "filter=< slotsrange=< SLOTSRANGE: start-slot:int end-slot:int > \
         | orderby=< ORDERBY: metric [ LIMIT limit:int ] order=[ ASC | DESC ] > >";
const MIGRATIONS: &str = "migration-group=< slotsrange-token=SLOTSRANGE range=< start-slot:int end-slot:int >... \
         node-token=NODE node-id >...";
const SET_SLOT: &str = "slot:int subcommand=< IMPORTING importing~node-id | MIGRATING migrating~node-id \
         | NODE node~node-id | STABLE > [ TIMEOUT timeout:int@8.0.0 ]";

const CLUSTER: SessionCommand = SessionCommand::new(
    Spec::new("cluster", Group::Cluster, "3.0.0", -2, "")
        .container()
        .complexity("Depends on the subcommand")
        .summary("Commands on a cluster, of which this server is no part."),
    |_, args| Err(help::unknown_subcommand(args)),
)
.with(&[
    sub("addslots", "3.0.0", -3, "slot:int...", CHANGES, "Gives slots to the node."),
    sub("addslotsrange", "7.0.0", -4, SLOT_RANGES, CHANGES, "Gives ranges of slots to the node."),
    sub("bumpepoch", "3.0.0", 2, "", CHANGES, "Moves the cluster's epoch on."),
    sub("cancelslotmigrations", "9.0.0", 2, "", CHANGES, "Gives up all migrations of slots that go on."),
    sub(
        "count-failure-reports",
        "3.0.0",
        3,
        "node-id",
        OPERATORS,
        "Answers how many nodes report that a node fails.",
    ),
    sub("countkeysinslot", "3.0.0", 3, "slot:int", STALE, "Answers how many keys a slot has."),
    sub("delslots", "3.0.0", -3, "slot:int...", CHANGES, "Takes slots from the node."),
    sub("delslotsrange", "7.0.0", -4, SLOT_RANGES, CHANGES, "Takes ranges of slots from the node."),
    sub(
        "failover",
        "3.0.0",
        -2,
        "options=[ FORCE | TAKEOVER ]",
        CHANGES,
        "Makes the replica take its primary's place.",
    ),
    sub("flushslot", "9.0.0", -3, "slot:int flush-type=[ ASYNC | SYNC ]", FLUSHES, "Removes a slot's keys."),
    sub("flushslots", "3.0.0", 2, "", CHANGES, "Takes all slots from the node."),
    sub("forget", "3.0.0", 3, "node-id", CHANGES, "Forgets a node."),
    sub("getkeysinslot", "3.0.0", 4, "slot:int count:int", STALE, "Answers keys of a slot."),
    sub("getslotmigrations", "9.0.0", 2, "", CHANGES, "Tells of migrations of slots."),
    sub("help", "5.0.0", 2, "", TELLS, "Prints this help."),
    sub("info", "3.0.0", 2, "", TELLS, "Tells how the cluster does."),
    SessionCommand::new(
        spec("keyslot", "3.0.0", 3, "key:string", STALE, "Answers the slot of a key.")
            .complexity("O(N) in the bytes of the key"),
        |call, args| {
            call.reply.int(i64::from(key_slot(args.at(2))));
            Ok(())
        },
    ),
    sub("links", "7.0.0", 2, "", STALE, "Lists the connections with other nodes."),
    sub(
        "meet",
        "3.0.0",
        -4,
        "ip port:int [ cluster-bus-port:int@4.0.0 ]",
        CHANGES,
        "Makes the node known to another one.",
    ),
    sub("migrateslots", "9.0.0", -4, MIGRATIONS, CHANGES, "Moves slots of the node to other ones."),
    sub("myid", "3.0.0", 2, "", TELLS, "Answers the node's name."),
    sub("myshardid", "7.2.0", 2, "", TELLS, "Answers the name of the node's shard."),
    sub("nodes", "3.0.0", 2, "", TELLS, "Lists the nodes as the node knows them."),
    sub("replicas", "5.0.0", 3, "node-id", OPERATORS, "Lists the replicas of a primary."),
    sub(
        "replicate",
        "3.0.0",
        -3,
        "args=< node-id | @9.0.0=< NO ONE > >",
        CHANGES,
        "Makes the node a replica of another one, or of none.",
    ),
    sub(
        "reset",
        "3.0.0",
        -2,
        "reset-type=[ HARD | SOFT ]",
        OPERATORS.or(NOSCRIPT),
        "Makes the node a new one.",
    ),
    sub("saveconfig", "3.0.0", 2, "", CHANGES, "Writes what the node knows of the cluster to its file."),
    sub("set-config-epoch", "3.0.0", 3, "config-epoch:int", CHANGES, "Sets the epoch of a new node."),
    sub("setslot", "3.0.0", -4, SET_SLOT, REPLICATES, "Says where a slot is, or where it goes."),
    sub("shards", "7.0.0", 2, "", TELLS, "Tells which shards have which slots."),
    sub("slaves", "3.0.0", 3, "node-id", OPERATORS, "Lists the replicas of a primary."),
    sub("slot-stats", "8.0.0", -4, STATISTICS, TELLS, "Answers what is counted of the node's slots."),
    sub("slots", "3.0.0", 2, "", TELLS, "Tells which nodes have which slots."),
    sub("syncslots", "9.0.0", -3, "", REPLICATES, "What nodes say to each other while slots move."),
]);

const fn spec(
    name: &'static str,
    since: &'static str,
    arity: i32,
    syntax: &'static str,
    flags: Flags,
    summary: &'static str,
) -> Spec {
    let spec = Spec::new(name, Group::Cluster, since, arity, syntax).parent("cluster");
    let spec = spec.flags(flags).summary(summary);
    // Only what writes is listed with the commands on keys.
    if flags.has(WRITE) { spec.categories(&["keyspace"]) } else { spec }
}

const fn sub(
    name: &'static str,
    since: &'static str,
    arity: i32,
    syntax: &'static str,
    flags: Flags,
    summary: &'static str,
) -> SessionCommand {
    SessionCommand::new(spec(name, since, arity, syntax, flags, summary), refuse)
}
