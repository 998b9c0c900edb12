//! Log lines as Mattermost writes them to its console: one JSON object a line on stdout.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

pub fn info(message: &str) -> Line {
    line("info", message)
}

pub fn warn(message: &str) -> Line {
    line("warn", message)
}

pub fn error(message: &str) -> Line {
    line("error", message)
}

#[must_use = "a line appears when it is written"]
pub struct Line(Map<String, Value>);

fn line(level: &str, message: &str) -> Line {
    let mut fields = Map::new();
    fields.insert("timestamp".into(), timestamp(now_ms()).into());
    fields.insert("level".into(), level.into());
    fields.insert("msg".into(), message.into());
    Line(fields)
}

impl Line {
    pub fn with(mut self, key: &str, value: &str) -> Line {
        self.0.insert(key.into(), value.into());
        self
    }

    pub fn write(self) {
        // Nobody is left to tell when stdout is gone.
        let _ = writeln!(std::io::stdout().lock(), "{}", Value::Object(self.0));
    }
}

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_millis() as i64)
}

/// `2026-11-22 01:02:03.004 Z`, from milliseconds since 1970 by Howard Hinnant's civil-from-days.
fn timestamp(ms: i64) -> String {
    let days = ms.div_euclid(86_400_000);
    let in_day = ms.rem_euclid(86_400_000);
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    let (h, m, s, ms) = (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60, in_day % 1000);
    format!("{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02}.{ms:03} Z")
}

#[cfg(test)]
mod tests {
    use super::timestamp;

    #[test]
    fn timestamps_are_calendar_dates() {
        assert_eq!(timestamp(0), "1970-01-01 00:00:00.000 Z");
        assert_eq!(timestamp(951_782_400_123), "2000-02-29 00:00:00.123 Z");
        assert_eq!(timestamp(1_795_320_680_957), "2026-11-22 04:11:20.957 Z");
    }
}
