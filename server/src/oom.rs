//! How likely the system is to end the process when it has no memory left: `oom-score-adj`.
//!
//! The kernel reads the number from a file of each process. Behaviour: valkey src/server.c
//! `setOOMScoreAdj`.

use std::fs;
use std::io;

use crate::config::Config;
use crate::config::kind::OomHow;

/// Where the kernel looks, for this process or for a child of it.
fn path(pid: i32) -> String {
    match pid {
        0 => "/proc/self/oom_score_adj".to_owned(),
        pid => format!("/proc/{pid}/oom_score_adj"),
    }
}

/// Places among the values of `oom-score-adj-values`.
const PRIMARY: usize = 0;
const CHILD: usize = 2;

/// What the process had before it was changed.
#[derive(Debug, Default)]
pub(crate) struct OomScore {
    before: Option<i64>,
}

impl OomScore {
    /// Makes this process follow the configuration.
    ///
    /// # Errors
    /// The system does not let it.
    pub(crate) fn apply(&mut self, config: &Config) -> io::Result<()> {
        let Some(before) = self.before else {
            if config.oom_score_adj == OomHow::No {
                return Ok(());
            }
            let text = fs::read_to_string(path(0))?;
            self.before = Some(text.trim().parse().map_err(io::Error::other)?);
            return self.apply(config);
        };
        match config.oom_score_adj {
            OomHow::No => {
                write(0, before)?;
                self.before = None;
                Ok(())
            }
            how => write(0, score(how, before, config.oom_score_adj_values[PRIMARY])),
        }
    }

    /// Makes a child of this process follow the configuration.
    ///
    /// # Errors
    /// The system does not let it.
    pub(crate) fn apply_to_child(&self, config: &Config, pid: i32) -> io::Result<()> {
        match self.before {
            Some(before) if config.oom_score_adj != OomHow::No => {
                write(pid, score(config.oom_score_adj, before, config.oom_score_adj_values[CHILD]))
            }
            _ => Ok(()),
        }
    }
}

fn score(how: OomHow, before: i64, value: i64) -> i64 {
    const GREATEST: i64 = 1000;
    let base = if how == OomHow::Relative { before } else { 0 };
    (base + value).clamp(-GREATEST, GREATEST)
}

fn write(pid: i32, score: i64) -> io::Result<()> {
    fs::write(path(pid), format!("{score}\n"))
}

#[cfg(test)]
mod tests {
    use super::{OomHow, score};

    #[test]
    fn scores_are_relative_or_not() {
        assert_eq!(score(OomHow::Relative, 100, 200), 300);
        assert_eq!(score(OomHow::Absolute, 100, 200), 200);
        assert_eq!(score(OomHow::Relative, 900, 200), 1000);
        assert_eq!(score(OomHow::Absolute, 0, -2000), -1000);
    }
}
