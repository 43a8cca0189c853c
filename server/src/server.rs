//! The server: what lives as long as the process, and the turns of its one thread.
//!
//! A turn waits for something to do, reads the clock once, takes new clients, runs what clients have
//! sent, sends what they could not take before, and does what is due (`cron.rs`).

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cairn_engine::base::time::UnixMs;
use cairn_engine::command::effects::Happened;
use cairn_engine::engine::Engine;
use cairn_engine::persist::storage::DirLock;
use nix::sys::signalfd::SignalFd;

use crate::aof::Aof;
use crate::batch::Batch;
use crate::blocked::Blocked;
use crate::children::Children;
use crate::clients::{Client, Clients, Closing, FIRST_CLIENT_TOKEN};
use crate::command::table::CommandTable;
use crate::config::Config;
use crate::expiry::Expiry;
use crate::folder::Watch;
use crate::gather::Gather;
use crate::loading::{LastLoad, Loading};
use crate::log::Log;
use crate::memory::Memory;
use crate::migrations::Migrations;
use crate::net::listener::Listener;
use crate::net::reactor::{Interest, Reactor, Ready};
use crate::net::stream::Stream;
use crate::observe::Observer;
use crate::oom::OomScore;
use crate::outbox::Outbox;
use crate::pause::Pause;
use crate::pubsub::Pubsub;
use crate::queue::Queue;
use crate::script::Scripting;
use crate::shutdown::Shutdown;
use crate::start::listen_tcp;
use crate::stats::Stats;
use crate::supervise::Supervisor;
use crate::tracking::Tracking;
use crate::watch::Watchers;

/// The poller's number of the descriptor that signals come through.
pub(crate) const SIGNAL_TOKEN: u64 = 0;

/// The poller's number of the descriptor that the log's worker wakes us through.
const WAKE_TOKEN: u64 = 1;

/// The poller's number of the first listening socket.
const FIRST_LISTENER_TOKEN: u64 = 2;

/// Connections taken from one listening socket in one turn.
const MAX_ACCEPTS: usize = 64;

/// A turn takes so long to let clients go. One that has subscribed to much, or watches many keys, takes a
/// while.
const CLOSING_TIME: Duration = Duration::from_millis(2);

const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

const DENIED: &[u8] = b"-DENIED Redis is running in protected mode because protected mode is enabled and no password \
is set for the default user. In this mode connections are only accepted from the loopback interface. To connect from \
other computers, set a password with the directive requirepass, or bind only to addresses that strangers cannot \
reach and set protected-mode to no.\r\n";

/// Everything that the process has.
pub(crate) struct Server {
    /// The configuration.
    pub(crate) config: Config,
    /// Its file, as an absolute path.
    pub(crate) config_file: Option<PathBuf>,
    /// The log.
    pub(crate) log: Log,
    /// Every command.
    pub(crate) commands: CommandTable,
    /// The number of FLUSHALL, after which there is more to be done.
    pub(crate) flushall: Option<u16>,
    /// The number of RESTORE, whose refusals are explained.
    pub(crate) restore: Option<u16>,
    /// The number of EXEC, whose checks are those of its transaction, too.
    pub(crate) exec: Option<u16>,
    /// Every client.
    pub(crate) clients: Clients,
    /// Who watches which keys.
    pub(crate) watchers: Watchers,
    /// Who waits for which keys.
    pub(crate) blocked: Blocked,
    /// The append-only file.
    pub(crate) aof: Aof,
    /// Children that wait for their turn.
    pub(crate) children: Children,
    /// CLIENT PAUSE.
    pub(crate) pause: Option<Pause>,
    /// Clients that wait for its end; some may be gone.
    pub(crate) held: Vec<u32>,
    /// Clients that may go on with what they have sent; some may be gone.
    pub(crate) resumed: Vec<u32>,
    /// Clients that a turn had no time for.
    pub(crate) queue: Queue,
    /// Messages that are not replies to what was just asked.
    pub(crate) outbox: Outbox,
    /// Who listens to what.
    pub(crate) pubsub: Pubsub,
    /// What clients keep copies of.
    pub(crate) tracking: Tracking,
    /// Connections to servers that keys went to.
    pub(crate) migrations: Migrations,
    /// Scripts.
    pub(crate) scripting: Scripting,
    /// Clients that see every command.
    pub(crate) monitors: BTreeSet<u32>,
    /// The client whose command runs.
    pub(crate) caller: Option<u32>,
    /// Room for what the engine tells.
    pub(crate) happened: Happened,
    /// Counters.
    pub(crate) stats: Stats,
    /// What is remembered of commands and events.
    pub(crate) observer: Observer,
    /// True if `requirepass` is set.
    pub(crate) has_password: bool,
    /// The time of this turn.
    pub(crate) now: UnixMs,
    /// The same moment on the clock that never jumps.
    pub(crate) now_instant: Instant,
    /// When this turn had something to do.
    turn_began: Instant,
    /// When the last one was over.
    turn_ended: Instant,
    /// When the process began.
    pub(crate) started: Instant,
    /// Forty digits, other ones in each run.
    pub(crate) run_id: String,
    /// How likely the system is to end the process.
    pub(crate) oom_score: OomScore,
    /// Who wants to know how the process is.
    pub(crate) supervisor: Supervisor,
    /// Ending the process.
    pub(crate) shutdown: Shutdown,
    /// When the periodic steps are due.
    pub(crate) next_cron: Instant,
    /// When the periodic steps ran last.
    pub(crate) last_cron: Instant,
    /// Time since rates were measured.
    pub(crate) since_rates: Duration,
    /// How looking for what has expired goes.
    pub(crate) expiry: Expiry,
    /// What happens when memory is full.
    pub(crate) memory: Memory,
    /// Bytes in use, as of the last periodic step.
    pub(crate) used_memory: u64,
    /// Bytes in use before there was any data.
    pub(crate) startup_memory: u64,
    /// How often the periodic steps have run.
    pub(crate) cron_runs: u64,
    /// The data set; none while it loads.
    pub(crate) engine: Option<Engine>,
    /// The right to the folder, until the engine has it.
    pub(crate) dir_lock: Option<Box<dyn DirLock>>,
    /// Whether `dir` still leads to the folder that the process is in.
    pub(crate) folder: Watch,
    /// How far loading is.
    pub(crate) loading: Option<Loading>,
    /// What loading has brought.
    pub(crate) last_load: LastLoad,
    /// True if expired keys are removed though nobody asks for them (DEBUG SET-ACTIVE-EXPIRE).
    pub(crate) is_expiring: bool,
    /// True while the periodic steps rest (DEBUG PAUSE-CRON).
    pub(crate) is_cron_paused: bool,
    /// Time spent on that.
    pub(crate) expire_time: Duration,
    /// How often it ended for having taken long enough.
    pub(crate) expire_time_caps: u64,
    /// What signals come through.
    pub(crate) signals: SignalFd,
    pub(crate) reactor: Reactor,
    listeners: Vec<Listener>,
    /// Listening sockets that are not watched because there was no descriptor for a connection.
    pub(crate) is_accepting_paused: bool,
    /// True if output counts against limits also if it is little (DEBUG CLIENT-ENFORCE-REPLY-LIST).
    pub(crate) counts_all_output: bool,
    /// Clients with more output than the soft limit allows for long; some may be gone.
    pub(crate) soft_limited: Vec<u32>,
    to_close: Vec<u32>,
    ready: Vec<Ready>,
    readable: Vec<u32>,
    gather: Gather,
    /// How long the next turn is put off.
    pause_before_turn: Option<Duration>,
}

impl Server {
    /// A server that listens on `listeners`.
    pub(crate) fn new(
        config: Config,
        config_file: Option<PathBuf>,
        log: Log,
        commands: CommandTable,
        listeners: Vec<Listener>,
        signals: SignalFd,
        run_id: String,
    ) -> io::Result<Server> {
        let reactor = Reactor::new()?;
        reactor.add(signals.as_fd(), SIGNAL_TOKEN, Interest::Read)?;
        let aof = Aof::new()?;
        reactor.add(aof.wake_fd(), WAKE_TOKEN, Interest::Read)?;
        for (listener, token) in listeners.iter().zip(FIRST_LISTENER_TOKEN..) {
            reactor.add(listener.as_fd(), token, Interest::Read)?;
        }
        let now = Instant::now();
        let stats = Stats::new(commands.entries().len());
        let mut observer = Observer::default();
        observer.configure(&config, commands.entries().len());
        Ok(Server {
            has_password: !config.requirepass.is_empty(),
            config,
            config_file,
            log,
            flushall: commands.number_of("flushall"),
            exec: commands.number_of("exec"),
            restore: commands.number_of("restore"),
            commands,
            clients: Clients::default(),
            watchers: Watchers::default(),
            blocked: Blocked::default(),
            aof,
            children: Children::default(),
            pause: None,
            held: Vec::new(),
            resumed: Vec::new(),
            queue: Queue::default(),
            outbox: Outbox::default(),
            pubsub: Pubsub::default(),
            tracking: Tracking::new(unix_ms().0.unsigned_abs()),
            migrations: Migrations::default(),
            scripting: Scripting::new(),
            monitors: BTreeSet::new(),
            caller: None,
            happened: Happened::default(),
            stats,
            observer,
            now: unix_ms(),
            now_instant: now,
            turn_began: now,
            turn_ended: now,
            started: now,
            run_id,
            oom_score: OomScore::default(),
            supervisor: Supervisor::Nobody,
            shutdown: Shutdown::default(),
            next_cron: now,
            last_cron: now,
            since_rates: Duration::ZERO,
            expiry: Expiry::default(),
            memory: Memory::default(),
            used_memory: 0,
            startup_memory: 0,
            cron_runs: 0,
            engine: None,
            dir_lock: None,
            folder: Watch::default(),
            loading: None,
            last_load: LastLoad::default(),
            is_expiring: true,
            is_cron_paused: false,
            expire_time: Duration::ZERO,
            expire_time_caps: 0,
            signals,
            reactor,
            listeners,
            is_accepting_paused: false,
            counts_all_output: false,
            soft_limited: Vec::new(),
            to_close: Vec::new(),
            ready: Vec::new(),
            readable: Vec::new(),
            gather: Gather::new(now),
            pause_before_turn: None,
        })
    }

    /// Reads the clocks.
    pub(crate) fn read_clock(&mut self) {
        self.now = unix_ms();
        self.now_instant = Instant::now();
    }

    /// Serves until the process is to end. Returns its exit status.
    pub(crate) fn run(&mut self, batch: &mut Batch) -> i32 {
        loop {
            let wait = self.next_wait();
            if let Err(e) = self.turn(batch, wait) {
                self.log.warning(format_args!("Waiting for events failed: {e}"));
                return 1;
            }
            if let Some(status) = self.shutdown.status() {
                self.finish();
                return status;
            }
        }
    }

    /// How long there may be nothing to do.
    fn next_wait(&self) -> Duration {
        let is_behind = !self.resumed.is_empty() || !self.queue.is_empty() || !self.to_close.is_empty();
        if (is_behind && !self.is_ending()) || self.memory.is_evicting {
            return Duration::ZERO;
        }
        let wait = self.next_cron.saturating_duration_since(self.turn_ended);
        let ends = [self.blocked.next_deadline(), self.pause.map(|pause| pause.until)];
        match ends.into_iter().flatten().min() {
            None => wait,
            Some(end) => {
                // A time has passed once the clock is beyond it.
                let left = end.saturating_add_ms(1).ms_after(unix_ms());
                wait.min(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
            }
        }
    }

    /// One turn. Waits at most `wait` for something to do.
    ///
    /// # Errors
    /// The poller is broken.
    pub(crate) fn turn(&mut self, batch: &mut Batch, wait: Duration) -> io::Result<()> {
        // Rounded up, so that a step that is nearly due is not waited for in circles.
        let wait_ms = wait.as_micros().div_ceil(1000);
        let (mut ready, mut readable) = (std::mem::take(&mut self.ready), std::mem::take(&mut self.readable));
        if let Some(pause) = self.pause_before_turn.take()
            && !wait.is_zero()
        {
            match self.aof.held.is_empty() {
                true => self.reactor.pause(pause),
                // What they wait for ends it: their replies do not come later.
                false => self.reactor.pause_unless(self.aof.wake_fd(), pause),
            }
        }
        self.reactor.wait(u16::try_from(wait_ms).unwrap_or(u16::MAX), &mut ready)?;
        self.read_clock();
        self.turn_began = self.now_instant;
        let commands = self.stats.commands;
        for event in ready.drain(..) {
            match event.token {
                SIGNAL_TOKEN => self.take_signals(),
                WAKE_TOKEN => self.aof.take_wake(),
                token if token < FIRST_CLIENT_TOKEN => self.accept(token),
                token => self.client_is_ready(token, event, &mut readable),
            }
        }
        let has_heard_log = self.aof.is_woken && self.hear_log();
        let runs_first = has_heard_log && self.runs_before_held(&readable);
        if has_heard_log && !runs_first {
            self.answer_log();
        }
        self.end_timed_out();
        self.end_pause_in_time();
        batch.serve(self, &readable);
        if runs_first {
            self.answer_log();
        }
        self.follow_signal();
        if !self.is_ending() {
            self.caller = None;
            self.go_on_evicting();
            self.expire_more_keys();
            if self.now_instant >= self.next_cron {
                self.cron();
            }
            self.settle();
            self.tell_broadcasts();
            self.deliver();
        }
        self.evict_clients();
        self.close_marked(CLOSING_TIME);
        let ended = Instant::now();
        self.turn_ended = ended;
        let spent = ended.duration_since(self.turn_began).as_micros();
        let commands = self.stats.commands.saturating_sub(commands);
        self.stats.count_turn(u64::try_from(spent).unwrap_or(u64::MAX), commands);
        self.pause_before_turn = self.gather.after_turn(&readable, self.turn_began, ended);
        readable.clear();
        (self.ready, self.readable) = (ready, readable);
        Ok(())
    }

    /// Looks once, from inside of a script, what others want: new connections are taken, output goes on,
    /// and those that have sent something are added to `readable`, but for `passed_over`.
    ///
    /// # Errors
    /// The poller is broken.
    pub(crate) fn look_for_events(
        &mut self,
        passed_over: Option<u32>,
        readable: &mut Vec<u32>,
    ) -> io::Result<()> {
        let mut ready = Vec::new();
        self.reactor.wait(0, &mut ready)?;
        self.read_clock();
        for event in ready {
            match event.token {
                SIGNAL_TOKEN => self.take_signals(),
                WAKE_TOKEN => self.aof.take_wake(),
                token if token < FIRST_CLIENT_TOKEN => self.accept(token),
                token => self.client_is_ready(token, event, readable),
            }
        }
        readable.retain(|client| Some(*client) != passed_over);
        Ok(())
    }

    fn client_is_ready(&mut self, token: u64, event: Ready, readable: &mut Vec<u32>) {
        let Some(client) = self.clients.by_token(token) else { return };
        if event.writable {
            self.send(client, b"");
        }
        if event.readable {
            readable.push(client);
        }
    }

    /// Takes connections that wait at a listening socket.
    fn accept(&mut self, token: u64) {
        for _ in 0..MAX_ACCEPTS {
            let at = usize::try_from(token - FIRST_LISTENER_TOKEN).unwrap_or(usize::MAX);
            let Some(listener) = self.listeners.get(at) else { return };
            match listener.accept() {
                Ok(stream) => self.welcome(stream),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e)
                    if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => {}
                Err(e) => {
                    // Most likely out of descriptors: the poller would wake us in circles.
                    self.log.warning(format_args!("Error accepting a client connection: {e}"));
                    self.pause_accepting(true);
                    return;
                }
            }
        }
    }

    /// Stops or goes on watching the listening sockets.
    pub(crate) fn pause_accepting(&mut self, pause: bool) {
        if self.is_accepting_paused == pause {
            return;
        }
        self.is_accepting_paused = pause;
        for (listener, token) in self.listeners.iter().zip(FIRST_LISTENER_TOKEN..) {
            if pause {
                self.reactor.remove(listener.as_fd());
            } else if let Err(e) = self.reactor.add(listener.as_fd(), token, Interest::Read) {
                self.log.warning(format_args!("Cannot go on listening: {e}"));
            }
        }
    }

    /// Listens on what `bind` and `port` say now, in place of what they said in `before`. False if that
    /// cannot be; then all is as it was.
    pub(crate) fn listen_anew(&mut self, before: &Config) -> bool {
        for listener in &self.listeners {
            self.reactor.remove(listener.as_fd());
        }
        // The old ones go first: the new may want their addresses.
        self.listeners.retain(|listener| matches!(listener, Listener::Unix(_)));
        let new = listen_tcp(&self.config, &self.log);
        let is_new = new.is_some();
        self.listeners.extend(new.or_else(|| listen_tcp(before, &self.log)).unwrap_or_default());
        self.is_accepting_paused = true;
        self.pause_accepting(false);
        is_new
    }

    fn welcome(&mut self, mut stream: Stream) {
        self.stats.connections += 1;
        if stream.prepare(self.config.tcp_keepalive_seconds).is_err() {
            return;
        }
        let refusal = if self.clients.len() >= usize::try_from(self.config.maxclients).unwrap_or(usize::MAX) {
            Some(TOO_MANY)
        } else if self.config.protected_mode && !self.has_password && !stream.is_local() {
            Some(DENIED)
        } else {
            None
        };
        if let Some(text) = refusal {
            self.stats.rejected_connections += 1;
            // Whether it arrives or not, the connection ends here.
            let _ = stream.write(text);
            stream.shutdown();
            return;
        }
        let id = self.clients.new_id();
        let path = String::from_utf8_lossy(&self.config.unixsocket);
        let client = Client::new(stream, id, !self.has_password, &path, self.now_instant);
        self.log.verbose(format_args!("Accepted {}", client.addr));
        let (index, token) = self.clients.insert(client);
        let Some(client) = self.clients.get(index) else { return };
        if let Err(e) = self.reactor.add(client.stream.as_fd(), token, Interest::Read) {
            self.log.warning(format_args!("Cannot watch a client's socket: {e}"));
            self.clients.remove(index);
        }
    }

    /// Sends what is in the outbox, where no replies wait to be sent before it.
    pub(crate) fn deliver(&mut self) {
        let is_safe = !self.aof.is_on || self.flush_log();
        if self.outbox.is_empty() {
            return;
        }
        if !is_safe {
            self.deliver_when_safe();
            return;
        }
        let mut outbox = std::mem::take(&mut self.outbox);
        for (client, bytes) in outbox.iter() {
            self.send(client, bytes);
        }
        outbox.clear();
        self.outbox = outbox;
    }

    /// Has a client looked at when the turn ends: to be called when it was marked to be closed.
    pub(crate) fn mark_closing(&mut self, index: u32) {
        self.to_close.push(index);
        // Nobody else has to go for the memory of one who goes.
        self.count_client(index);
    }

    /// Has a client served in the next turn.
    pub(crate) fn put_in_queue(&mut self, index: u32) {
        if let Some(client) = self.clients.get_mut(index) {
            self.queue.push(index, &mut client.weight);
        }
    }

    /// Disconnects the clients that are to go and have got what they were to get. Begins with none after
    /// `time`: those are left for the next turn.
    pub(crate) fn close_marked(&mut self, time: Duration) {
        if self.to_close.is_empty() {
            return;
        }
        let begun = Instant::now();
        while begun.elapsed() <= time
            && let Some(index) = self.to_close.pop()
        {
            let Some(client) = self.clients.get(index) else { continue };
            let is_due = match client.closing {
                Closing::No => false,
                Closing::AfterReplies => client.connection.is_done(),
                Closing::Now => true,
            };
            if !is_due {
                continue;
            }
            self.forget_client(index);
            if let Some(client) = self.clients.remove(index) {
                // In this order: a fork child may hold a copy of the descriptor.
                self.reactor.remove(client.stream.as_fd());
                client.stream.shutdown();
            }
        }
    }

    /// Disconnects those that are to go, but for a client whose command runs.
    pub(crate) fn close_marked_but(&mut self, client: Option<u32>) {
        let stays = client.filter(|client| self.to_close.contains(client));
        self.to_close.retain(|index| Some(*index) != client);
        self.close_marked(CLOSING_TIME);
        self.to_close.extend(stays);
    }

    /// Sends what still waits for clients, as far as it goes without waiting, and closes everything.
    pub(crate) fn close_all(&mut self) {
        // First, so that who is disconnected and comes again finds nobody.
        for listener in self.listeners.drain(..) {
            self.reactor.remove(listener.as_fd());
        }
        let all: Vec<u32> = self.clients.iter().map(|(index, _)| index).collect();
        for index in all {
            self.send(index, b"");
            if let Some(client) = self.clients.get_mut(index) {
                client.close(Closing::Now);
                self.to_close.push(index);
            }
        }
        self.close_marked(Duration::MAX);
        if !self.config.unixsocket.is_empty() {
            let path = std::ffi::OsStr::from_bytes(&self.config.unixsocket);
            if std::fs::remove_file(path).is_ok() {
                self.log.notice(format_args!("Removing the unix socket file."));
            }
        }
    }
}

fn unix_ms() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
