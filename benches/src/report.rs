//! Figures of several servers side by side, as a table for people and JSON for programs.

use std::fmt::Write;

use serde_json::{Map, Value, json};

/// All values that a figure of a server had, one a round.
#[derive(Debug, Clone, Default, PartialEq)]
struct Series(Vec<f64>);

impl Series {
    fn median(&self) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => None,
            n if n % 2 == 1 => Some(sorted[middle]),
            _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
        }
    }

    fn least(&self) -> Option<f64> {
        self.0.iter().copied().min_by(f64::total_cmp)
    }
}

/// Figures by row and server.
#[derive(Debug)]
pub struct Report {
    servers: Vec<String>,
    rows: Vec<(String, Vec<Series>)>,
}

impl Report {
    /// An empty report on these servers.
    #[must_use]
    pub fn new(servers: Vec<String>) -> Report {
        Report { servers, rows: Vec::new() }
    }

    /// Adds a value of server `server` (by index) to a row, which is made if it is new.
    pub fn add(&mut self, row: &str, server: usize, value: f64) {
        let index = match self.rows.iter().position(|(name, _)| name == row) {
            Some(index) => index,
            None => {
                self.rows.push((row.to_owned(), vec![Series::default(); self.servers.len()]));
                self.rows.len() - 1
            }
        };
        self.rows[index].1[server].0.push(value);
    }

    /// Median and least value of each row and server, and the medians of the others as multiples of
    /// the first server's.
    #[must_use]
    pub fn table(&self) -> String {
        let width =
            self.rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max("median (least)".len());
        let mut out = format!("{:width$}", "median (least)");
        for name in &self.servers {
            let _ = write!(out, " {name:>23}");
        }
        let _ = writeln!(out, "  x of {}", self.servers.first().map_or("", String::as_str));
        for (name, series) in &self.rows {
            let _ = write!(out, "{name:width$}");
            for one in series {
                let cell = match (one.median(), one.least()) {
                    (Some(median), Some(least)) => format!("{} ({})", short(median), short(least)),
                    _ => "-".to_owned(),
                };
                let _ = write!(out, " {cell:>23}");
            }
            let first = series.first().and_then(Series::median);
            for one in series.iter().skip(1) {
                let ratio = match (one.median(), first) {
                    (Some(own), Some(first)) if first != 0.0 => format!("{:.2}", own / first),
                    _ => "-".to_owned(),
                };
                let _ = write!(out, "  {ratio}");
            }
            out.push('\n');
        }
        out
    }

    /// `{row: {server: {median, least, values}}}`.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut rows = Map::new();
        for (name, series) in &self.rows {
            let mut row = Map::new();
            for (server, one) in self.servers.iter().zip(series) {
                row.insert(
                    server.clone(),
                    json!({"median": one.median(), "least": one.least(), "values": one.0}),
                );
            }
            rows.insert(name.clone(), Value::Object(row));
        }
        Value::Object(rows)
    }
}

/// Four significant digits or whole numbers.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 100.0 => format!("{value:.1}"),
        v if v >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::Report;

    #[test]
    fn medians_and_ratios_are_shown() {
        let mut report = Report::new(vec!["a".into(), "b".into()]);
        for value in [3.0, 1.0, 2.0] {
            report.add("save_s", 0, value);
        }
        report.add("save_s", 1, 8.0);
        report.add("only_b", 1, 1.0);
        let table = report.table();
        let line = table.lines().find(|line| line.starts_with("save_s")).expect("the row is there");
        assert!(line.contains("2.000 (1.000)") && line.ends_with("4.00"), "{line}");
        assert_eq!(report.json()["save_s"]["a"]["median"], 2.0);
        assert!(report.json()["only_b"]["a"]["median"].is_null());
    }
}
