//! Strings of any length without allocation: as a program has them, or as they lie in a JSON text that was read.

use crate::json;

/// One string. Two are equal when their characters are, whatever form they have.
#[derive(Clone, Copy)]
pub struct Quoted<'a> {
    text: &'a str,
    /// `text` is what stands between the quotes of JSON, checked.
    escaped: bool,
}

impl<'a> Quoted<'a> {
    /// These very characters.
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self { text, escaped: false }
    }

    /// What stands between the quotes of JSON that was checked.
    pub(crate) const fn escaped(text: &'a str) -> Self {
        Self { text, escaped: true }
    }

    /// What stands between the quotes of JSON, if it has that form.
    pub(crate) fn as_json(self) -> Option<&'a str> {
        self.escaped.then_some(self.text)
    }

    /// The text in the form that it has.
    pub(crate) fn text(self) -> &'a str {
        self.text
    }

    /// Its characters. What JSON cannot mean (half a surrogate pair) is U+FFFD.
    pub fn chars(self) -> impl Iterator<Item = char> + Clone + use<'a> {
        let mut chars = self.text.chars();
        core::iter::from_fn(move || match chars.next()? {
            '\\' if self.escaped => Some(json::escape(&mut chars).unwrap_or(char::REPLACEMENT_CHARACTER)),
            other => Some(other),
        })
    }

    /// Copies its UTF-8 to the beginning of `buffer` and returns the length; `None`: it does not fit.
    #[must_use]
    #[cold]
    pub fn copy_to(self, buffer: &mut [u8]) -> Option<usize> {
        if !self.escaped || self.text.bytes().all(|byte| byte != b'\\') {
            buffer.get_mut(..self.text.len())?.copy_from_slice(self.text.as_bytes());
            return Some(self.text.len());
        }
        let mut length = 0;
        for c in self.chars() {
            let place = buffer.get_mut(length..length + c.len_utf8())?;
            c.encode_utf8(place);
            length += place.len();
        }
        Some(length)
    }

    /// At most as many bytes does it take in a JSON text, quotes and a comma included; its UTF-8 is not longer.
    #[must_use]
    pub const fn room(self) -> usize {
        3 + if self.escaped { self.text.len() } else { 6 * self.text.len() }
    }
}

impl PartialEq for Quoted<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.chars().eq(other.chars())
    }
}

impl Eq for Quoted<'_> {}

impl core::fmt::Debug for Quoted<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        use core::fmt::Write as _;
        f.write_char('"')?;
        self.chars().flat_map(char::escape_debug).try_for_each(|c| f.write_char(c))?;
        f.write_char('"')
    }
}

/// A list of strings.
#[derive(Clone, Copy)]
pub struct Strings<'a>(Form<'a>);

#[derive(Clone, Copy)]
enum Form<'a> {
    Given(&'a [&'a str]),
    /// Strings that each end with a NUL, as in `/proc/PID/cmdline`.
    Joined(&'a str),
    /// What stands between the brackets of a JSON list of strings, checked.
    Json(&'a str),
}

impl<'a> Form<'a> {
    /// Takes the first string away.
    #[inline(never)] // the shim, which has to be small, has many loops over strings
    #[cold]
    fn next(&mut self) -> Option<Quoted<'a>> {
        match self {
            Form::Given(strings) => {
                let (first, others) = strings.split_first()?;
                *strings = others;
                Some(Quoted::new(first))
            }
            Form::Joined(strings) => {
                let end = strings.bytes().position(|byte| byte == 0)?;
                let first = strings.get(..end)?;
                *strings = strings.get(end + 1..)?;
                Some(Quoted::new(first))
            }
            Form::Json(list) => {
                let (first, others) = json::first_string(list)?;
                *list = others;
                Some(Quoted::escaped(first))
            }
        }
    }
}

impl<'a> Strings<'a> {
    /// These strings.
    #[must_use]
    pub const fn new(strings: &'a [&'a str]) -> Self {
        Self(Form::Given(strings))
    }

    /// Strings that each end with a NUL, as in `/proc/PID/cmdline` (proc_pid_cmdline(5)).
    #[must_use]
    pub const fn joined(strings: &'a str) -> Self {
        Self(Form::Joined(strings))
    }

    pub(crate) const fn json(list: &'a str) -> Self {
        Self(Form::Json(list))
    }

    /// The strings in order.
    pub fn iter(self) -> impl Iterator<Item = Quoted<'a>> + Clone + use<'a> {
        let mut rest = self.0;
        core::iter::from_fn(move || rest.next())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        match self.0 {
            Form::Given(strings) => strings.is_empty(),
            Form::Joined(strings) => strings.is_empty(),
            Form::Json(list) => list.bytes().all(|byte| byte != b'"'),
        }
    }

    /// At most as many bytes do they take in a JSON text.
    #[must_use]
    pub fn room(self) -> usize {
        self.iter().map(Quoted::room).sum()
    }
}

impl Default for Strings<'_> {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl PartialEq for Strings<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Strings<'_> {}

impl core::fmt::Debug for Strings<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Object, Writer};

    const STRANGE: [&str; 6] = ["", "plain", "a \"b\" \\ c", "two\nlines\t\u{1}", "\u{e9}\u{1f600}", "],[\","];

    #[test]
    fn strings_come_back_from_json_as_they_were() {
        let strings = Strings::new(&STRANGE);
        let mut buffer = [0; 512];
        let mut json = Writer::new(&mut buffer);
        json.begin();
        json.strings("list", strings);
        json.strings("empty", Strings::default());
        json.end();
        let length = json.finish().expect("it fits");
        assert!(length <= strings.room() + "{\"list\":[],\"empty\":[]}\n".len(), "room is enough");
        let object = Object::parse(&buffer[..length - 1]).expect("an object");
        let back = object.strings("list").expect("a list").expect("it is there");
        assert_eq!(back, strings);
        for (back, string) in back.iter().zip(STRANGE) {
            let mut copy = [0; 32];
            let length = back.copy_to(&mut copy).expect("it fits");
            assert_eq!(&copy[..length], string.as_bytes());
            assert_eq!(back.copy_to(&mut copy[..length.saturating_sub(1)]).is_none(), !string.is_empty(), "{string}");
        }
        assert_eq!(object.strings("empty"), Ok(Some(Strings::default())));
        assert_eq!(object.strings("missing"), Ok(None));
    }

    #[test]
    fn a_list_of_something_else_is_refused() {
        let object = Object::parse(br#"{"a": [ "x" , "y" ], "b": ["x", 1], "c": "x", "d": [["x"]], "e": [ ]}"#);
        let object = object.expect("an object");
        assert_eq!(object.strings("a"), Ok(Some(Strings::new(&["x", "y"]))), "white space between is nothing");
        for wrong in ["b", "c", "d"] {
            assert!(object.strings(wrong).is_err(), "{wrong}");
        }
        assert!(object.strings("e").is_ok_and(|list| list.is_some_and(Strings::is_empty)));
    }

    #[test]
    fn joined_strings_each_end_with_a_nul() {
        assert_eq!(Strings::joined("a\0\0b c\0"), Strings::new(&["a", "", "b c"]));
        assert!(Strings::joined("").is_empty());
    }
}
