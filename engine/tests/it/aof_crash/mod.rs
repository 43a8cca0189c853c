//! The log on a disk that crashes at any moment and fails at any call: what was acknowledged is there,
//! and the data set is one that was, never a mixture.
//!
//! A large dose: `CARGO_PROFILE_TEST_OPT_LEVEL=2 CAIRN_IMAGES=100000 CAIRN_SEED=7 cargo test -p
//! cairn-engine --test it aof_crash -- --nocapture`.

mod failures;
mod life;

use std::time::Duration;

use cairn_engine::base::rng::Rng;
use cairn_engine::persist::aof::{AofSettings, SyncPolicy};

use crate::simulated::{Crash, Dose, Kind, Simulated, crash_everywhere, fail_everywhere};
use life::{History, Life, recover, settings};

const POLICIES: [SyncPolicy; 3] = [SyncPolicy::Always, SyncPolicy::EverySec, SyncPolicy::No];

/// The end of one life looks like this to the next one.
fn check(crash: &Crash, image: &Simulated, history: &History, policy: SyncPolicy) {
    let promised = match crash.kind {
        Kind::Kill => crash.last("acked"),
        Kind::PowerCut => crash.last("synced"),
    };
    let promised = promised.unwrap_or(0);
    match recover(image) {
        Ok((engine, _)) => {
            let steps = history.steps(&engine).expect("a data set that was");
            assert!(steps >= promised, "{promised} steps were promised, {steps} are there");
        }
        // Without syncs nobody knows what a hole in the file means.
        Err(_) if policy == SyncPolicy::No && crash.kind == Kind::PowerCut => {}
        Err(refusal) => panic!("refused: {refusal}"),
    }
}

/// A disk on which a log with some steps is, durably.
fn prepared(settings: &AofSettings) -> (Simulated, History) {
    let disk = Simulated::new();
    let mut life = Life::start(&disk, settings.clone(), History::default()).expect("an empty disk");
    (0..5).for_each(|_| life.step());
    assert!(life.settle());
    life.engine.close_aof(life.now, life::NOW).expect("a good disk");
    (disk, life.history)
}

const SHORT: Duration = Duration::from_millis(30);
const LONG: Duration = Duration::from_millis(600);

/// Steps, with polls between them.
fn write(life: &mut Life, steps: usize) {
    for i in 0..steps {
        life.step();
        life.poll(if i % 3 == 0 { LONG } else { SHORT });
    }
}

/// A rewrite with steps in each of its phases.
fn rewrite(life: &mut Life) {
    // One is under way perhaps, to recover from a failure.
    let _ = life.engine.start_rewrite(life.now);
    for _ in 0..40 {
        life.step();
        life.poll(SHORT);
        if !life.engine.is_rewriting() {
            break;
        }
    }
    life.step();
    (0..4).for_each(|_| life.poll(SHORT));
}

/// Off, some steps that nobody promises to keep, and on again with steps meanwhile.
fn off_and_on(life: &mut Life) {
    life.turn_off();
    life.step();
    life.turn_on();
    for _ in 0..10 {
        life.step();
        life.poll(LONG);
    }
}

#[derive(Debug, Clone, Copy)]
enum Workload {
    Write,
    Rewrite,
    OffAndOn,
    Everything,
}

const WORKLOADS: [Workload; 4] =
    [Workload::Write, Workload::Rewrite, Workload::OffAndOn, Workload::Everything];

fn work(life: &mut Life, workload: Workload) {
    match workload {
        Workload::Write => write(life, 12),
        Workload::Rewrite => rewrite(life),
        Workload::OffAndOn => off_and_on(life),
        Workload::Everything => {
            write(life, 4);
            rewrite(life);
            off_and_on(life);
            rewrite(life);
        }
    }
}

fn forms(policy: SyncPolicy) -> [AofSettings; 2] {
    [true, false].map(|rdb_base| AofSettings { rdb_base, ..settings(policy) })
}

/// Without checksums a power cut may leave what cannot be told from data; a kill leaves what was written.
#[test]
fn without_checksums_a_kill_loses_nothing() {
    let dose = Dose::of(60);
    for policy in POLICIES {
        let settings = AofSettings { checksum: false, timestamps: true, ..settings(policy) };
        let (disk, history) = prepared(&settings);
        disk.begin();
        let mut life = Life::start(&disk, settings, history).expect("a good disk");
        work(&mut life, Workload::Everything);
        assert!(life.settle(), "{:?}", life.events);
        let history = life.history;
        crash_everywhere(&dose, &disk, |crash, image| {
            if crash.kind == Kind::Kill {
                check(crash, &image, &history, policy);
            }
        });
    }
}

fn switch_checksums(life: &mut Life, checksum: bool) {
    let now = life.engine.aof_settings().clone();
    life.engine.configure_aof(AofSettings { checksum, ..now });
}

/// Files keep what they were begun with, so for a time some have checksums and others have none.
#[test]
fn checksums_may_come_and_go_while_the_log_is_on() {
    let dose = Dose::of(120);
    for (policy, first) in POLICIES.into_iter().flat_map(|policy| [(policy, true), (policy, false)]) {
        let settings = AofSettings { checksum: first, ..settings(policy) };
        let (disk, history) = prepared(&settings);
        disk.begin();
        let mut life = Life::start(&disk, settings, history).expect("a good disk");
        for turn in 0..4 {
            assert_eq!(life.engine.aof_is_checked(), first ^ (turn % 2 == 1));
            switch_checksums(&mut life, first ^ (turn % 2 == 0));
            write(&mut life, 2);
            match turn {
                0 => {
                    // One is prepared as the setting was, and named as it is then.
                    let _ = life.engine.start_rewrite(life.now);
                    life.poll(SHORT);
                    switch_checksums(&mut life, first);
                    rewrite(&mut life);
                }
                1 => off_and_on(&mut life),
                _ => rewrite(&mut life),
            }
        }
        assert!(life.settle(), "{:?}", life.events);
        let history = life.history;
        crash_everywhere(&dose, &disk, |crash, image| {
            if crash.kind == Kind::Kill {
                check(crash, &image, &history, policy);
            }
        });
    }
}

#[test]
fn checksums_that_are_switched_on_protect_from_the_next_rewrite_on() {
    let dose = Dose::of(120);
    for policy in POLICIES {
        let settings = AofSettings { checksum: false, ..settings(policy) };
        let (disk, history) = prepared(&settings);
        let mut life = Life::start(&disk, settings, history).expect("a good disk");
        write(&mut life, 4);
        switch_checksums(&mut life, true);
        write(&mut life, 4);
        assert!(!life.engine.aof_is_checked(), "the file stays what it is");
        rewrite(&mut life);
        assert!(life.settle() && life.engine.aof_is_checked(), "{:?}", life.events);
        disk.begin();
        disk.note("acked", life.acked);
        disk.note("synced", life.synced);
        work(&mut life, Workload::Everything);
        assert!(life.settle(), "{:?}", life.events);
        let history = life.history;
        crash_everywhere(&dose, &disk, |crash, image| check(crash, &image, &history, policy));
    }
}

#[test]
fn whatever_a_crash_leaves_holds_what_was_promised() {
    let dose = Dose::of(480);
    let each = Dose { images: dose.images.div_ceil(POLICIES.len() * WORKLOADS.len() * 2), ..dose };
    let mut images = 0;
    for policy in POLICIES {
        for settings in forms(policy) {
            for workload in WORKLOADS {
                let (disk, history) = prepared(&settings);
                disk.begin();
                let mut life = Life::start(&disk, settings.clone(), history).expect("a good disk");
                work(&mut life, workload);
                assert!(life.settle(), "{:?}", life.events);
                let history = life.history;
                images += crash_everywhere(&each, &disk, |crash, image| {
                    check(crash, &image, &history, policy);
                });
            }
        }
    }
    println!("{images} images");
}

#[test]
fn a_first_start_may_crash_at_any_moment() {
    let dose = Dose::of(120);
    let each = Dose { images: dose.images.div_ceil(6), ..dose };
    let mut images = 0;
    for policy in POLICIES {
        for settings in forms(policy) {
            let disk = Simulated::new();
            disk.begin();
            let mut life = Life::start(&disk, settings.clone(), History::default()).expect("a good disk");
            write(&mut life, 3);
            let history = life.history;
            images += crash_everywhere(&each, &disk, |crash, image| check(crash, &image, &history, policy));
            let disk = Simulated::new();
            disk.begin();
            let mut life = Life::without_log(&disk, settings, History::default());
            life.step();
            life.turn_on();
            write(&mut life, 8);
            assert!(life.settle(), "{:?}", life.events);
            let history = life.history;
            images += crash_everywhere(&each, &disk, |crash, image| check(crash, &image, &history, policy));
        }
    }
    println!("{images} images");
}

#[test]
fn whichever_call_fails_nothing_acknowledged_is_lost() {
    let dose = Dose::of(96);
    let each = Dose { images: dose.images.div_ceil(POLICIES.len() * WORKLOADS.len()), ..dose };
    let few = Dose { images: 3, seed: dose.seed };
    let (mut runs, mut images) = (0, 0);
    for policy in POLICIES {
        for workload in WORKLOADS {
            let settings = settings(policy);
            let (_, history) = prepared(&settings);
            let make = || {
                let (disk, _) = prepared(&settings);
                disk.begin();
                disk
            };
            runs += fail_everywhere(&each, make, |disk, _| {
                let mut life = match Life::start(disk, settings.clone(), history.clone()) {
                    Ok(life) => life,
                    Err(_) => {
                        disk.fail(None);
                        Life::start(disk, settings.clone(), history.clone()).expect("a disk that works again")
                    }
                };
                work(&mut life, workload);
                let acked = life.acked;
                disk.fail(None);
                assert!(life.settle(), "{:?}\n{:?}", life.engine.log_health(), life.events);
                life.step();
                assert!(life.settle() && life.acked == life.steps && acked <= life.acked);
                let history = life.history;
                images += crash_everywhere(&few, disk, |crash, image| {
                    check(crash, &image, &history, policy);
                });
                let (engine, _) = recover(disk).expect("a good disk");
                assert_eq!(history.steps(&engine), Some(life.steps), "nothing is lost without a crash");
            });
        }
    }
    println!("{runs} runs, {images} images");
}

/// A server that has loaded a newer snapshot is told to keep a log, where an old one lies.
#[test]
fn an_old_log_is_not_taken_for_newer_than_a_snapshot() {
    let dose = Dose::of(150);
    for is_first_without_log in [true, false] {
        let settings = settings(SyncPolicy::EverySec);
        let (disk, history) = prepared(&settings);
        let mut life = Life::without_log(&disk, settings.clone(), history);
        life.step();
        life.save();
        if is_first_without_log {
            // Another life finds the snapshot newer than the log.
            let history = life.history;
            life = Life::without_log(&disk, settings, history);
        }
        let saved = life.steps;
        disk.begin();
        life.turn_on();
        // From here on the next start looks for a log.
        disk.note("acked", saved);
        disk.note("synced", saved);
        for _ in 0..6 {
            life.step();
            life.poll(LONG);
        }
        assert!(life.settle(), "{:?}", life.events);
        let history = life.history;
        crash_everywhere(&dose, &disk, |crash, image| check(crash, &image, &history, SyncPolicy::EverySec));
    }
}

#[test]
fn within_a_millisecond_what_was_made_last_is_found() {
    // The clock of a life stands still.
    for order in [["save", "off"], ["off", "save"], ["save", "rewrite"], ["rewrite", "save"]] {
        let settings = settings(SyncPolicy::EverySec);
        let (disk, history) = prepared(&settings);
        let mut life = match order.contains(&"rewrite") {
            true => Life::without_log(&disk, settings, history),
            false => Life::start(&disk, settings, history).expect("a good disk"),
        };
        for what in order {
            life.step();
            match what {
                "save" => life.save(),
                "off" => life.turn_off(),
                _ => {
                    life.engine.start_rewrite(life.now).expect("none is under way");
                    (0..40).for_each(|_| life.poll(SHORT));
                    assert!(!life.engine.is_rewriting());
                }
            }
        }
        let (engine, _) = recover(&disk).unwrap_or_else(|refusal| panic!("{order:?}: {refusal}"));
        assert_eq!(life.history.steps(&engine), Some(life.steps), "{order:?}");
    }
}

/// Random steps over many lives.
fn live(seed: u64, lives: usize) -> usize {
    let mut rng = Rng::new(seed);
    let mut disk = Simulated::new();
    let mut history = History::default();
    let mut images = 0;
    for _ in 0..lives {
        let policy = POLICIES[rng.index(2)];
        let settings = AofSettings { rdb_base: rng.index(3) > 0, ..settings(policy) };
        disk.begin();
        let mut life = Life::start(&disk, settings, history).expect("checked before");
        for _ in 0..rng.index(40) {
            match rng.index(20) {
                0 => drop(life.engine.start_rewrite(life.now)),
                1 => {
                    life.engine.cancel_rewrite();
                }
                2 if rng.index(3) == 0 => {
                    life.turn_off();
                    life.turn_on();
                }
                3..8 => life.poll(SHORT),
                8 => life.poll(LONG * 3),
                // The disk is slow: a sync that is under way does not end.
                9 => life.now += LONG * 2,
                10 if rng.index(4) == 0 => {
                    let policy = POLICIES[rng.index(2)];
                    let timestamps = rng.index(2) == 0;
                    let now = life.engine.aof_settings().clone();
                    life.engine.configure_aof(AofSettings { policy, timestamps, ..now });
                }
                _ => life.step(),
            }
        }
        if rng.index(4) == 0 {
            let _ = life.engine.close_aof(life.now, life::NOW);
        }
        history = life.history;
        let dose = Dose { images: 12, seed: seed ^ images as u64 };
        let chosen = rng.index(dose.images);
        let mut next = None;
        let mut seen = 0;
        images += crash_everywhere(&dose, &disk, |crash, image| {
            // Recovering changes the disk, as a start does: the next life begins after that.
            check(crash, &image, &history, policy);
            if seen <= chosen {
                next = Some(image);
            }
            seen += 1;
        });
        disk = next.expect("there is always one");
    }
    images
}

#[test]
fn lives_follow_one_another() {
    let dose = Dose::of(100);
    let mut images = 0;
    let mut seed = dose.seed;
    while images < dose.images {
        println!("seed {seed}");
        images += live(seed, 4);
        seed += 1;
    }
    println!("{images} images");
}
