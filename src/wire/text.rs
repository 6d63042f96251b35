//! A short string without allocation: the messages and ids of the wire.

/// A UTF-8 string of at most `N` bytes, stored in place.
#[derive(Clone, Copy)]
pub struct Text<const N: usize> {
    len: usize,
    bytes: [u8; N],
}

impl<const N: usize> Text<N> {
    /// The empty text.
    #[must_use]
    pub const fn new() -> Self {
        Self { len: 0, bytes: [0; N] }
    }

    /// `text`, cut at the last character boundary that fits in `N` bytes.
    #[must_use]
    pub fn truncated(text: &str) -> Self {
        let mut out = Self::new();
        append(&mut out.bytes, &mut out.len, text);
        out
    }

    /// `text` if it fits whole.
    #[must_use]
    pub fn exact(text: &str) -> Option<Self> {
        (text.len() <= N).then(|| Self::truncated(text))
    }

    /// The text as a string slice.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only whole characters are ever stored, so this cannot fail; an empty text would be the honest answer.
        core::str::from_utf8(&self.bytes[..self.len]).unwrap_or("")
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends one ASCII byte where there is room; `false` where there is none.
    pub(crate) fn push_byte(&mut self, byte: u8) -> bool {
        debug_assert!(byte.is_ascii());
        if self.len == N {
            return false;
        }
        self.bytes[self.len] = byte;
        self.len += 1;
        true
    }

    /// What `fill` writes to a buffer of `N` bytes: it returns the length, and wrote whole characters; `None`: nothing.
    pub(crate) fn filled(fill: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<Self> {
        let mut bytes = [0; N];
        fill(&mut bytes).map(|len| Self { len, bytes })
    }
}

/// Appends as much of `text` as fits, up to the end of a character; `false`: that was not all. Once for all `N`, for the
/// shim's sake.
fn append(to: &mut [u8], length: &mut usize, text: &str) -> bool {
    let mut end = text.len().min(to.len() - *length);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    to[*length..*length + end].copy_from_slice(&text.as_bytes()[..end]);
    *length += end;
    end == text.len()
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> core::fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<const N: usize> PartialEq for Text<N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl<const N: usize> Eq for Text<N> {}

/// Appends as much of `s` as fits, so that `write!` cuts a message instead of failing.
impl<const N: usize> core::fmt::Write for Text<N> {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        append(&mut self.bytes, &mut self.len, s);
        Ok(())
    }
}

#[cfg(feature = "serde")]
impl<const N: usize> serde::Serialize for Text<N> {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

#[cfg(feature = "serde")]
impl<'de, const N: usize> serde::Deserialize<'de> for Text<N> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor<const N: usize>;
        impl<const N: usize> serde::de::Visitor<'_> for Visitor<N> {
            type Value = Text<N>;

            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "a string of at most {N} bytes")
            }

            fn visit_str<E: serde::de::Error>(self, s: &str) -> Result<Text<N>, E> {
                Text::exact(s).ok_or_else(|| E::invalid_length(s.len(), &self))
            }
        }
        d.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::Text;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = Text::<5>::truncated("ab\u{e9}\u{e9}c");
        assert_eq!(text.as_str(), "ab\u{e9}", "the second e-acute does not fit whole");
        assert_eq!(Text::<2>::exact("abc"), None);
    }
}
