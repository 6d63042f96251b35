//! Real sockets, and a coordinator that answers each request with 'done'. The clock stands still while anything is to be
//! done and jumps to the next moment when nothing is, so nobody waits for a time limit.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::*;
use crate::control::{AskError, ask};
use crate::coordinator::asked::Verb;

const CANCEL: &[u8] = b"POST /v1/requests HTTP/1.1\r\nhost: podturn\r\ncontent-length: 17\r\n\r\n{\"verb\":\"cancel\"}";

/// A volume on which somebody answers.
struct Place {
    directory: tempfile::TempDir,
    _control: Control,
}

impl Place {
    fn new(answers: impl Fn(Asked) + Send + 'static) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let volume = Volume::open(directory.path()).expect("a volume");
        let (control, mut questions) = listen(&volume).expect("a socket");
        tokio::spawn(async move {
            while let Some(asked) = questions.recv().await {
                answers(asked);
            }
        });
        Self { directory, _control: control }
    }

    fn friendly() -> Self {
        Self::new(|asked| match asked {
            Asked::Request(_, ask, answer) => {
                answer.send(Told::new(Verdict::Done, format!("{:?}", ask.verb))).unwrap_or(())
            }
            Asked::State(_, answer) => answer.send(Err(Told::new(Verdict::Refused, "none"))).unwrap_or(()),
        })
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.directory.path().join(names::CONTROL)).await.expect("somebody listens")
    }

    async fn ask(&self) -> Result<Told, AskError> {
        ask(self.directory.path(), &Ask { verb: Verb::Pause, step: None, attempt: None }).await
    }
}

fn story(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(story);
}

/// What comes until the server hangs up.
async fn rest(mut stream: UnixStream) -> String {
    let mut said = String::new();
    stream.read_to_string(&mut said).await.expect("the server hangs up");
    said
}

#[test]
fn one_connection_is_one_question() {
    story(async {
        let place = Place::friendly();
        let mut stream = place.connect().await;
        stream.write_all(CANCEL).await.expect("it is read");
        let said = rest(stream).await;
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
        assert!(said.ends_with("{\"result\":\"done\",\"message\":\"Cancel\"}"), "{said}");
        assert_eq!(place.ask().await.expect("an answer").message, "Pause");
    });
}

/// Half a request is answered by nothing but the end of the connection, wherever it was cut.
#[test]
fn half_a_request_has_its_time() {
    for length in [0, 1, 20, CANCEL.len() - 1] {
        story(async {
            let place = Place::friendly();
            let begin = Instant::now();
            let mut stream = place.connect().await;
            stream.write_all(&CANCEL[..length]).await.expect("it is read");
            assert_eq!(rest(stream).await, "", "after {length} bytes");
            assert!(begin.elapsed() >= WITHIN, "it had its time");
        });
    }
}

/// The answer is larger than a socket's buffer, and nobody reads it.
#[test]
fn an_answer_that_nobody_takes_holds_no_place() {
    story(async {
        let long = "x".repeat(8 << 20);
        let place = Place::new(move |asked| {
            if let Asked::Request(_, _, answer) = asked {
                drop(answer.send(Told::new(Verdict::Done, long.clone())));
            }
        });
        let mut stream = place.connect().await;
        stream.write_all(CANCEL).await.expect("it is read");
        sleep(WITHIN).await;
        let said = rest(stream).await;
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n") && said.len() < 8 << 20, "{} bytes", said.len());
    });
}

/// As many as there are places, and as many again: who has something to say is heard at once.
#[test]
fn a_crowd_that_says_nothing_keeps_nobody_out() {
    story(async {
        let place = Place::friendly();
        let mut crowd = Vec::new();
        for _ in 0..2 * CONNECTIONS {
            crowd.push(place.connect().await);
        }
        let begin = Instant::now();
        assert_eq!(place.ask().await.expect("an answer").message, "Pause");
        assert!(begin.elapsed() < WITHIN, "nobody's time had to be over for it");
        assert_eq!(rest(crowd.remove(0)).await, "", "the oldest one gave way");
    });
}

/// All of a crowd is heard, though it is more than have a place: nobody is pushed out before they were listened to.
#[test]
fn a_crowd_that_speaks_at_once_is_heard() {
    story(async {
        let place = Place::friendly();
        let mut crowd = Vec::new();
        for _ in 0..4 * CONNECTIONS {
            let mut stream = place.connect().await;
            stream.write_all(CANCEL).await.expect("it is read");
            crowd.push(stream);
        }
        for stream in crowd {
            assert!(rest(stream).await.starts_with("HTTP/1.1 200 OK\r\n"));
        }
    });
}

/// A frozen coordinator: its socket takes connections, and nobody is behind it.
#[test]
fn whoever_asks_a_coordinator_that_is_stopped_is_told_so() {
    story(async {
        let directory = tempfile::tempdir().expect("a directory");
        let _listener = UnixListener::bind(directory.path().join(names::CONTROL)).expect("a socket");
        let asked = ask(directory.path(), &Ask { verb: Verb::Pause, step: None, attempt: None }).await;
        let error = asked.expect_err("nobody answers").to_string();
        assert!(error.ends_with("has not answered within 10 s: is it stopped (SIGSTOP)?"), "{error}");
    });
}
