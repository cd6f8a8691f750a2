//! The screen of a terminal as SVG.
//!
//! Each run of letters that look the same is one `<text>` that is as wide as its columns, whatever
//! font is there. Blocks and rules are drawn, not written: in most fonts they leave gaps. A letter
//! takes one column; wide ones are not for pictures.

use std::fmt::Write;

/// A column and a line, in pixels.
const CELL: (f64, f64) = (8.4, 18.0);

/// Around the screen.
const PAD: f64 = 16.0;

/// Above the screen, for the window's head.
const HEAD: f64 = 36.0;

const BACKGROUND: &str = "#14171f";
const FRAME: &str = "#2b303b";
const TEXT: &str = "#d5dae3";

/// The sixteen colours: black, red, green, yellow, blue, magenta, cyan, white, and all of them bright.
const COLOURS: [&str; 16] = [
    "#14171f", "#e06c75", "#7fc58a", "#e5b567", "#6ca4e8", "#b58ce0", "#5cc3d0", "#d5dae3",
    "#7b8496", "#ff7a85", "#98e0a3", "#ffd184", "#8bbcff", "#cfa8ff", "#7fe3ef", "#ffffff",
];

/// How a letter looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Look {
    colour: Option<usize>,
    bold: bool,
    dim: bool,
    reversed: bool,
}

/// A picture of what `tmux capture-pane -e` has given.
pub(super) fn draw(screen: &str, (columns, lines): (usize, usize), title: &str) -> String {
    let (wide, high) = CELL;
    let width = wide * columns as f64 + 2.0 * PAD;
    let height = high * lines as f64 + HEAD + PAD;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.1} {height:.1}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\">\n\
         <title>{}</title>\n\
         <style>text{{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',\
         monospace;white-space:pre}}</style>\n\
         <rect x=\".5\" y=\".5\" width=\"{:.1}\" height=\"{:.1}\" rx=\"10\" fill=\"{BACKGROUND}\" \
         stroke=\"{FRAME}\"/>\n",
        escaped(title),
        width - 1.0,
        height - 1.0,
    );
    for (at, colour) in ["#ff7a85", "#ffd184", "#98e0a3"].iter().enumerate() {
        let x = 20.0 + 18.0 * at as f64;
        write(
            &mut out,
            format_args!("<circle cx=\"{x}\" cy=\"18\" r=\"5.5\" fill=\"{colour}\"/>\n"),
        );
    }
    let middle = width / 2.0;
    write(
        &mut out,
        format_args!(
            "<text x=\"{middle:.1}\" y=\"22.5\" text-anchor=\"middle\" fill=\"{}\">pyinotifyd \
             top</text>\n",
            COLOURS[8]
        ),
    );
    let mut look = Look::default();
    for (at, line) in screen.lines().take(lines).enumerate() {
        let y = HEAD + high * at as f64;
        let mut x = PAD;
        for (run_look, text) in runs(line, &mut look) {
            draw_run(&mut out, x, y, run_look, &text);
            x += wide * text.chars().count() as f64;
        }
    }
    out.push_str("</svg>\n");
    out
}

/// Letters that look the same, together.
fn runs(line: &str, look: &mut Look) -> Vec<(Look, String)> {
    let mut runs: Vec<(Look, String)> = Vec::new();
    let mut rest = line;
    while let Some(letter) = rest.chars().next() {
        if let Some((codes, after)) = rest.strip_prefix("\x1b[").and_then(|it| it.split_once('m')) {
            *look = changed(*look, codes);
            rest = after;
            continue;
        }
        rest = &rest[letter.len_utf8()..];
        let is_drawn = |text: &str| text.chars().next().is_some_and(|it| shape(it).is_some());
        match runs.last_mut() {
            Some((last, text)) if last == look && is_drawn(text) == shape(letter).is_some() => {
                text.push(letter);
            }
            _ => runs.push((*look, letter.to_string())),
        }
    }
    runs
}

fn changed(mut look: Look, codes: &str) -> Look {
    let mut codes = codes.split(';').map(|it| it.parse::<usize>().unwrap_or(0));
    while let Some(code) = codes.next() {
        match code {
            0 => look = Look::default(),
            1 => look.bold = true,
            2 => look.dim = true,
            7 => look.reversed = true,
            22 => (look.bold, look.dim) = (false, false),
            27 => look.reversed = false,
            30..=37 => look.colour = Some(code - 30),
            90..=97 => look.colour = Some(code - 90 + 8),
            39 => look.colour = None,
            // One of 256, of which the first sixteen are those above.
            38 if codes.next() == Some(5) => look.colour = codes.next().filter(|it| *it < 16),
            _ => (),
        }
    }
    look
}

fn draw_run(out: &mut String, x: f64, y: f64, look: Look, text: &str) {
    let (wide, high) = CELL;
    let width = wide * text.chars().count() as f64;
    let mut colour = look.colour.map_or(TEXT, |it| COLOURS[it]);
    if look.reversed {
        // All of a selected line has the same ground.
        write(
            out,
            format_args!(
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{high}\" \
                 fill=\"{TEXT}\"/>\n"
            ),
        );
        colour = look.colour.map_or(BACKGROUND, |_| "#39404e");
    }
    if text.trim().is_empty() {
        return;
    }
    let opacity = if look.dim { " opacity=\".6\"" } else { "" };
    if text.chars().next().is_some_and(|it| shape(it).is_some()) {
        for (at, letter) in text.chars().enumerate() {
            let Some((top, height)) = shape(letter) else { continue };
            write(
                out,
                format_args!(
                    "<rect x=\"{:.1}\" y=\"{:.2}\" width=\"{:.1}\" height=\"{:.2}\" \
                     fill=\"{colour}\"{opacity}/>\n",
                    x + wide * at as f64,
                    y + high * top,
                    // A hair of air between bars, none within rules.
                    if top + height > 0.99 { wide - 1.0 } else { wide + 0.1 },
                    high * height,
                ),
            );
        }
        return;
    }
    let bold = if look.bold { " font-weight=\"bold\"" } else { "" };
    write(
        out,
        format_args!(
            "<text x=\"{x:.1}\" y=\"{:.1}\" textLength=\"{width:.1}\" xml:space=\"preserve\" \
             fill=\"{colour}\"{bold}{opacity}>{}</text>\n",
            y + 13.5,
            escaped(text)
        ),
    );
}

/// Where in its cell a letter is that is drawn: how far from the top it begins, and how high it is.
fn shape(letter: char) -> Option<(f64, f64)> {
    match letter {
        '▁'..='█' => {
            let eighths = f64::from(u32::from(letter) - u32::from('▁') + 1) / 8.0;
            Some((1.0 - eighths, eighths))
        }
        '─' => Some((0.47, 0.06)),
        '━' => Some((0.44, 0.12)),
        _ => None,
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn write(out: &mut String, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("a String takes all");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_look_the_same_stay_together() {
        let mut look = Look::default();
        let bold = Look { bold: true, ..Look::default() };
        let red = Look { colour: Some(1), ..bold };
        let text = "a\x1b[1mb<c\x1b[31md──\x1b[0m e";
        let plain = Look::default();
        let expected = [(plain, "a"), (bold, "b<c"), (red, "d"), (red, "──"), (plain, " e")];
        assert_eq!(runs(text, &mut look), expected.map(|(look, it)| (look, it.to_owned())));
        let grey = Look { colour: Some(8), ..plain };
        assert_eq!(changed(plain, "38;5;8"), grey);
        assert_eq!(changed(plain, "90"), grey);
        assert_eq!(changed(red, "39;22"), plain);
    }

    #[test]
    fn no_text_of_a_screen_becomes_an_element() {
        let picture = draw("<script>&amp;", (20, 1), "a < b");
        assert!(picture.contains(">&lt;script&gt;&amp;amp;</text>"), "{picture}");
        assert!(picture.contains("<title>a &lt; b</title>"), "{picture}");
    }
}
