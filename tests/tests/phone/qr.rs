//! The QR code, read back from the very text that is printed.

use xtask::phone::qr;

/// What a camera would read: each half block is two modules, and a module is a square of a few pixels.
pub fn decode(text: &str) -> String {
    const SCALE: usize = 4;
    let rows: Vec<Vec<bool>> = text.lines().flat_map(modules).collect();
    let width = rows[0].len();
    assert!(rows.iter().all(|row| row.len() == width), "every line has the same width");
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width * SCALE, rows.len() * SCALE, |x, y| {
        if rows[y / SCALE][x / SCALE] { 0 } else { 255 }
    });
    let grids = image.detect_grids();
    assert_eq!(grids.len(), 1, "there is one code in it:\n{text}");
    grids[0].decode().expect("it can be read").1
}

/// The two rows of modules in a line, without the colours.
fn modules(line: &str) -> [Vec<bool>; 2] {
    let plain = line
        .split('\x1b')
        .map(|part| part.split_once('m').filter(|_| part.starts_with('[')).map_or(part, |(_, text)| text));
    let mut rows = [Vec::new(), Vec::new()];
    for block in plain.collect::<String>().chars() {
        let (upper, lower) = match block {
            '█' => (true, true),
            '▀' => (true, false),
            '▄' => (false, true),
            ' ' => (false, false),
            other => panic!("{other:?} is no block"),
        };
        rows[0].push(upper);
        rows[1].push(lower);
    }
    rows
}

#[test]
fn the_code_can_be_read_back_and_fits_a_terminal() {
    for url in ["http://10.0.0.1:8066/", "http://192.168.1.10:8066/", "http://255.255.255.255:65535/"] {
        for colours in [false, true] {
            let text = qr::text(url, colours).expect("it fits");
            assert_eq!(decode(&text), url);
            assert!(text.lines().count() <= 20, "{} lines", text.lines().count());
            let quiet = text.lines().take(2).chain(text.lines().skip(text.lines().count() - 2));
            assert!(quiet.flat_map(modules).flatten().all(|dark| !dark), "a camera needs four light modules around it");
        }
    }
}

/// Black on white in any theme; in a file or a pipe there is nothing but the blocks.
#[test]
fn colours_are_for_terminals() {
    let plain = qr::text("http://192.168.1.10:8066/", false).expect("it fits");
    assert!(!plain.contains('\x1b'));
    for line in qr::text("http://192.168.1.10:8066/", true).expect("it fits").lines() {
        assert!(line.starts_with("\x1b[38;5;16;48;5;231m") && line.ends_with("\x1b[0m"), "{line:?}");
    }
}
