//! The objects that `kubectl get --watch -o json` prints, one after another.

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc::Sender;

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// Passes on each object, to the end of them or of whoever listens.
pub(super) async fn objects(mut source: impl AsyncRead + Unpin, to: Sender<Value>) {
    let mut buffer = Vec::with_capacity(CHUNK);
    while source.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {
        let mut objects = serde_json::Deserializer::from_slice(&buffer).into_iter::<Value>();
        let mut whole = Vec::new();
        let mut taken = 0;
        while let Some(Ok(object)) = objects.next() {
            whole.push(object);
            taken = objects.byte_offset();
        }
        buffer.drain(..taken);
        for object in whole {
            if to.send(object).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_come_whole_however_they_are_cut() {
        let text = "{\"type\": \"ADDED\",\n \"object\": {\"a\": 1}}\n{\"type\": \"DELETED\"}\n{\"half\": ";
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let seen = runtime.block_on(async {
            let (reader, mut writer) = tokio::io::duplex(7);
            let (to, mut seen) = tokio::sync::mpsc::channel(8);
            let write = async move { tokio::io::AsyncWriteExt::write_all(&mut writer, text.as_bytes()).await };
            let (_, written) = tokio::join!(objects(reader, to), write);
            written.expect("it is read");
            let mut all = Vec::new();
            while let Some(object) = seen.recv().await {
                all.push(object["type"].clone());
            }
            all
        });
        assert_eq!(seen, ["ADDED", "DELETED"]);
    }
}
