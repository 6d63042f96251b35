//! What a failed connection says in its chain of causes.
//!
//! Belongs here: finding the cause that a person can do something about. Does not belong here: what they should do.

use std::error::Error;
use std::io;
use std::sync::Once;

/// Why no answer came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The server's certificate is not trusted, or is another host's: what TLS says of it.
    Certificate(String),
    /// The server does not speak TLS.
    Plain,
    /// Nothing listens there, the host is not known, and so on.
    Connection(String),
}

/// Chooses the one implementation of cryptography that is built in, once a process.
pub(super) fn initialise() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Somebody else may have chosen one before; then that is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// Looks for the cause of an error.
pub(super) fn cause(error: &(dyn Error + 'static)) -> Cause {
    let mut at = error;
    loop {
        if let Some(error) = at.downcast_ref::<rustls::Error>() {
            return tls_cause(error);
        }
        // What an io::Error holds is not its source: its source is that of what it holds.
        let inner = at.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| at.source()) {
            Some(next) => at = next,
            None => return Cause::Connection(at.to_string()),
        }
    }
}

fn tls_cause(error: &rustls::Error) -> Cause {
    match error {
        rustls::Error::InvalidMessage(_) => Cause::Plain,
        other => Cause::Certificate(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{Cause, cause};

    #[test]
    fn the_cause_is_found_however_deep_it_is() {
        let wrapped = io::Error::other(io::Error::other(rustls::Error::InvalidMessage(
            rustls::InvalidMessage::InvalidContentType,
        )));
        assert_eq!(cause(&wrapped), Cause::Plain);
        let expired = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        assert!(matches!(cause(&io::Error::other(expired)), Cause::Certificate(_)));
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(cause(&refused), Cause::Connection("connection refused".to_owned()));
    }
}
