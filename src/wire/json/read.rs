//! Reading: a whole object is checked once, and then its members are found by name.

use core::ops::Range;

use super::cursor::{Cursor, Noted};
use super::decimal;
use crate::{Quoted, Strings, Text, WireError};

/// How many members of an object can be found by name: turn and report have fewer than 20 each. What comes behind them is not
/// there for whoever asks, but for [`Object::entry`].
const NOTED_MAX: usize = 24;

/// One JSON object, checked as a whole when it was read.
#[derive(Clone)]
pub struct Object<'a> {
    bytes: &'a [u8],
    /// The first members. A place that is not used has an empty name, which nobody asks for.
    noted: [Noted; NOTED_MAX],
}

impl<'a> Object<'a> {
    /// Checks that `bytes`, of less than 4 GiB, are one whole JSON object with nothing but white space around it.
    ///
    /// # Errors
    /// `Syntax` if not.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        core::str::from_utf8(bytes).map_err(|_| WireError::Syntax)?;
        Self::of(bytes)
    }

    /// As [`Object::parse`], for what is known to be UTF-8, and of less than 4 GiB.
    fn of(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut object = Self { bytes, noted: [const { Noted { name: 0..0, value: 0..0 } }; NOTED_MAX] };
        let mut places = object.noted.iter_mut();
        let mut cursor = Cursor { bytes, at: 0 };
        cursor.space();
        if cursor.peek() != Some(b'{') {
            return Err(WireError::Syntax);
        }
        let mut more = cursor.begin(b'}');
        while more {
            let noted = cursor.member(true, 0)?;
            more = cursor.goes_on(b'}')?;
            if let Some(place) = places.next() {
                *place = noted;
            }
        }
        cursor.space();
        if cursor.at == bytes.len() { Ok(object) } else { Err(WireError::Syntax) }
    }

    /// Whether there is a member `name`.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The number `name`.
    ///
    /// # Errors
    /// `Member` when it is missing or not a whole number that fits.
    pub fn number(&self, name: &'static str) -> Result<u64, WireError> {
        self.optional_number(name)?.ok_or(WireError::Member(name))
    }

    /// As many numbers. (One loop is smaller than as many calls, which the shim notices.)
    ///
    /// # Errors
    /// As for [`Object::number`].
    pub(crate) fn numbers<const N: usize>(&self, names: [&'static str; N]) -> Result<[u64; N], WireError> {
        let mut numbers = [0; N];
        for (number, name) in numbers.iter_mut().zip(names) {
            *number = self.number(name)?;
        }
        Ok(numbers)
    }

    /// The number `name`; `None` when it is missing or `null`.
    ///
    /// # Errors
    /// `Member` when it is something else.
    pub fn optional_number(&self, name: &'static str) -> Result<Option<u64>, WireError> {
        self.optional_up_to(name, u64::MAX)
    }

    /// (One function for all sizes of numbers, which the shim notices.)
    #[inline(never)]
    fn optional_up_to(&self, name: &'static str, most: u64) -> Result<Option<u64>, WireError> {
        match self.find(name) {
            None | Some(b"null") => Ok(None),
            Some(value) => {
                let number = decimal(value).filter(|number| *number <= most);
                number.map(Some).ok_or(WireError::Member(name))
            }
        }
    }

    /// As [`Object::number`], up to 255.
    ///
    /// # Errors
    /// `Member` also when the number is larger.
    pub fn small(&self, name: &'static str) -> Result<u8, WireError> {
        self.optional_small(name)?.ok_or(WireError::Member(name))
    }

    /// As [`Object::optional_number`], up to 255.
    ///
    /// # Errors
    /// `Member` also when the number is larger.
    pub fn optional_small(&self, name: &'static str) -> Result<Option<u8>, WireError> {
        Ok(self.optional_up_to(name, u8::MAX.into())?.map(|number| number as u8))
    }

    /// As [`Object::optional_number`], up to 32 bits.
    ///
    /// # Errors
    /// `Member` also when the number is larger.
    pub fn optional_u32(&self, name: &'static str) -> Result<Option<u32>, WireError> {
        Ok(self.optional_up_to(name, u32::MAX.into())?.map(|number| number as u32))
    }

    /// The truth value `name`.
    ///
    /// # Errors
    /// `Member` when it is missing or something else.
    pub fn boolean(&self, name: &'static str) -> Result<bool, WireError> {
        match self.find(name) {
            Some(b"true") => Ok(true),
            Some(b"false") => Ok(false),
            _ => Err(WireError::Member(name)),
        }
    }

    /// The object `name`; `None` when it is missing or `null`.
    ///
    /// # Errors
    /// `Member` when it is something else.
    pub fn object(&self, name: &'static str) -> Result<Option<Object<'a>>, WireError> {
        match self.find(name) {
            None | Some(b"null") => Ok(None),
            Some(value) => Object::of(value).map(Some).map_err(|_| WireError::Member(name)),
        }
    }

    /// The object `name`, whose name is known to the caller's input only, among any number of members; `None`: there is
    /// none, or something else.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<Object<'a>> {
        let mut cursor = Cursor { bytes: self.bytes, at: 0 };
        cursor.space();
        let mut more = cursor.begin(b'}');
        while more {
            let noted = cursor.member(true, 0).ok()?;
            if self.part(&noted.name) == Some(name.as_bytes()) {
                return Object::of(self.part(&noted.value)?).ok();
            }
            more = cursor.goes_on(b'}').ok()?;
        }
        None
    }

    /// The 16 lower-case hex digits `name`; `None` when it is missing or `null`.
    ///
    /// # Errors
    /// `Member` when it is something else.
    pub fn hex(&self, name: &'static str) -> Result<Option<u64>, WireError> {
        let id = match self.find(name) {
            None | Some(b"null") => return Ok(None),
            Some([b'"', digits @ .., b'"']) => core::str::from_utf8(digits).ok().and_then(crate::RunId::parse),
            Some(_) => None,
        };
        id.map(|id| Some(id.0)).ok_or(WireError::Member(name))
    }

    /// What stands between the quotes of the string `name`, which is one of a few words without anything to escape. `None`: it is
    /// missing, or something else. (Smaller than [`Object::text`] and a comparison, which the shim notices.)
    #[must_use]
    pub(crate) fn word(&self, name: &str) -> Option<&'a [u8]> {
        self.find(name)?.strip_prefix(b"\"")?.strip_suffix(b"\"")
    }

    /// The string `name`.
    ///
    /// # Errors
    /// `Member` when it is missing, something else, or longer than `N` bytes.
    pub fn text<const N: usize>(&self, name: &'static str) -> Result<Text<N>, WireError> {
        let value = self.find(name).filter(|v| v.first() == Some(&b'"')).ok_or(WireError::Member(name))?;
        Text::filled(|out| unescape(&value[1..value.len() - 1], out)).ok_or(WireError::Member(name))
    }

    /// The string `name`, of any length; `None` when it is missing or `null`.
    ///
    /// # Errors
    /// `Member` when it is something else.
    #[cold]
    pub fn quoted(&self, name: &'static str) -> Result<Option<Quoted<'a>>, WireError> {
        let text = match self.find(name) {
            None | Some(b"null") => return Ok(None),
            Some(value) if value.first() == Some(&b'"') => core::str::from_utf8(&value[1..value.len() - 1]),
            Some(_) => return Err(WireError::Member(name)),
        };
        text.map(|text| Some(Quoted::escaped(text))).map_err(|_| WireError::Member(name))
    }

    /// The list of strings `name`; `None` when it is missing or `null`.
    ///
    /// # Errors
    /// `Member` when it is something else.
    #[cold]
    pub fn strings(&self, name: &'static str) -> Result<Option<Strings<'a>>, WireError> {
        let wrong = WireError::Member(name);
        let value = match self.find(name) {
            None | Some(b"null") => return Ok(None),
            Some(value) => core::str::from_utf8(value).map_err(|_| wrong)?,
        };
        let list = value.strip_prefix('[').and_then(|list| list.strip_suffix(']')).ok_or(wrong)?;
        let mut rest = list;
        while let Some((_, next)) = first_string(rest) {
            rest = next;
        }
        if rest.bytes().all(|byte| byte.is_ascii_whitespace()) { Ok(Some(Strings::json(list))) } else { Err(wrong) }
    }

    /// The bytes of the first member `name`, without white space around them. Names are compared as they are written:
    /// the protocol's own have nothing to escape.
    fn find(&self, name: &str) -> Option<&'a [u8]> {
        let noted = self.noted.iter().find(|noted| self.part(&noted.name) == Some(name.as_bytes()));
        self.part(&noted?.value)
    }

    fn part(&self, range: &Range<u32>) -> Option<&'a [u8]> {
        self.bytes.get(range.start as usize..range.end as usize)
    }
}

/// The characters of a JSON string that was checked before; `None` when they do not fit or are no characters.
fn unescape(bytes: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut length = 0;
    let mut chars = core::str::from_utf8(bytes).ok()?.chars();
    while let Some(c) = chars.next() {
        let c = if c == '\\' { escape(&mut chars)? } else { c };
        let mut utf8 = [0; 4];
        let encoded = c.encode_utf8(&mut utf8).as_bytes();
        out.get_mut(length..length + encoded.len())?.copy_from_slice(encoded);
        length += encoded.len();
    }
    Some(length)
}

/// The first string of what stands between the brackets of a JSON list, without its quotes, and what follows it and its
/// comma. The list was checked before; `None` when something else comes first.
#[cold]
pub(crate) fn first_string(list: &str) -> Option<(&str, &str)> {
    let mut cursor = Cursor { bytes: list.as_bytes(), at: 0 };
    cursor.space();
    let start = cursor.at + 1;
    cursor.string().ok()?;
    let end = cursor.at - 1;
    cursor.space();
    if cursor.peek() == Some(b',') {
        cursor.at += 1;
    }
    Some((list.get(start..end)?, list.get(cursor.at..)?))
}

pub(crate) fn escape(chars: &mut core::str::Chars<'_>) -> Option<char> {
    Some(match chars.next()? {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => {
            let first = hex4(chars)?;
            match first {
                0xd800..=0xdbff => {
                    if chars.next()? != '\\' || chars.next()? != 'u' {
                        return None;
                    }
                    let second = hex4(chars)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                    char::from_u32(0x10000 + ((first - 0xd800) << 10) + second)?
                }
                _ => char::from_u32(first)?,
            }
        }
        other => other,
    })
}

fn hex4(chars: &mut core::str::Chars<'_>) -> Option<u32> {
    let mut value = 0;
    for _ in 0..4 {
        value = value * 16 + chars.next()?.to_digit(16)?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "",
            "{",
            "[]",
            "null",
            "{}x",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{'a':1}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":tru}",
            "{\"a\":-}",
            "{\"a\":[1,]}",
            "{\"a\":{\"b\":1}",
        ] {
            assert!(Object::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Object::parse(b"{\"a\":\"\xff\"}").is_err(), "not UTF-8");
    }

    #[test]
    fn deep_nesting_is_bounded() {
        let mut deep = [b'['; 200];
        deep[..5].copy_from_slice(b"{\"a\":");
        assert!(Object::parse(&deep).is_err());
    }

    #[test]
    fn members_are_found_by_name_and_type() {
        let object = Object::parse(
            br#" {"n":7,"big":18446744073709551616,"neg":-1,"s":"a\u00e9\ud83d\ude00\n","o":{"n":8},"z":null,"n":9} "#,
        )
        .expect("valid");
        assert_eq!(object.number("n"), Ok(7), "the first one wins");
        assert_eq!(object.number("big"), Err(WireError::Member("big")));
        assert_eq!(object.number("neg"), Err(WireError::Member("neg")));
        assert_eq!(object.optional_number("z"), Ok(None));
        assert_eq!(object.text::<16>("s").map(|t| t == Text::truncated("a\u{e9}\u{1f600}\n")), Ok(true));
        assert_eq!(object.text::<4>("s"), Err(WireError::Member("s")), "does not fit");
        assert_eq!(object.object("o").ok().flatten().map(|o| o.number("n")), Some(Ok(8)));
        assert!(!object.has("missing"));
    }
}
