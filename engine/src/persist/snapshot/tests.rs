//! What only the inside of a snapshot shows: a child whose server is gone. Other tests stand in
//! `tests/it/`.

use super::*;
use crate::codec::rdb::Dialect;
use crate::keyspace::{HashSeed, Keyspace};
use crate::persist::storage::Disk;
use crate::script::Versions;

fn settings() -> Settings {
    Settings {
        target: TargetChoice::Auto(Dialect::Redis),
        compress: true,
        checksum: true,
        incremental_sync: true,
        key_delay_us: 0,
    }
}

#[test]
fn a_child_without_its_server_publishes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dump.rdb");
    std::fs::write(&path, b"of the next server").unwrap();
    let (keyspace, carried) = (Keyspace::new(1, HashSeed(1, 2)), Carried::new(Versions::ours("7.4.2")));
    let contents = Contents { keyspace: &keyspace, carried: &carried };
    let producer = Producer {
        redis_version: "7.4.2",
        created_at: UnixMs(0),
        used_memory: 0,
        is_aof_base: false,
        stamp: None,
    };
    // This process is not its own child, as a child is no longer one of a server that has died.
    let parent = Some(Parent::this());
    let saved = save_for(&Disk, &path, settings(), &producer, contents, &mut |_| {}, parent);
    assert!(matches!(saved, Err(SaveError::Orphaned)), "{saved:?}");
    assert_eq!(std::fs::read(&path).unwrap(), b"of the next server");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "the temporary file is gone");
}
