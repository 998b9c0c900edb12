//! A QR code as text: two rows of modules in a line of half blocks.

use anyhow::Context as _;
use qrcode::{Color, EcLevel, QrCode};

/// With colours it is black on white whatever the terminal's own are; without, its dark modules are what is printed.
pub fn text(content: &str, colours: bool) -> anyhow::Result<String> {
    // Nothing gets dirty on a screen, so the code may be as small as it can.
    let code = QrCode::with_error_correction_level(content, EcLevel::L).context("too long for a QR code")?;
    let width = code.width() as isize;
    let modules = code.into_colors();
    let is_dark = |x: isize, y: isize| {
        (0..width).contains(&x) && (0..width).contains(&y) && modules[(y * width + x) as usize] == Color::Dark
    };
    let mut text = String::new();
    for y in (-QUIET..width + QUIET).step_by(2) {
        text.push_str(if colours { BLACK_ON_WHITE } else { "" });
        for x in -QUIET..width + QUIET {
            text.push(match (is_dark(x, y), is_dark(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        text.push_str(if colours { RESET } else { "" });
        text.push('\n');
    }
    Ok(text)
}

/// ISO/IEC 18004, section 6.3.8: four light modules on each side.
const QUIET: isize = 4;

/// Of the 256 colours, of which themes leave these two alone.
const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
const RESET: &str = "\x1b[0m";
