//! Stepping over JSON values, which checks them on the way.
//!
//! Belongs here: what is JSON, and where a member of an object lies. Does not belong here: what a member means (`read`).

use core::ops::Range;

use crate::WireError;

/// Objects and arrays may nest this deep; the protocol itself needs 3.
const DEPTH_MAX: u32 = 16;

/// Where a member is, in the object's bytes.
#[derive(Clone)]
pub(super) struct Noted {
    /// Without its quotes.
    pub name: Range<u32>,
    pub value: Range<u32>,
}

/// A place in a text.
pub(super) struct Cursor<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

impl Cursor<'_> {
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    pub(super) fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, text: &[u8]) -> Result<(), WireError> {
        for byte in text {
            if self.next() != Some(*byte) {
                return Err(WireError::Syntax);
            }
        }
        Ok(())
    }

    /// Steps over one value of any kind.
    fn value(&mut self, depth: u32) -> Result<(), WireError> {
        if depth > DEPTH_MAX {
            return Err(WireError::Syntax);
        }
        match self.peek() {
            Some(b'{') => self.members(b'}', true, depth),
            Some(b'[') => self.members(b']', false, depth),
            Some(b'"') => self.string(),
            Some(b't') => self.expect(b"true"),
            Some(b'f') => self.expect(b"false"),
            Some(b'n') => self.expect(b"null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(WireError::Syntax),
        }
    }

    fn members(&mut self, close: u8, named: bool, depth: u32) -> Result<(), WireError> {
        let mut more = self.begin(close);
        while more {
            self.member(named, depth)?;
            more = self.goes_on(close)?;
        }
        Ok(())
    }

    /// Steps into an object or a list; `false`: it is empty, and over.
    pub(super) fn begin(&mut self, close: u8) -> bool {
        self.at += 1;
        self.space();
        let is_empty = self.peek() == Some(close);
        self.at += usize::from(is_empty);
        !is_empty
    }

    /// Steps over one member.
    pub(super) fn member(&mut self, named: bool, depth: u32) -> Result<Noted, WireError> {
        self.space();
        let name = self.at + 1;
        let mut name_end = name;
        if named {
            self.string()?;
            name_end = self.at - 1;
            self.space();
            self.expect(b":")?;
            self.space();
        }
        let value = self.at;
        self.value(depth + 1)?;
        let [name, name_end, value, value_end] = [name, name_end, value, self.at].map(|at| at as u32);
        let noted = Noted { name: name..name_end, value: value..value_end };
        self.space();
        Ok(noted)
    }

    /// Steps over what follows a member; `false`: the end.
    pub(super) fn goes_on(&mut self, close: u8) -> Result<bool, WireError> {
        match self.next() {
            Some(b',') => Ok(true),
            Some(byte) if byte == close => Ok(false),
            _ => Err(WireError::Syntax),
        }
    }

    pub(super) fn string(&mut self) -> Result<(), WireError> {
        self.expect(b"\"")?;
        loop {
            match self.next() {
                Some(b'"') => return Ok(()),
                Some(b'\\') => match self.next() {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {}
                    Some(b'u') => {
                        for _ in 0..4 {
                            if !self.next().is_some_and(|b| b.is_ascii_hexdigit()) {
                                return Err(WireError::Syntax);
                            }
                        }
                    }
                    _ => return Err(WireError::Syntax),
                },
                Some(0..=0x1f) | None => return Err(WireError::Syntax),
                Some(_) => {}
            }
        }
    }

    /// Steps over a number. Looser than RFC 8259 (`01`, `1.`): what is asked for as a number is checked again.
    fn number(&mut self) -> Result<(), WireError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')) {
            self.at += 1;
        }
        if self.bytes[start..self.at].iter().any(u8::is_ascii_digit) { Ok(()) } else { Err(WireError::Syntax) }
    }
}
