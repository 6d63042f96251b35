//! Writing: one object into a buffer of a fixed size.

use super::digits;
use crate::{Quoted, Strings, WireError};

/// Writes one JSON object into a buffer. A full buffer is remembered and reported by [`Writer::finish`].
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    length: usize,
    overflow: bool,
    first: bool,
}

impl<'a> Writer<'a> {
    /// Starts at the beginning of `buffer`.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, length: 0, overflow: false, first: true }
    }

    /// Opens the object.
    pub fn begin(&mut self) {
        self.byte(b'{');
        self.first = true;
    }

    /// Opens an object as the member `name`.
    pub fn begin_member(&mut self, name: &str) {
        self.name(name);
        self.begin();
    }

    /// Closes the innermost object.
    pub fn end(&mut self) {
        self.byte(b'}');
        self.first = false;
    }

    /// The member `name` with a number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        self.bytes(digits(value).as_str().as_bytes());
    }

    /// The member `name` with a number, or `null`.
    pub fn optional(&mut self, name: &str, value: Option<u64>) {
        match value {
            Some(value) => self.number(name, value),
            None => self.null(name),
        }
    }

    /// The member `name` with `null`.
    pub fn null(&mut self, name: &str) {
        self.name(name);
        self.bytes(b"null");
    }

    /// The member `name` with a truth value.
    pub fn boolean(&mut self, name: &str, value: bool) {
        self.name(name);
        self.bytes(if value { b"true" } else { b"false" });
    }

    /// The member `name` with a string.
    pub fn string(&mut self, name: &str, value: &str) {
        self.name(name);
        self.quoted(value);
    }

    /// The member `name` with a string of any length.
    #[cold]
    pub fn quoted_string(&mut self, name: &str, value: Quoted<'_>) {
        self.name(name);
        self.quoted_chars(value);
    }

    /// The member `name` with a list of strings.
    #[cold]
    #[inline(never)]
    pub fn strings(&mut self, name: &str, values: Strings<'_>) {
        self.name(name);
        self.byte(b'[');
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                self.byte(b',');
            }
            self.quoted_chars(value);
        }
        self.byte(b']');
    }

    /// Ends with a newline and returns the length.
    ///
    /// # Errors
    /// `TooLong` when the buffer was too small for what was written.
    pub fn finish(mut self) -> Result<usize, WireError> {
        self.byte(b'\n');
        if self.overflow { Err(WireError::TooLong) } else { Ok(self.length) }
    }

    fn name(&mut self, name: &str) {
        if !self.first {
            self.byte(b',');
        }
        self.first = false;
        self.quoted(name);
        self.byte(b':');
    }

    fn quoted(&mut self, value: &str) {
        self.byte(b'"');
        value.bytes().for_each(|byte| self.escaped(byte));
        self.byte(b'"');
    }

    fn quoted_chars(&mut self, value: Quoted<'_>) {
        match value.as_json() {
            None => self.quoted(value.text()),
            Some(inner) => {
                self.byte(b'"');
                self.bytes(inner.as_bytes());
                self.byte(b'"');
            }
        }
    }

    fn escaped(&mut self, byte: u8) {
        match byte {
            b'"' | b'\\' => self.bytes(&[b'\\', byte]),
            0..=0x1f => {
                let digit = |d: u8| b"0123456789abcdef"[usize::from(d)];
                self.bytes(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            }
            _ => self.byte(byte),
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.byte(*byte);
        }
    }

    fn byte(&mut self, byte: u8) {
        match self.buffer.get_mut(self.length) {
            Some(place) => {
                *place = byte;
                self.length += 1;
            }
            None => self.overflow = true,
        }
    }
}
