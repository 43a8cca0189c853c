//! Completions and manual pages: one for everything that there is.

use crate::support::rdb_tools;

/// The subcommands that the help names.
fn subcommands() -> Vec<String> {
    let help = rdb_tools(["--help"]);
    let text = String::from_utf8(help.stdout).expect("text");
    let list = text.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a list");
    let names = list.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    names.filter_map(|line| line.split(' ').next()).filter(|name| *name != "help").map(String::from).collect()
}

#[test]
fn every_subcommand_has_a_page_and_completions() {
    let names = subcommands();
    assert!(names.contains(&"check".to_owned()) && names.contains(&"man".to_owned()), "{names:?}");
    let folder = tempfile::tempdir().expect("a folder");
    let output = rdb_tools([std::ffi::OsStr::new("man"), "--dir".as_ref(), folder.path().as_os_str()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in &names {
        let page = std::fs::read(folder.path().join(format!("rdb-tools-{name}.1"))).expect(name);
        let printed = rdb_tools(["man", name]);
        assert_eq!((printed.status.code(), printed.stdout), (Some(0), page), "{name}");
    }
    let all = std::fs::read(folder.path().join("rdb-tools.1")).expect("the page of the tool");
    assert_eq!(rdb_tools(["man"]).stdout, all);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = String::from_utf8(rdb_tools(["completions", shell]).stdout).expect("text");
        assert!(names.iter().all(|name| text.contains(name.as_str())), "{shell}");
        assert!(text.contains("no-mmap"), "{shell}");
    }
}

#[test]
fn pages_of_nothing_are_trouble() {
    assert_eq!(rdb_tools(["man", "no-such"]).status.code(), Some(2));
    assert_eq!(rdb_tools(["man", "--dir", "/no/such/folder"]).status.code(), Some(2));
    assert_eq!(rdb_tools(["completions", "no-such"]).status.code(), Some(2));
}
