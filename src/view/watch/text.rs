//! Text on a screen of characters: cut and wrapped by the columns that it takes there, which for many scripts are two a character.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Look;

/// How many columns it takes.
pub(in crate::view) fn width(text: &str) -> usize {
    text.width()
}

/// One line of what comes from a run, and may be hostile: nothing in it moves the cursor, or turns the direction of text round.
pub(super) fn clean(text: &str, look: Look) -> String {
    let unknown = if look.unicode { '\u{fffd}' } else { '?' };
    text.chars()
        .map(|character| match character {
            '\t' => ' ',
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => unknown,
            other if other.is_control() => unknown,
            other => other,
        })
        .collect()
}

/// Cut where the room ends, with a sign that it was.
pub(in crate::view) fn cut(text: &str, room: usize, look: Look) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let end = if look.unicode { "…" } else { "~" };
    let (kept, _) = split(text, room.saturating_sub(1));
    if room == 0 { String::new() } else { format!("{}{end}", kept.trim_end()) }
}

/// Cut or filled up.
pub(super) fn fill(text: &str, room: usize, look: Look) -> String {
    let text = cut(text, room, look);
    let missing = room.saturating_sub(width(&text));
    format!("{text}{:missing$}", "")
}

/// In lines. What is further in than its line stays so when it is wrapped, and what fits stays as it is.
pub(super) fn wrap(text: &str, room: usize) -> Vec<String> {
    if width(text) <= room {
        return vec![text.to_owned()];
    }
    let indent = text.len() - text.trim_start_matches(' ').len();
    let indent = indent.min(room / 2);
    let mut lines = Vec::new();
    let mut line = " ".repeat(indent);
    let mut is_empty = true;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let mut word = word;
        if !is_empty && width(&line) + 1 + width(word) > room {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            is_empty = true;
        }
        // A word that no line has room for.
        while is_empty && width(word) > room - indent {
            let (head, tail) = split(word, room - indent);
            if head.is_empty() {
                break;
            }
            lines.push(format!("{:indent$}{head}", ""));
            word = tail;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines.push(line);
    lines
}

/// The longest beginning that takes no more columns than these, and the rest.
fn split(text: &str, room: usize) -> (&str, &str) {
    let mut taken = 0;
    for (at, character) in text.char_indices() {
        taken += character.width().unwrap_or(0);
        if taken > room {
            return text.split_at(at);
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNICODE: Look = Look { colours: false, unicode: true };

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(cut("数据库没有准备好", 16, UNICODE), "数据库没有准备好");
        assert_eq!(cut("数据库没有准备好", 9, UNICODE), "数据库没…");
        assert_eq!(cut("数据库没有准备好", 10, UNICODE), "数据库没…", "half a character is none");
        assert_eq!(fill("数据库", 10, UNICODE), "数据库    ");
        assert_eq!(wrap("  数据库没有准备好", 10), ["  数据库没", "  有准备好"]);
    }

    #[test]
    fn what_is_further_in_stays_so() {
        assert_eq!(wrap("  it is not ready yet", 12), ["  it is not", "  ready yet"]);
        assert_eq!(wrap("abcdefgh ij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("a    b", 6), ["a    b"], "columns stay columns where there is room");
        assert_eq!(wrap("abc", 1), ["a", "b", "c"]);
        assert_eq!(wrap("数", 1), ["数"], "what fits nowhere ends all the same");
    }

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(clean("a\x1b[2J\tb\u{202e}", UNICODE), "a\u{fffd}[2J b\u{fffd}");
        assert_eq!(clean("a\r\n", Look { colours: false, unicode: false }), "a??");
    }
}
