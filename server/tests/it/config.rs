//! Configuration: files, options, standard input, CONFIG.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::client::{Server, free_port, program, wait_for};

/// What the program says on standard error and how it ends, given these arguments.
fn refusal(args: &[&str]) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut child = program(dir.path()).args(args).spawn().expect("the program starts");
    let status = wait_for(&mut child);
    (status.code(), fs::read_to_string(dir.path().join("stderr")).expect("what it said"))
}

#[test]
fn config_get_and_set() {
    let server = Server::start(&[]);
    let mut client = server.client();
    assert_eq!(client.call("CONFIG GET timeout hz"), "[hz 10 timeout 0]");
    assert_eq!(
        client.call("CONFIG GET hash-max-*-entries"),
        "[hash-max-listpack-entries 512 hash-max-ziplist-entries 512]"
    );
    assert_eq!(client.call("CONFIG SET hash-max-ziplist-entries 2 timeout 100"), "OK");
    assert_eq!(client.call("HSET h a 1 b 2 c 3"), "3");
    assert_eq!(client.call("OBJECT ENCODING h"), "hashtable");
    assert_eq!(client.call_words(&[b"CONFIG", b"SET", b"save", b"900 1 300 10"]), "OK");
    assert_eq!(client.call("CONFIG GET save"), "[save 900 1 300 10]");
    assert_eq!(
        client.call("CONFIG SET foo bar"),
        "-ERR Unknown option or number of arguments for CONFIG SET - 'foo'"
    );
    assert_eq!(
        client.call("CONFIG SET timeout 1 maxclients x"),
        "-ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument couldn't be parsed into an integer"
    );
    assert_eq!(client.call("CONFIG GET timeout"), "[timeout 100]");
    assert_eq!(
        client.call("CONFIG SET dir /"),
        "-ERR CONFIG SET failed (possibly related to argument 'dir') - can't set protected config"
    );
    assert_eq!(client.call("CONFIG GET appendonly"), "[appendonly no]");
    assert_eq!(client.call("CONFIG GET HZ hz SLAVE-Priority"), "[HZ 10 SLAVE-Priority 100]");
}

#[test]
fn the_port_can_be_changed() {
    let mut server = Server::start(&[]);
    let mut client = server.client();
    let (old, new) = (server.port, free_port());
    let holder = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let taken = holder.local_addr().expect("its address").port();
    assert_eq!(client.call(&format!("CONFIG SET port {new}")), "OK");
    assert_eq!(client.call("CONFIG GET port"), format!("[port {new}]"));
    assert!(std::net::TcpStream::connect(("127.0.0.1", old)).is_err());
    server.port = new;
    assert_eq!(server.client().call("PING"), "PONG");
    assert_eq!(
        client.call(&format!("CONFIG SET timeout 9 port {taken}")),
        "-ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port. Check server logs."
    );
    assert_eq!(client.call("CONFIG GET port timeout"), format!("[port {new} timeout 0]"));
    assert_eq!(server.client().call("PING"), "PONG");
    assert_eq!(
        client.call("CONFIG SET bind 192.0.2.1"),
        "-ERR CONFIG SET failed (possibly related to argument 'bind') - Failed to bind to specified addresses."
    );
    assert_eq!(server.client().call("PING"), "PONG");
}

#[test]
fn file_options_and_stdin_in_this_order() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("a.conf"), "hz 20\ntimeout 5\nsave 900 1\ninclude b.conf\n").expect("written");
    fs::write(dir.path().join("b.conf"), "maxclients 77\n").expect("written");
    let port = free_port();
    let mut command = program(dir.path());
    command.args(["a.conf", "--port", &port.to_string(), "--hz", "30", "-"]).stdin(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(b"hz 25\ntimeout 6").expect("written");
    let mut server = Server { child, dir, port };
    server.wait_for_log("Ready to accept connections tcp");
    let mut client = server.client();
    assert_eq!(
        client.call("CONFIG GET hz timeout save maxclients"),
        "[hz 30 maxclients 77 save 900 1 timeout 6]"
    );
    let file = fs::canonicalize(server.path("a.conf")).expect("its path");
    assert!(client.call("INFO server").contains(&format!("config_file:{}\r\n", file.display())));
}

#[test]
fn what_cannot_be_understood_is_fatal() {
    let (status, said) = refusal(&["--foo", "bar"]);
    assert_eq!(status, Some(1));
    assert!(said.contains("*** FATAL CONFIG FILE ERROR (Redis "), "{said}");
    assert!(said.contains("Reading the configuration file, at line 1\n>>> 'foo \"bar\"'\n"), "{said}");
    assert!(said.contains("Bad directive or wrong number of arguments"), "{said}");
    assert!(refusal(&["--port", "x"]).1.contains("argument couldn't be parsed into an integer"));
    assert!(refusal(&["--port"]).1.contains("wrong number of arguments"));
    assert!(
        refusal(&["/no/such/file"])
            .1
            .contains("can't open config file '/no/such/file': No such file or directory")
    );
    assert!(refusal(&["--dir", "/no/such/folder"]).1.contains("Can't chdir to '/no/such/folder'"));
    assert!(refusal(&["--rename-command", "nope", "x"]).1.contains("No such command in rename-command"));
    assert!(refusal(&["--databases", "2147483647"]).1.contains("no memory for 2147483647 databases"));
    assert!(refusal(&["--cluster-enabled", "yes"]).1.contains("cannot do what 'cluster-enabled' asks for"));
}

#[test]
fn files_of_debian_and_valkey_start() {
    let files = [include_str!("stock-redis-7.0.conf"), include_str!("stock-valkey-9.1.conf")];
    for text in files {
        let dir = tempfile::tempdir().expect("a folder");
        let port = free_port();
        // Where a distribution's paths stand, and what would leave the foreground.
        let text = format!("{text}\nport {port}\ndaemonize no\nlogfile \"\"\npidfile server.pid\ndir .\n");
        let lines: Vec<&str> =
            text.lines().filter(|l| !l.starts_with("logfile /") && !l.starts_with("dir /")).collect();
        fs::write(dir.path().join("stock.conf"), lines.join("\n")).expect("written");
        let child = program(dir.path()).arg("stock.conf").spawn().expect("the program starts");
        let mut server = Server { child, dir, port };
        server.wait_for_log("Ready to accept connections tcp");
        let pid = fs::read_to_string(server.path("server.pid")).expect("a pid file");
        assert_eq!(pid.trim(), server.child.id().to_string());
    }
}

#[test]
fn rewriting_keeps_comments_and_mode() {
    let dir = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let path = dir.path().join("a.conf");
    fs::write(&path, format!("# mine\nport {port}\nhz 20\n\nrename-command ECHO SAY\nsave \"\"\n"))
        .expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("allowed");
    let child = program(dir.path()).arg("a.conf").spawn().expect("the program starts");
    let mut server = Server { child, dir, port };
    server.wait_for_log("Ready to accept connections tcp");
    let mut client = server.client();
    assert_eq!(client.call("CONFIG SET hz 30 maxclients 55 slave-priority 4"), "OK");
    assert_eq!(client.call("CONFIG REWRITE"), "OK");
    let folder = fs::canonicalize(server.dir.path()).expect("its path");
    let expected = format!(
        "# mine\nport {port}\nhz 30\n\nrename-command ECHO SAY\nsave \"\"\n# Generated by CONFIG REWRITE\n\
         maxclients 55\ndir \"{}\"\nlatency-tracking-info-percentiles 50 99 99.9\nreplica-priority 4\n",
        folder.display()
    );
    assert_eq!(fs::read_to_string(server.path("a.conf")).expect("the file"), expected);
    let mode = fs::metadata(server.path("a.conf")).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(fs::read_dir(server.dir.path()).expect("the folder").count(), 3, "no other file is left");
    server.signal(nix::sys::signal::Signal::SIGTERM);
    server.wait();
    let mut command = program(server.dir.path());
    server.child = command.arg("a.conf").spawn().expect("the program starts");
    server.wait_for_log("Ready to accept connections tcp");
    assert!(server.log().contains("'replica-priority' is known, but"), "{}", server.log());
    let mut client = server.client();
    assert_eq!(client.call("CONFIG GET hz maxclients"), "[hz 30 maxclients 55]");
    assert_eq!(client.call("SAY hi"), "hi");

    let plain = Server::start(&[]);
    assert_eq!(plain.client().call("CONFIG REWRITE"), "-ERR The server is running without a config file");
}

#[test]
fn version_and_help() {
    let say = |arg: &str| {
        let dir = tempfile::tempdir().expect("a folder");
        let mut child = program(dir.path()).arg(arg).spawn().expect("the program starts");
        assert!(wait_for(&mut child).success());
        fs::read_to_string(dir.path().join("stdout")).expect("what it said")
    };
    assert!(say("--version").starts_with("Cairn server v="));
    assert_eq!(say("-v"), say("--version"));
    assert!(say("--help").starts_with("Usage: cairn-server"));
    assert_eq!(say("-h"), say("--help"));
}

#[test]
fn unix_sockets_have_their_permissions() {
    let server = Server::start(&["--unixsocket", "s.sock", "--unixsocketperm", "700"]);
    let mode = fs::metadata(server.path("s.sock")).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let mut client = server.unix_client("s.sock");
    assert_eq!(client.call("PING"), "PONG");
    assert!(client.call("CLIENT LIST").contains("flags=U "));
}

#[test]
fn renamed_commands() {
    let server = Server::start(&["--rename-command", "CONFIG", "hidden", "--rename-command", "echo", ""]);
    let mut client = server.client();
    assert_eq!(client.call("HIDDEN GET hz"), "[hz 10]");
    assert!(client.call("CONFIG GET hz").starts_with("-ERR unknown command 'CONFIG'"));
    assert!(client.call("ECHO x").starts_with("-ERR unknown command 'ECHO'"));
}
