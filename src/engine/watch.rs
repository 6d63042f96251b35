//! The objects that `kubectl get --watch -o json` prints, one after another.

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc::Sender;

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// The longest object, in bytes. An API server keeps none above 1.5 MiB (etcd's limit), which indented may become a few times as long.
const OBJECT_MAX: usize = 8 << 20;

/// So many characters are told of what is no object.
const QUOTED: usize = 80;

/// Passes on each object, to the end of them or of whoever listens.
///
/// # Errors
/// What is no object, or too long for one: nothing behind it could be read either.
pub(super) async fn objects(source: impl AsyncRead + Unpin, to: Sender<Value>) -> Result<(), String> {
    objects_up_to(OBJECT_MAX, source, to).await
}

async fn objects_up_to(max: usize, mut source: impl AsyncRead + Unpin, to: Sender<Value>) -> Result<(), String> {
    let mut buffer = Vec::with_capacity(CHUNK);
    while source.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {
        let mut objects = serde_json::Deserializer::from_slice(&buffer).into_iter::<Value>();
        let mut whole = Vec::new();
        let mut taken = 0;
        let broken = loop {
            match objects.next() {
                Some(Ok(object)) => whole.push(object),
                Some(Err(error)) => break !error.is_eof(),
                None => break false,
            }
            taken = objects.byte_offset();
        };
        buffer.drain(..taken);
        for object in whole {
            if to.send(object).await.is_err() {
                return Ok(());
            }
        }
        if broken {
            let begin: String = String::from_utf8_lossy(&buffer).trim_start().chars().take(QUOTED).collect();
            return Err(format!("this is no object: {begin}"));
        }
        if buffer.len() > max {
            return Err(format!("an object of more than {max} bytes"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of this text, read in pieces of so many bytes, and whether all of it was read.
    fn read(text: Vec<u8>, piece: usize) -> (Vec<Value>, Result<(), String>, bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let (reader, mut writer) = tokio::io::duplex(piece);
            let (to, mut seen) = tokio::sync::mpsc::channel(8);
            let write = async move { tokio::io::AsyncWriteExt::write_all(&mut writer, &text).await };
            let (read, written) = tokio::join!(objects_up_to(4 * CHUNK, reader, to), write);
            let mut all = Vec::new();
            while let Some(object) = seen.recv().await {
                all.push(object["type"].clone());
            }
            (all, read, written.is_ok())
        })
    }

    #[test]
    fn objects_come_whole_however_they_are_cut() {
        let text = "{\"type\": \"ADDED\",\n \"object\": {\"a\": 1}}\n{\"type\": \"DELETED\"}\n{\"half\": ";
        let (seen, read, is_whole) = read(text.into(), 7);
        assert_eq!((seen, read, is_whole), (vec!["ADDED".into(), "DELETED".into()], Ok(()), true));
    }

    #[test]
    fn what_is_no_object_ends_it() {
        let (seen, read, _) = read("{\"type\": \"ADDED\"}\n<html>a proxy's own page".into(), 1000);
        assert_eq!((seen, read), (vec!["ADDED".into()], Err("this is no object: <html>a proxy's own page".to_owned())));
    }

    #[test]
    fn an_object_without_an_end_is_not_kept_for_ever() {
        let endless = [b"[\"".to_vec(), vec![b'x'; 8 * CHUNK]].concat();
        let (_, read, is_whole) = read(endless, CHUNK);
        assert!(read.is_err_and(|why| why.contains("more than")) && !is_whole, "the rest is not read");
    }
}
