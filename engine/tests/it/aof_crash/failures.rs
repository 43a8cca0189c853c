//! One failure each: what the log says of it, what it still acknowledges, and how it gets over it.

use std::time::Duration;

use cairn_engine::persist::aof::{AofEvent, AofSettings, AofState, LogHealth, SyncPolicy};

use super::life::{self, Life, folder, recover, settings};
use super::{LONG, POLICIES, SHORT, check, prepared, write};
use crate::aof_disk::without_reserve;
use crate::simulated::{Call, Dose, Fault, Kind, Plan, Simulated, crash_everywhere};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// All calls of this kind fail from here on.
fn break_calls(disk: &Simulated, call: Call, fault: Fault) {
    disk.fail(Some(Plan { after: 0, fault, lasts: true, only: Some(call) }));
}

fn begun(settings: &AofSettings) -> (Simulated, Life) {
    let (disk, history) = prepared(settings);
    disk.begin();
    let life = Life::start(&disk, settings.clone(), history).expect("a good disk");
    (disk, life)
}

/// Polls until the rewrite that was asked for is over.
fn rewrite(life: &mut Life) {
    life.engine.start_rewrite(life.now).expect("none is under way");
    for _ in 0..50 {
        life.poll(SHORT);
        if !life.engine.is_rewriting() {
            return;
        }
    }
    panic!("it does not end: {:?}", life.events);
}

/// What was acknowledged is on the disk, and the log goes on.
fn goes_on(disk: &Simulated, life: &mut Life) {
    disk.fail(None);
    assert!(life.settle(), "{:?}", life.events);
    write(life, 2);
    assert!(life.settle() && life.acked == life.steps);
    let (engine, _) = recover(disk).expect("a good disk");
    assert_eq!(life.history.steps(&engine), Some(life.steps));
}

#[test]
fn without_room_nothing_is_acknowledged_until_there_is_some() {
    for policy in POLICIES {
        for fault in [Fault::Short, Fault::Errno(ENOSPC)] {
            let (disk, mut life) = begun(&settings(policy));
            write(&mut life, 2);
            assert!(life.settle());
            let (acked, size) = (life.acked, life.engine.aof_stats(life.now).bytes);
            break_calls(&disk, Call::Append, fault);
            for _ in 0..3 {
                life.step();
                life.poll(LONG * 2);
            }
            assert_eq!(*life.engine.log_health(), LogHealth::WriteFailed("No space left on device".into()));
            assert_eq!(life.acked, acked, "{policy:?}");
            assert_eq!(life.engine.aof_stats(life.now).bytes, size, "half a write is taken back");
            let told = life.events.iter().filter(|e| matches!(e, AofEvent::WriteFailed(_))).count();
            assert_eq!(told, 1, "once, however often it is tried");
            disk.fail(None);
            life.poll(Duration::from_millis(1100));
            life.poll(SHORT);
            assert_eq!(
                (life.engine.log_health().clone(), life.acked),
                (LogHealth::Fine, life.steps),
                "{policy:?}"
            );
            assert!(life.events.contains(&AofEvent::WriteFixed));
            goes_on(&disk, &mut life);
        }
    }
}

#[test]
fn a_failed_sync_is_not_forgotten() {
    for policy in [SyncPolicy::Always, SyncPolicy::EverySec] {
        let (disk, mut life) = begun(&settings(policy));
        disk.fail(Some(Plan { after: 0, fault: Fault::Errno(EIO), lasts: false, only: Some(Call::Sync) }));
        life.step();
        let failed = life.steps;
        life.poll(SHORT);
        assert_eq!(*life.engine.log_health(), LogHealth::SyncFailed("Input/output error".into()));
        assert!(life.synced < failed && (life.acked < failed || policy == SyncPolicy::EverySec));
        // Syncs succeed again, which proves nothing.
        let old = life.engine.aof_manifest().clone();
        let dose = Dose::of(60);
        let history = life.history.clone();
        crash_everywhere(&dose, &disk, |crash, image| check(crash, &image, &history, policy));
        assert!(life.settle(), "{:?}", life.events);
        let new = life.engine.aof_manifest();
        assert_eq!((new.incr.len(), new.base.is_some()), (1, true));
        let is_fresh = |name: &[u8]| old.entries().all(|(_, entry)| entry.name != name);
        assert!(new.live().all(|(_, entry)| is_fresh(&entry.name)), "no old file is used any more");
        assert_eq!(life.synced, life.steps);
        assert!(life.events.contains(&AofEvent::Recovered));
        goes_on(&disk, &mut life);
    }
}

#[test]
fn a_rewrite_without_room_leaves_the_log_and_is_put_off() {
    let grown = AofSettings { rewrite_percentage: 1, rewrite_min_bytes: 1, ..settings(SyncPolicy::EverySec) };
    let (disk, mut life) = begun(&grown);
    write(&mut life, 4);
    break_calls(&disk, Call::Write, Fault::Short);
    for failures in 1..=3 {
        assert!(life.engine.wants_rewrite(life.now), "{failures}");
        rewrite(&mut life);
        life.step();
        assert_eq!(life.engine.aof_stats(life.now).failures, failures);
    }
    assert!(!life.engine.aof_stats(life.now).last_rewrite_ok);
    assert_eq!(
        (life.engine.log_health().clone(), life.acked),
        (LogHealth::Fine, life.steps),
        "the log does not care"
    );
    assert!(!life.engine.wants_rewrite(life.now));
    life.poll(SHORT);
    assert!(life.events.contains(&AofEvent::Limited { minutes: 1 }));
    let pause = life.engine.aof_stats(life.now).retry_in.expect("a pause");
    assert!(pause > Duration::from_secs(58), "{pause:?}");
    let temps = disk.names(folder()).iter().filter(|name| name.starts_with("temp-")).count();
    assert_eq!(temps, 0, "unfinished files are removed");
    life.now += Duration::from_secs(61);
    assert!(life.engine.wants_rewrite(life.now));
    disk.fail(None);
    rewrite(&mut life);
    let stats = life.engine.aof_stats(life.now);
    assert_eq!((stats.failures, stats.last_rewrite_ok, stats.retry_in), (0, true, None));
    goes_on(&disk, &mut life);
}

#[test]
fn a_manifest_that_cannot_be_written_calls_the_rewrite_off() {
    for call in [Call::Create, Call::Rename] {
        let (disk, mut life) = begun(&settings(SyncPolicy::EverySec));
        write(&mut life, 2);
        let before = life.engine.aof_manifest().clone();
        let names = disk.names(folder());
        break_calls(&disk, call, Fault::Errno(EIO));
        rewrite(&mut life);
        life.step();
        assert_eq!(life.engine.aof_manifest().base, before.base, "{call:?}");
        assert_eq!(life.engine.aof_manifest().incr, before.incr, "{call:?}");
        assert_eq!(disk.names(folder()), names, "{call:?}");
        assert_eq!((life.engine.log_health().is_failed(), life.acked), (false, life.steps), "{call:?}");
        goes_on(&disk, &mut life);
    }
}

/// A folder that cannot be synced after a manifest has got its name: nobody knows which one is there after
/// a power cut.
#[test]
fn while_the_folder_is_in_doubt_the_files_of_both_manifests_stay() {
    let (disk, mut life) = begun(&settings(SyncPolicy::EverySec));
    write(&mut life, 2);
    life.engine.start_rewrite(life.now).expect("none is under way");
    while !life.events.iter().any(|event| matches!(event, AofEvent::ChildDone { .. })) {
        life.poll(SHORT);
    }
    // The last sync of the folder, after the rename.
    disk.fail(Some(Plan { after: 2, fault: Fault::Errno(EIO), lasts: true, only: Some(Call::SyncDir) }));
    life.poll(SHORT);
    let names = disk.names(folder());
    for name in ["1.base.rdb", "1.incr.aof", "2.base.rdb", "2.incr.aof"] {
        assert!(names.contains(&format!("appendonly.aof.{name}")), "{name}: {names:?}");
    }
    assert!(life.events.iter().any(|event| matches!(event, AofEvent::RewriteFailed(_))));
    life.step();
    assert_eq!(life.acked, life.steps, "both manifests name the increment");
    for _ in 0..3 {
        life.poll(LONG);
    }
    let history = life.history.clone();
    crash_everywhere(&Dose::of(200), &disk, |crash, image| {
        check(crash, &image, &history, SyncPolicy::EverySec);
    });
    disk.fail(None);
    rewrite(&mut life);
    assert!(life.settle());
    (0..4).for_each(|_| life.poll(LONG));
    let names = disk.names(folder());
    assert_eq!(names.len(), 3, "only what the manifest names is left: {names:?}");
    goes_on(&disk, &mut life);
}

#[test]
fn what_is_acknowledged_is_written_however_slow_the_disk() {
    let (disk, mut life) = begun(&settings(SyncPolicy::EverySec));
    for _ in 0..8 {
        // The sync that the first step began does not end.
        life.step();
        life.now += SHORT;
    }
    assert_eq!(life.acked, life.steps);
    let history = life.history.clone();
    let mut kills = 0;
    crash_everywhere(&Dose::of(150), &disk, |crash, image| {
        kills += usize::from(crash.kind == Kind::Kill);
        check(crash, &image, &history, SyncPolicy::EverySec);
    });
    assert!(kills > 10);
}

/// A first base that cannot be written is tried until it can be; nothing is promised before.
#[test]
fn a_log_that_cannot_be_turned_on_yet_is_tried_again() {
    for call in [Call::Write, Call::OpenLog, Call::Append, Call::SyncDir, Call::Sync] {
        let disk = Simulated::new();
        let mut life = Life::without_log(&disk, settings(SyncPolicy::Always), life::History::default());
        life.step();
        break_calls(&disk, call, Fault::Errno(EIO));
        life.turn_on();
        for _ in 0..8 {
            life.step();
            life.poll(LONG);
        }
        assert_eq!(life.engine.aof_state(), AofState::Starting, "{call:?}");
        let logged = life.engine.log_position();
        assert_eq!(
            life.engine.acked_position(life.now),
            logged,
            "the log promises nothing, and forbids nothing"
        );
        goes_on(&disk, &mut life);
        assert!(life.events.contains(&AofEvent::TurnedOn));
    }
}

#[test]
fn a_slow_disk_holds_acknowledgements_after_two_seconds() {
    let (disk, history) = prepared(&settings(SyncPolicy::EverySec));
    let mut life = Life::start(&disk, settings(SyncPolicy::EverySec), history).expect("a good disk");
    life.step();
    // The sync is under way from here on: it ends with the next poll.
    life.now += Duration::from_millis(1900);
    life.step();
    assert_eq!((life.acked, life.synced), (life.steps, life.steps - 2), "written, and not too old");
    life.now += Duration::from_millis(200);
    life.step();
    assert_eq!((life.acked, life.synced), (life.steps - 1, life.steps - 3), "too old");
    life.poll(Duration::ZERO);
    assert_eq!((life.acked, life.synced), (life.steps, life.steps - 2), "the first is durable");
    assert_eq!(life.engine.aof_stats(life.now).delayed_syncs, 0, "nobody has looked");
    life.poll(SHORT);
    assert_eq!(life.synced, life.steps);
}

#[test]
fn a_shutdown_that_cannot_make_all_durable_says_so() {
    for (call, is_told) in
        [(Call::Append, true), (Call::Sync, true), (Call::Rename, true), (Call::Remove, false)]
    {
        let (disk, history) = prepared(&settings(SyncPolicy::EverySec));
        let mut life = Life::start(&disk, settings(SyncPolicy::EverySec), history).expect("a good disk");
        disk.fail(Some(Plan { after: 0, fault: Fault::Errno(5), lasts: true, only: Some(call) }));
        life.step();
        let closed = life.engine.close_aof(life.now, life::NOW);
        assert_eq!(closed.is_err(), is_told, "{call:?}: {closed:?}");
    }
}

#[test]
fn the_size_of_the_log_is_known_while_a_block_is_under_way() {
    let (disk, mut life) = begun(&settings(SyncPolicy::Always));
    let size = |life: &Life| life.engine.aof_stats(life.now).bytes;
    let on_disk = |disk: &Simulated| -> u64 {
        let files = disk.names(folder()).into_iter().filter(|name| name.contains(".1."));
        files
            .map(|name| disk.get(folder().join(name)).map_or(0, |bytes| without_reserve(&bytes).len() as u64))
            .sum()
    };
    for _ in 0..3 {
        let before = on_disk(&disk);
        life.step();
        assert_eq!(size(&life), before);
        life.poll(SHORT);
        assert_eq!(size(&life), on_disk(&disk));
        assert!(size(&life) > before);
    }
}
