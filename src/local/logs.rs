//! What the containers say, as whole lines, without loss and without end.

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;

use podturn_turn::ORDINARY_SUCCESS;

use crate::volume::published::State;

/// A line that is longer is told in parts, as the kubelet does (16 KiB, CRI log format).
pub(super) const LINE_MAX: usize = 16 * 1024;

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// More than podturn's own init container says about any plan.
const HELD_MAX: u64 = 4 << 20;

/// Something to show.
#[derive(Debug)]
pub enum Message {
    /// Whole lines of a container, each with its newline.
    Lines {
        /// The container's name.
        container: String,
        /// Where it said it.
        stream: Stream,
        /// What.
        text: Vec<u8>,
    },
    /// The published state has changed.
    State(Box<State>),
    /// Something that podturn itself has to say.
    Note(String),
}

/// Which of a container's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
    /// Both, where they are kept as one log.
    Both,
}

/// Passes on what `source` says until nobody can say anything more. A full channel makes the container wait. The last line
/// on stderr is left out if it is a shim's word of an ordinary success: it would be every second line of a run that goes
/// well, and the table at the end says it again.
pub async fn follow(container: String, stream: Stream, mut source: impl AsyncRead + Unpin, to: Sender<Message>) {
    let mut buffer = Vec::with_capacity(CHUNK);
    let mut held = false;
    loop {
        let end = source.read_buf(&mut buffer).await.unwrap_or(0) == 0;
        while let Some(mut text) = take_lines(&mut buffer, end) {
            if stream != Stream::Out {
                held = hold_last_word(&mut text, held);
            }
            if text.is_empty() {
                continue;
            }
            let message = Message::Lines { container: container.clone(), stream, text };
            if to.send(message).await.is_err() {
                buffer.clear(); // nobody reads any more: the container must not notice
            }
        }
        if end {
            return;
        }
    }
}

/// Takes the word of an ordinary success off the end of `text`, and puts back what was taken off before it: then that was
/// not the last line. Returns whether it took something.
fn hold_last_word(text: &mut Vec<u8>, held: bool) -> bool {
    let word = [ORDINARY_SUCCESS.as_bytes(), b"\n"].concat();
    if held {
        text.splice(..0, word.iter().copied());
    }
    let Some(before) = text.strip_suffix(word.as_slice()) else { return false };
    let at = before.len();
    let is_line = at == 0 || before.ends_with(b"\n");
    if is_line {
        text.truncate(at);
    }
    is_line
}

/// Passes on what `source` has said once its container has ended, and only if it has failed.
pub(super) async fn follow_if(
    failed: oneshot::Receiver<bool>,
    container: String,
    source: Option<impl AsyncRead + Unpin>,
    to: Sender<Message>,
) {
    let mut text = Vec::new();
    if let Some(source) = source {
        let _ = source.take(HELD_MAX).read_to_end(&mut text).await;
    }
    if failed.await.unwrap_or(true) {
        follow(container, Stream::Err, text.as_slice(), to).await;
    }
}

/// Takes what can be told now: whole lines; at the end, or if it is too long, the beginning of one as well.
fn take_lines(buffer: &mut Vec<u8>, end: bool) -> Option<Vec<u8>> {
    let whole = buffer.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if whole > 0 {
        return Some(buffer.drain(..whole).collect());
    }
    if buffer.is_empty() || !(end || buffer.len() >= LINE_MAX) {
        return None;
    }
    let mut text: Vec<u8> = buffer.drain(..buffer.len().min(LINE_MAX)).collect();
    text.push(b'\n');
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &[u8], end: bool) -> Vec<Vec<u8>> {
        let mut buffer = text.to_vec();
        std::iter::from_fn(|| take_lines(&mut buffer, end)).collect()
    }

    #[test]
    fn lines_are_told_whole_and_the_last_one_at_the_end() {
        assert_eq!(taken(b"one\ntwo\nthr", false), [b"one\ntwo\n".to_vec()]);
        assert_eq!(taken(b"one\ntwo\nthr", true), [b"one\ntwo\n".to_vec(), b"thr\n".to_vec()]);
        assert!(taken(b"thr", false).is_empty());
    }

    /// What is shown of a stderr that comes in these pieces.
    fn shown(pieces: &[&str]) -> String {
        let (mut held, mut shown) = (false, String::new());
        for piece in pieces {
            let mut text = piece.as_bytes().to_vec();
            held = hold_last_word(&mut text, held);
            shown.push_str(&String::from_utf8(text).expect("UTF-8"));
        }
        shown
    }

    #[test]
    fn the_word_of_an_ordinary_success_is_left_out_where_it_is_the_last_line_and_only_there() {
        let word = &format!("{ORDINARY_SUCCESS}\n");
        let table: [(&[&str], &str); 6] = [
            (&[word], ""),
            (&["one\n", word], "one\n"),
            (&[&format!("one\n{word}")], "one\n"),
            (&[&format!("not {word}")], &format!("not {word}")),
            (&[word, "two\n"], &format!("{word}two\n")),
            (&[word, word], word), // the command's own, and the shim's
        ];
        for (pieces, wanted) in table {
            assert_eq!(shown(pieces), wanted, "{pieces:?}");
        }
    }

    #[test]
    fn a_line_without_end_is_told_in_parts() {
        let parts = taken(&[b'x'; LINE_MAX * 2 + 1], false);
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [LINE_MAX + 1, LINE_MAX + 1]);
    }
}
