//! The client's side of RESP2: commands out, replies counted or read. As lean as it can be, because
//! the client competes with the server for the machine.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Bytes asked of a socket at a time.
const READ_BYTES: usize = 64 << 10;
/// A server that answers nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(600);
/// Of an error reply so much is kept to be shown.
const SHOWN_ERROR_BYTES: usize = 120;

/// Appends a command.
pub fn push_command(out: &mut Vec<u8>, args: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

/// Where a reply's next byte belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    /// The first byte of a line: its type.
    Type,
    /// A line that only has to end: an integer, a simple string, an error.
    Line { is_error: bool },
    /// The digits after `$` or `*`.
    Length { of_bulk: bool },
    /// The bytes of a bulk string and its line end.
    Bulk { left: u64 },
}

/// Counts whole replies in a stream of bytes, without keeping them.
#[derive(Debug)]
pub struct ReplyCounter {
    inside: Inside,
    number: u64,
    is_negative: bool,
    /// Elements that the replies begun still lack; the reply itself counts as one.
    open: u64,
    replies: u64,
    errors: u64,
    first_error: Vec<u8>,
}

impl Default for ReplyCounter {
    fn default() -> Self {
        Self {
            inside: Inside::Type,
            number: 0,
            is_negative: false,
            open: 0,
            replies: 0,
            errors: 0,
            first_error: Vec::new(),
        }
    }
}

impl ReplyCounter {
    /// Replies that were whole so far.
    #[must_use]
    pub fn replies(&self) -> u64 {
        self.replies
    }

    /// How many of them were errors.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// The text of the first error.
    #[must_use]
    pub fn first_error(&self) -> String {
        String::from_utf8_lossy(&self.first_error).trim_end().to_owned()
    }

    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// `InvalidData` for a byte that begins no reply.
    pub fn feed(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while let Some((&first, rest)) = bytes.split_first() {
            match self.inside {
                Inside::Bulk { left } => {
                    let taken = left.min(bytes.len() as u64);
                    bytes = &bytes[taken as usize..];
                    self.inside = Inside::Bulk { left: left - taken };
                    if left == taken {
                        self.element_ended(0);
                    }
                    continue;
                }
                Inside::Type => self.begin(first)?,
                Inside::Line { is_error } => {
                    if first == b'\n' {
                        self.element_ended(0);
                    } else if is_error && self.errors == 1 && self.first_error.len() < SHOWN_ERROR_BYTES {
                        self.first_error.push(first);
                    }
                }
                Inside::Length { of_bulk } => match first {
                    b'-' => self.is_negative = true,
                    b'0'..=b'9' => {
                        self.number = self.number.saturating_mul(10).saturating_add(u64::from(first - b'0'));
                    }
                    b'\n' => self.length_ended(of_bulk),
                    _ => {}
                },
            }
            bytes = rest;
        }
        Ok(())
    }

    fn begin(&mut self, kind: u8) -> io::Result<()> {
        if self.open == 0 {
            self.open = 1;
        }
        (self.number, self.is_negative) = (0, false);
        self.inside = match kind {
            b'+' | b':' | b'_' | b'#' | b',' => Inside::Line { is_error: false },
            b'-' => {
                self.errors += 1;
                Inside::Line { is_error: true }
            }
            b'$' => Inside::Length { of_bulk: true },
            b'*' | b'~' | b'>' => Inside::Length { of_bulk: false },
            other => {
                let what = format!("a reply cannot begin with {:?}", char::from(other));
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        };
        Ok(())
    }

    fn length_ended(&mut self, of_bulk: bool) {
        if of_bulk && !self.is_negative {
            self.inside = Inside::Bulk { left: self.number + 2 };
        } else {
            self.element_ended(if of_bulk || self.is_negative { 0 } else { self.number });
        }
    }

    /// An element is whole, and had so many elements that follow.
    fn element_ended(&mut self, children: u64) {
        self.open = self.open - 1 + children;
        self.inside = Inside::Type;
        self.replies += u64::from(self.open == 0);
    }
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    room: Vec<u8>,
    counter: ReplyCounter,
}

impl Client {
    /// Connects to `address`, `host:port`.
    ///
    /// # Errors
    /// What the socket said.
    pub fn connect(address: &str) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Client { stream, room: vec![0; READ_BYTES], counter: ReplyCounter::default() })
    }

    /// Sends bytes that are whole commands.
    ///
    /// # Errors
    /// What the socket said.
    #[inline]
    pub fn send(&mut self, commands: &[u8]) -> io::Result<()> {
        self.stream.write_all(commands)
    }

    /// Waits until `replies` more replies have come.
    ///
    /// # Errors
    /// What the socket said, `UnexpectedEof`, `InvalidData`, or `Other` with the text of an error reply.
    #[inline]
    pub fn wait(&mut self, replies: u64) -> io::Result<()> {
        let goal = self.counter.replies + replies;
        while self.counter.replies < goal {
            let n = read_some(&mut self.stream, &mut self.room)?;
            self.counter.feed(&self.room[..n])?;
        }
        match self.counter.errors {
            0 => Ok(()),
            _ => Err(io::Error::other(self.counter.first_error())),
        }
    }

    /// Runs one command and answers its reply as it came, less type byte and line ends of simple ones.
    ///
    /// # Errors
    /// As `wait`; an error reply is one.
    pub fn call(&mut self, args: &[&str]) -> io::Result<String> {
        let mut request = Vec::new();
        push_command(&mut request, &args.iter().map(|arg| arg.as_bytes()).collect::<Vec<_>>());
        self.send(&request)?;
        let mut counter = ReplyCounter::default();
        let mut reply = Vec::new();
        while counter.replies == 0 {
            let n = read_some(&mut self.stream, &mut self.room)?;
            counter.feed(&self.room[..n])?;
            reply.extend_from_slice(&self.room[..n]);
        }
        if counter.errors > 0 {
            return Err(io::Error::other(counter.first_error()));
        }
        let text = String::from_utf8_lossy(&reply).into_owned();
        let body = match text.strip_prefix('$') {
            Some(bulk) => bulk.split_once("\r\n").map_or("", |(_, body)| body),
            None => text.get(1..).unwrap_or(""),
        };
        Ok(body.trim_end_matches("\r\n").to_owned())
    }

    /// Sends all of `commands` while reading the replies; answers how many there were, and how many
    /// of them were errors with the text of the first.
    ///
    /// # Errors
    /// What the source or the socket said.
    pub fn pipe(&mut self, commands: &mut (dyn Read + Send)) -> io::Result<(u64, u64, String)> {
        let mut token = [0u8; 20];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut token)?;
        let token = token.map(|byte| b'a' + byte % 26);
        let mut last = Vec::new();
        push_command(&mut last, &[b"ECHO", &token]);
        let mut out = self.stream.try_clone()?;
        let (stream, room) = (&mut self.stream, &mut self.room);
        std::thread::scope(|scope| {
            let writer = scope.spawn(move || -> io::Result<()> {
                io::copy(&mut io::BufReader::with_capacity(READ_BYTES, commands), &mut out)?;
                out.write_all(&last)
            });
            let mut counter = ReplyCounter::default();
            let mut tail: Vec<u8> = Vec::new();
            loop {
                let n = read_some(stream, room)?;
                counter.feed(&room[..n])?;
                tail.extend_from_slice(&room[..n]);
                tail.drain(..tail.len().saturating_sub(token.len() + 2));
                if tail.starts_with(&token) {
                    break;
                }
            }
            writer.join().map_err(|_| io::Error::other("the writing thread panicked"))??;
            Ok((counter.replies - 1, counter.errors, counter.first_error()))
        })
    }
}

fn read_some(stream: &mut TcpStream, room: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(room) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ReplyCounter;

    fn count(stream: &[u8]) -> (u64, u64) {
        let mut whole = ReplyCounter::default();
        whole.feed(stream).expect("sound replies");
        let mut bytewise = ReplyCounter::default();
        stream.iter().for_each(|byte| bytewise.feed(&[*byte]).expect("sound replies"));
        assert_eq!((whole.replies(), whole.errors()), (bytewise.replies(), bytewise.errors()));
        (whole.replies(), whole.errors())
    }

    #[test]
    fn replies_are_counted_however_they_are_cut() {
        assert_eq!(count(b"+OK\r\n:12\r\n$-1\r\n$0\r\n\r\n$3\r\n\r\n+\r\n"), (5, 0));
        assert_eq!(count(b"*3\r\n$1\r\na\r\n*0\r\n*-1\r\n+x\r\n"), (2, 0));
        assert_eq!(count(b"*2\r\n*1\r\n:1\r\n"), (0, 0));
        assert_eq!(count(b"-ERR no\r\n*1\r\n-ERR yes\r\n"), (2, 2));
    }

    #[test]
    fn the_first_error_is_told() {
        let mut counter = ReplyCounter::default();
        counter.feed(b"+OK\r\n-ERR one\r\n-ERR two\r\n").expect("sound replies");
        assert_eq!(counter.first_error(), "ERR one");
        assert!(counter.feed(b"?").is_err());
    }
}
