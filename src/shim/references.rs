//! The references in a container's words: which there are, and what a word becomes with their values. Pure, but for the
//! grammar, which is the wire's.

use podturn_wire::reference::{Piece, pieces};
use podturn_wire::{REFERENCES_MAX, Strings};

use crate::Errno;

/// The longest argument or variable in bytes, with its NUL: `MAX_ARG_STRLEN` of execve(2).
pub(crate) const WORD_MAX: usize = 128 * 1024;

/// The distinct references of some words.
pub(crate) struct References {
    /// Each with a NUL behind it.
    names: [u8; REFERENCES_MAX],
    length: usize,
    count: usize,
    is_too_long: bool,
    /// Some word has to be changed, be it only for an escape.
    is_marked: bool,
}

impl References {
    pub(crate) const fn new() -> Self {
        Self { names: [0; _], length: 0, count: 0, is_too_long: false, is_marked: false }
    }

    /// Takes those of another word in.
    pub(crate) fn note(&mut self, word: &[u8]) {
        if is_marked(word) {
            self.note_marked(word);
        }
    }

    #[cold]
    #[inline(never)]
    fn note_marked(&mut self, word: &[u8]) {
        self.is_marked = true;
        for piece in pieces(word) {
            let Piece::Reference(name) = piece else { continue };
            if self.place(name).is_none() {
                self.add(name);
            }
        }
    }

    #[cold]
    fn add(&mut self, name: &str) {
        match self.names.get_mut(self.length..=self.length + name.len()) {
            Some(place) => {
                place[..name.len()].copy_from_slice(name.as_bytes());
                place[name.len()] = 0;
                self.length += name.len() + 1;
                self.count += 1;
            }
            None => self.is_too_long = true,
        }
    }

    /// Whether some word has to be changed before it is used.
    pub(crate) fn is_marked(&self) -> bool {
        self.is_marked
    }

    /// How many there are.
    ///
    /// # Errors
    /// `E2BIG` when they are too many to be listed.
    pub(crate) fn count(&self) -> Result<usize, Errno> {
        if self.is_too_long { Err(Errno::E2BIG) } else { Ok(self.count) }
    }

    /// As the report lists them; none when they are too many.
    pub(crate) fn list(&self) -> Strings<'_> {
        match core::str::from_utf8(&self.names[..self.length]) {
            Ok(names) if !self.is_too_long => Strings::joined(names),
            _ => Strings::default(),
        }
    }

    /// Its place in the list.
    #[cold]
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        let known = self.names[..self.length].split(|byte| *byte == 0).take(self.count);
        known.into_iter().position(|known| known == name.as_bytes())
    }
}

/// Whether the word does not stay as it is.
pub(crate) fn is_marked(word: &[u8]) -> bool {
    word.windows(2).any(|pair| pair == b"$(") && is_changed(word)
}

#[cold]
#[inline(never)]
fn is_changed(word: &[u8]) -> bool {
    match pieces(word).next() {
        Some(Piece::Plain(plain)) => plain.len() != word.len(),
        Some(Piece::Reference(_)) => true,
        None => false,
    }
}

/// Gives the pieces of the word to `take`, with the values in the place of references. Values are not looked through.
///
/// # Errors
/// `ENODATA` when a reference has no value; `E2BIG` when the result is longer than the kernel takes; those of `take`.
pub(crate) fn expand<'v>(
    word: &[u8],
    value: impl Fn(&str) -> Option<&'v [u8]>,
    mut take: impl FnMut(&[u8]) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut length = 1;
    for piece in pieces(word) {
        let text = match piece {
            Piece::Plain(text) => text,
            Piece::Reference(name) => value(name).ok_or(Errno::ENODATA)?,
        };
        length += text.len();
        if length > WORD_MAX {
            return Err(Errno::E2BIG);
        }
        take(text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    use super::*;

    fn of(words: &[&str]) -> References {
        let mut references = References::new();
        words.iter().for_each(|word| references.note(word.as_bytes()));
        references
    }

    fn expanded(word: &str, value: &str) -> Result<String, Errno> {
        let mut out = Vec::new();
        expand(
            word.as_bytes(),
            |_| Some(value.as_bytes()),
            |text| {
                out.extend_from_slice(text);
                Ok(())
            },
        )?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn each_reference_is_listed_once_in_the_order_of_the_words() {
        let references = of(&["make", "V=$(steps.a.phase)$(plan.outcome)", "$(steps.a.phase)", "$(steps.a.phase:-x)"]);
        assert_eq!(references.list(), Strings::new(&["steps.a.phase", "plan.outcome", "steps.a.phase:-x"]));
        assert_eq!(references.count(), Ok(3));
        assert_eq!(references.place("plan.outcome"), Some(1));
        assert_eq!(references.place("plan.out"), None);
        assert_eq!(references.place(""), None);
    }

    #[test]
    fn words_without_references_need_nothing() {
        let references = of(&["sh", "-c", "echo $$ $(date) $HOME"]);
        assert!(!references.is_marked());
        assert!(references.list().is_empty());
        let escaped = of(&["$$(plan.outcome)"]);
        assert!(escaped.is_marked() && escaped.list().is_empty(), "it has to be changed, but needs no value");
    }

    #[test]
    fn too_many_references_are_an_error_and_not_a_part_of_them() {
        let words: Vec<String> = (0..1000).map(|n| format!("$(steps.step-{n}.phase)")).collect();
        let references = of(&words.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(references.count(), Err(Errno::E2BIG));
        assert!(references.list().is_empty());
    }

    #[test]
    fn values_are_put_in_once_and_not_looked_through() {
        assert_eq!(expanded("a $(plan.outcome) b", "$(steps.x.phase)").as_deref(), Ok("a $(steps.x.phase) b"));
        assert_eq!(expanded("$$(plan.outcome)", "x").as_deref(), Ok("$(plan.outcome)"));
        assert_eq!(expanded("$(plan.outcome)", "").as_deref(), Ok(""));
    }

    #[test]
    fn a_word_may_be_as_long_as_the_kernel_takes() {
        let longest = "x".repeat(WORD_MAX - 2);
        assert_eq!(expanded("-$(plan.outcome)", &longest).map(|word| word.len()), Ok(WORD_MAX - 1));
        assert_eq!(expanded("-$(plan.outcome)", &format!("{longest}x")), Err(Errno::E2BIG));
        let nothing = expand(b"$(plan.outcome)", |_| None, |_| Ok(()));
        assert_eq!(nothing, Err(Errno::ENODATA));
    }
}
