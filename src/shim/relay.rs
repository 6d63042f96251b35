//! A pipe in the command's stdout and stderr, for a probe that looks for a text in them. What comes out of it is passed on
//! as it is, and is looked at only until the text was found.

use core::ops::Range;

use crate::Errno;
use crate::calls::{self, Fd, POLL_IN, POLL_OUT, Poll};
use crate::command::MILLISECOND;
use crate::region::Region;

/// As much is passed on at once: `PIPE_BUF`. A pipe that poll(2) calls writable takes it without blocking (pipe(7)).
const CHUNK: usize = 4096;

/// How long the last words of a command that has ended wait for whoever reads them, in ns: well below the time after which
/// the coordinator takes a shim for deaf.
const LAST_WORDS_WITHIN: u64 = 10_000 * MILLISECOND;

/// Both streams.
pub(crate) struct Relay {
    text: &'static [u8],
    streams: [Option<Stream>; 2],
    is_met: bool,
}

struct Stream {
    from: Fd,
    to: Fd,
    window: Window<'static>,
    is_ready: bool,
}

impl Relay {
    /// As much memory does it need, besides twice the text.
    pub(crate) const ROOM: usize = 2 * (CHUNK + size_of::<usize>());

    /// Makes the pipes. Returns their other ends too, for the command's descriptors; those that were closed when
    /// the shim was started stay closed.
    ///
    /// # Errors
    /// Those of pipe(2).
    ///
    /// # Safety
    /// The relay ends before `memory` does.
    #[cold]
    pub(crate) unsafe fn new(text: &'static [u8], memory: &mut Region) -> Result<(Self, [Option<Fd>; 3]), Errno> {
        let mut relay = Self { text, streams: [None, None], is_met: false };
        let mut ends = [None; 3];
        for (at, to) in [Fd(1), Fd(2)].into_iter().enumerate() {
            if calls::is_closed_by_exec(to) {
                continue;
            }
            let buffer: *mut [u8] = memory.take(CHUNK + text.len().saturating_sub(1))?;
            // SAFETY: the caller's promise.
            let buffer = unsafe { &mut *buffer };
            match calls::pipe() {
                Ok((from, end)) => {
                    relay.streams[at] = Some(Stream { from, to, window: Window::new(buffer), is_ready: false });
                    ends[at + 1] = Some(end);
                }
                Err(errno) => {
                    ends.into_iter().flatten().for_each(calls::close);
                    return Err(errno);
                }
            }
        }
        Ok((relay, ends))
    }

    /// What to wait for.
    #[cold]
    pub(crate) fn polls(&self) -> [Poll; 2] {
        [0, 1].map(|at| match &self.streams[at] {
            None => Poll { fd: -1, events: 0, happened: 0 },
            Some(stream) if stream.window.unsent().is_empty() => {
                Poll { fd: stream.from.0, events: POLL_IN, happened: 0 }
            }
            Some(stream) => Poll { fd: stream.to.0, events: POLL_OUT, happened: 0 },
        })
    }

    /// What came of it. `true`: there is something to pass on.
    #[cold]
    pub(crate) fn note(&mut self, polls: &[Poll]) -> bool {
        let mut any = false;
        for (stream, poll) in self.streams.iter_mut().zip(polls) {
            if let Some(stream) = stream {
                stream.is_ready = poll.happened != 0;
                any |= stream.is_ready;
            }
        }
        any
    }

    /// Whether the text was found.
    pub(crate) fn is_met(&self) -> bool {
        self.is_met
    }

    /// Passes on what can be passed on without waiting.
    #[cold]
    pub(crate) fn pass_on(&mut self) {
        for place in &mut self.streams {
            let Some(stream) = place.as_mut().filter(|stream| stream.is_ready) else { continue };
            let text = if self.is_met { b"" } else { self.text };
            match stream.step(text) {
                Ok(is_met) => self.is_met |= is_met,
                // Its end, or nobody reads any more: then the command is to learn that from its next write.
                Err(_) => {
                    calls::close(stream.from);
                    *place = None;
                }
            }
        }
    }

    /// Passes on what is left, for a while. `false`: nobody took it.
    #[cold]
    pub(crate) fn finish(&mut self) -> bool {
        let until = calls::boot_time().saturating_add(LAST_WORDS_WITHIN);
        loop {
            let is_sending = self.streams.iter().flatten().any(|stream| !stream.window.unsent().is_empty());
            let left = until.saturating_sub(calls::boot_time());
            let mut polls = self.polls();
            calls::poll(&mut polls, Some(if is_sending { left } else { 0 }));
            if !self.note(&polls) || left == 0 {
                return !is_sending;
            }
            self.pass_on();
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.streams.iter().flatten().for_each(|stream| calls::close(stream.from));
    }
}

impl Stream {
    /// One read, or one write. Returns whether the text was found.
    fn step(&mut self, text: &[u8]) -> Result<bool, Errno> {
        if self.window.unsent().is_empty() {
            return match calls::read(self.from, self.window.room(text))? {
                0 => Err(Errno::ECONNRESET),
                length => Ok(self.window.handle_read(length, text)),
            };
        }
        match calls::write(self.to, self.window.unsent()) {
            Ok(sent) => self.window.handle_sent(sent),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        Ok(false)
    }
}

/// The newest part of a stream: what was read and not yet sent, and before it as much as a text could have begun with.
struct Window<'a> {
    buffer: &'a mut [u8],
    unsent: Range<usize>,
}

impl<'a> Window<'a> {
    fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, unsent: 0..0 }
    }

    /// Where to read to, once everything was sent.
    fn room(&mut self, text: &[u8]) -> &mut [u8] {
        let kept = self.unsent.end.min(text.len().saturating_sub(1));
        self.buffer.copy_within(self.unsent.end - kept..self.unsent.end, 0);
        self.unsent = kept..kept;
        let end = self.buffer.len().min(kept + CHUNK);
        &mut self.buffer[kept..end]
    }

    /// As much was read there. Returns whether the text has come; an empty one is not looked for.
    fn handle_read(&mut self, length: usize, text: &[u8]) -> bool {
        self.unsent.end += length;
        !text.is_empty() && contains(&self.buffer[..self.unsent.end], text)
    }

    fn unsent(&self) -> &[u8] {
        &self.buffer[self.unsent.clone()]
    }

    fn handle_sent(&mut self, length: usize) {
        self.unsent.start += length;
    }
}

fn contains(mut stream: &[u8], text: &[u8]) -> bool {
    while let Some(at) = stream.iter().position(|byte| Some(byte) == text.first()) {
        if stream[at..].starts_with(text) {
            return true;
        }
        stream = &stream[at + 1..];
    }
    false
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    /// Sends the chunks through a window, one byte of each write, and returns what came out and in which chunk the text was.
    fn through(chunks: &[&[u8]], text: &[u8]) -> (Vec<u8>, Option<usize>) {
        let mut buffer = std::vec![0; CHUNK + text.len().saturating_sub(1)];
        let mut window = Window::new(&mut buffer);
        let (mut out, mut found) = (Vec::new(), None);
        for (at, chunk) in chunks.iter().enumerate() {
            let looked_for = if found.is_some() { b"" } else { text };
            window.room(looked_for)[..chunk.len()].copy_from_slice(chunk);
            if window.handle_read(chunk.len(), looked_for) {
                found = Some(at);
            }
            while let Some(byte) = window.unsent().first().copied() {
                out.push(byte);
                window.handle_sent(1);
            }
        }
        (out, found)
    }

    #[test]
    fn a_text_is_found_wherever_the_chunks_are_cut() {
        let stream = b"aready\nrearready to serve\n";
        for cut in 0..stream.len() {
            for cut2 in cut..stream.len() {
                let chunks = [&stream[..cut], &stream[cut..cut2], &stream[cut2..]];
                let (out, found) = through(&chunks, b"ready to");
                assert_eq!(out, stream, "everything is passed on once");
                let end = stream.len() - b" serve\n".len() + 1; // of the text
                let chunk = if cut >= end - 1 {
                    0
                } else if cut2 >= end - 1 {
                    1
                } else {
                    2
                };
                assert_eq!(found, Some(chunk), "cut at {cut} and {cut2}");
            }
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        assert_eq!(through(&[b"rea", b"\ndy"], b"ready").1, None, "not across the end of a line");
        assert_eq!(through(&[b"", b"read"], b"ready").1, None);
        assert_eq!(through(&[b"aab", b"aaab"], b"aaab").1, Some(1));
        assert_eq!(through(&[b"xyz"], b"z").1, Some(0));
    }

    #[test]
    fn a_whole_chunk_fits_behind_what_is_kept() {
        let long = [b'x'; CHUNK];
        let (out, found) = through(&[&long, &long, b"end"], b"xend");
        assert_eq!((out.len(), found), (2 * CHUNK + 3, Some(2)));
    }
}
