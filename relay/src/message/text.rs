//! What comes from outside, made harmless: one line, bounded, no mention, no link of its own, no formatting.

/// Stands between an `@` and a name: invisible, and ends what Mattermost takes for a mention.
const ZERO_WIDTH_SPACE: char = '\u{200b}';

/// For places that show text as it is.
pub fn plain(text: &str, most: usize) -> String {
    clean(text, most, "")
}

/// For places that show Markdown. Mattermost's parser takes a backslash before these signs, and before no other.
pub fn markdown(text: &str, most: usize) -> String {
    clean(text, most, "\\`*{}[]()#+-!_>~|")
}

fn clean(text: &str, most: usize, escaped: &str) -> String {
    let mut line = String::with_capacity(text.len().min(4 * most));
    let words = text.split(|it: char| it.is_whitespace() || it.is_control()).filter(|it| !it.is_empty());
    let chars = words.enumerate().flat_map(|(at, word)| (at > 0).then_some(' ').into_iter().chain(word.chars()));
    let mut chars = chars.filter(|it| !invisible(*it)).peekable();
    let mut length = 0;
    while let Some(char) = chars.next() {
        if length == most {
            // What follows is cut off, and shown to be.
            line.push('…');
            break;
        }
        length += 1;
        if escaped.contains(char) {
            line.push('\\');
        }
        line.push(char);
        if breaks_out(char, chars.peek().copied(), &line) {
            line.push(ZERO_WIDTH_SPACE);
        }
    }
    line
}

/// Whether `char` could begin something together with what follows: a mention (`@all`), one in Slack's notation that
/// Mattermost translates (`<!channel>`, `<url|text>`), an HTML entity that is decoded later (`&#64;`), or a link.
fn breaks_out(char: char, next: Option<char>, line: &str) -> bool {
    match char {
        '@' | '<' => true,
        '&' => next.is_some_and(|it| it == '#' || it.is_alphanumeric()),
        ':' => next == Some('/'),
        '.' => line.len() >= 4 && line.as_bytes()[line.len() - 4..].eq_ignore_ascii_case(b"www."),
        _ => false,
    }
}

/// Signs that turn the direction of text around or have no width: names look like others with them, and a mention could
/// hide behind them.
fn invisible(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{061c}')
}

/// The URL, if it is one of http or https without credentials. What could end a Markdown link or look like a mention is
/// percent-encoded, which every server reads as the same.
pub fn http_url(url: &str) -> Option<String> {
    let lower = url.get(..8)?.to_ascii_lowercase();
    let rest = if lower == "https://" { &url[8..] } else { url.get(7..).filter(|_| lower.starts_with("http://"))? };
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = |it: char| it.is_ascii_alphanumeric() || ".-_:[]".contains(it);
    let visible = url.bytes().all(|it| it.is_ascii_graphic());
    if authority.is_empty() || !authority.chars().all(host) || !visible {
        return None;
    }
    let mut encoded = String::with_capacity(url.len());
    for char in url.chars() {
        match char {
            '(' | ')' | '<' | '>' | '"' | '\'' | '\\' | '`' | '@' | '*' | '|' | '{' | '}' | '^' => {
                encoded.push_str(&format!("%{:02X}", u32::from(char)));
            }
            _ => encoded.push(char),
        }
    }
    // Longer than what browsers and proxies take for granted is no link to a dashboard.
    (encoded.len() <= 1000).then_some(encoded)
}

/// Seconds since 1970 of `2026-11-22T04:35:56+0000`. The offset has no colon, so it is not RFC 3339.
pub fn date(text: &str) -> Option<i64> {
    let at = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        if digits.bytes().all(|it| it.is_ascii_digit()) { digits.parse().ok() } else { None }
    };
    let signs: Vec<u8> = [4, 7, 10, 13, 16].iter().filter_map(|&it| text.as_bytes().get(it).copied()).collect();
    let sign = match text.as_bytes().get(19)? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (year, month, day) = (at(0, 4)?, at(5, 7)?, at(8, 10)?);
    let (hour, minute, second) = (at(11, 13)?, at(14, 16)?, at(17, 19)?);
    let offset = sign * (at(20, 22)? * 3600 + at(22, 24)? * 60);
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if signs != b"--T::" || text.len() != 24 || !in_range {
        return None;
    }
    // Days since 1970 in the Gregorian calendar; the year starts in March, so that the leap day is its last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day;
    Some((days - 719_469) * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_breaks_out() {
        let cases = [
            ("Demo", "Demo"),
            ("a\r\n# b\t c", "a \\# b c"),
            ("@channel", "@\u{200b}channel"),
            ("@\u{200b}\u{202e}all", "@\u{200b}all"),
            ("x](http://evil)", "x\\]\\(http:\u{200b}//evil\\)"),
            ("<!here>", "<\u{200b}\\!here\\>"),
            ("&#64;all, R&D, a & b", "&\u{200b}\\#64;all, R&\u{200b}D, a & b"),
            ("www.evil ~town-square", "www.\u{200b}evil \\~town\\-square"),
            ("org.example:app_1", "org.example:app\\_1"),
        ];
        for (text, expected) in cases {
            assert_eq!(markdown(text, 100), expected);
        }
        assert_eq!(plain("@all [x](y)", 100), "@\u{200b}all [x](y)");
        assert_eq!(plain("abcdef", 3), "abc…");
        assert_eq!(plain("abc", 3), "abc");
    }

    #[test]
    fn only_links_to_http_servers_are_links() {
        let good = "https://sonar.example:9000/dashboard?id=demo&branch=a%2Fb#x";
        assert_eq!(http_url(good).as_deref(), Some(good));
        assert_eq!(http_url("HTTP://[::1]/").as_deref(), Some("HTTP://[::1]/"));
        assert_eq!(http_url("http://a/(b)@all").as_deref(), Some("http://a/%28b%29%40all"));
        let long = format!("http://a/{}", "x".repeat(1000));
        for wrong in [
            "",
            "http",
            "http://",
            "https:///x",
            "javascript:alert(1)",
            "ftp://a/",
            "http://a b/",
            "http://é/",
            "http://user:password@a/",
            "http://a\n/",
            &long,
            "éééééééé",
        ] {
            assert_eq!(http_url(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn dates_are_read() {
        assert_eq!(date("1970-01-01T00:00:00+0000"), Some(0));
        assert_eq!(date("2026-11-22T04:35:56+0000"), Some(1_795_322_156));
        assert_eq!(date("2026-11-22T05:35:56+0100"), date("2026-11-22T04:35:56+0000"));
        for wrong in [
            "",
            "2026-11-22T04:35:56Z",
            "2026-13-22T04:35:56+0000",
            "2026-11-22 04:35:56+0000",
            "é026-11-22T04:35:56+000",
        ] {
            assert_eq!(date(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_date_is_the_one_that_time_says(seconds in -2_000_000_000_i64..50_000_000_000) {
            let moment = time::OffsetDateTime::from_unix_timestamp(seconds).expect("in range");
            let (date_, clock) = (moment.date(), moment.time());
            let text = format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}+0000",
                date_.year(), u8::from(date_.month()), date_.day(), clock.hour(), clock.minute(), clock.second()
            );
            prop_assert_eq!(date(&text), Some(seconds));
        }

        #[test]
        fn nothing_panics(text in "\\PC*", most in 0_usize..50) {
            date(&text);
            http_url(&text);
            markdown(&text, most);
        }
    }
}
