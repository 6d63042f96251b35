//! Tries in a row. Pure.

/// The newest tries that came to the same, as the kubelet counts them (`pkg/kubelet/prober/worker.go` of Kubernetes): a try that
/// differs from the one before begins a new row, and a row that is too short changes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row {
    succeeded: bool,
    length: u32,
}

impl Row {
    /// Counts one try, and returns how many in a row came to the same.
    pub const fn note(&mut self, succeeded: bool) -> u32 {
        let length = if self.succeeded == succeeded { self.length.saturating_add(1) } else { 1 };
        *self = Self { succeeded, length };
        length
    }
}
