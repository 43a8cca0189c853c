//! What the command line asks for: a configuration, or one of the few things done without one.
//!
//! `cairn-server [file] [-] [--directive value ...]`: options become lines of configuration behind
//! the file and standard input. Behaviour: valkey src/server.c `main`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use cairn_engine::base::words;

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Invocation {
    /// Print the version.
    Version,
    /// Print how to call the program.
    Help,
    /// Run the server.
    Serve {
        /// The configuration file.
        file: Option<OsString>,
        /// True to read configuration from standard input.
        from_stdin: bool,
        /// Lines of configuration made of the options.
        options: Vec<u8>,
    },
}

/// Reads the arguments behind the program's name.
pub(crate) fn parse(args: &[OsString]) -> Invocation {
    match args.first().map(|arg| arg.as_bytes()) {
        Some(b"-v" | b"--version") => return Invocation::Version,
        Some(b"-h" | b"--help") => return Invocation::Help,
        _ => {}
    }
    let file = args.first().filter(|arg| !arg.as_bytes().starts_with(b"-")).cloned();
    let skip = usize::from(file.is_some());
    let (mut options, mut from_stdin) = (Vec::new(), false);
    // True once the last option has a value: only then does `--word` begin another.
    let mut has_value = true;
    for (i, arg) in args.iter().enumerate().skip(skip) {
        let arg = arg.as_bytes();
        let next = args.get(i + 1).map(|arg| arg.as_bytes());
        match arg {
            b"-" if i == 0 || next.is_none() => from_stdin = true,
            [b'-', b'-', name @ ..] if has_value => {
                if !options.is_empty() {
                    options.push(b'\n');
                }
                options.extend_from_slice(name);
                options.push(b' ');
                let is_name_only = words::split(arg).is_some_and(|words| words.len() == 1);
                has_value = !is_name_only;
                // `--save` with nothing behind it means `--save ""`.
                if is_name_only && arg.eq_ignore_ascii_case(b"--save") {
                    match next {
                        None => options.extend_from_slice(b"\"\""),
                        Some(next) if next.starts_with(b"--") => {
                            options.extend_from_slice(b"\"\"");
                            has_value = true;
                        }
                        Some(_) => {}
                    }
                }
            }
            _ => {
                words::push_quoted(&mut options, arg);
                options.push(b' ');
                has_value = true;
            }
        }
    }
    Invocation::Serve { file, from_stdin, options }
}

/// The answer to `--help`.
pub(crate) const HELP: &str = "\
Usage: cairn-server [/path/to/redis.conf] [options] [-]
       cairn-server - (read config from stdin)
       cairn-server -v or --version
       cairn-server -h or --help

Examples:
       cairn-server (run the server with default conf)
       echo 'maxclients 128' | cairn-server -
       cairn-server /etc/redis/6379.conf
       cairn-server --port 7777
       cairn-server --port 7777 --dir /data --save ''
       cairn-server /etc/myredis.conf --loglevel verbose -
";

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(args: &[&str]) -> (Option<String>, bool, String) {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        match parse(&args) {
            Invocation::Serve { file, from_stdin, options } => {
                let file = file.map(|file| file.to_string_lossy().into_owned());
                (file, from_stdin, String::from_utf8_lossy(&options).into_owned())
            }
            other => panic!("{other:?}"),
        }
    }

    fn options(args: &[&str]) -> String {
        serve(args).2
    }

    #[test]
    fn files_stdin_and_options() {
        assert_eq!(serve(&[]), (None, false, String::new()));
        assert_eq!(serve(&["a.conf", "-"]), (Some("a.conf".into()), true, String::new()));
        assert_eq!(serve(&["-", "--port", "1"]), (None, true, "port \"1\" ".into()));
        assert_eq!(parse(&["-v".into()]), Invocation::Version);
        assert_eq!(parse(&["--help".into()]), Invocation::Help);
    }

    #[test]
    fn options_become_lines() {
        assert_eq!(options(&["--port", "1", "--dir", "/a b"]), "port \"1\" \ndir \"/a b\" ");
        assert_eq!(options(&["--port 1", "--hz 5"]), "port 1 \nhz 5 ");
        assert_eq!(options(&["--bind", "127.0.0.1", "::1"]), "bind \"127.0.0.1\" \"::1\" ");
        assert_eq!(options(&["--requirepass", "--x"]), "requirepass \"--x\" ");
    }

    #[test]
    fn save_may_be_empty() {
        assert_eq!(options(&["--save", ""]), "save \"\" ");
        assert_eq!(options(&["--save"]), "save \"\"");
        assert_eq!(options(&["--save", "--hz", "5"]), "save \"\"\nhz \"5\" ");
        assert_eq!(options(&["--save", "900", "1", "--hz", "5"]), "save \"900\" \"1\" \nhz \"5\" ");
    }
}
