//! Mailboxes, bells, journal, published state: all that touches the shared volume.

pub mod schema;
