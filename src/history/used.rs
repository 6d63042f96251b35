//! What an attempt used: in all, and of a core piece by piece.
//!
//! What its shim said at the end is exact; of how that was shared out there are samples, and of the last moments nobody's word.

use super::{AttemptHistory, Moment};
use crate::volume::usage::Peaks;

/// A piece of time shorter than this says nothing about a rate, in ns: `/proc` counts in ticks of 10 ms.
pub const SHORT: u64 = 200_000_000;

/// A level that held from one moment to another, both in ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// From here,
    pub from: u64,
    /// to here.
    pub to: u64,
    /// How much.
    pub level: u64,
}

impl Piece {
    /// How long, in ns.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.to - self.from
    }
}

impl AttemptHistory {
    /// How long it ran, in ns. `end`: up to when one that goes on is told.
    #[must_use]
    pub fn length(&self, end: Moment) -> u64 {
        self.ended.unwrap_or(end).saturating_sub(self.begun)
    }

    /// The most of its samples.
    #[must_use]
    pub fn peaks(&self) -> Peaks {
        let mut peaks = Peaks::default();
        self.samples.iter().for_each(|sample| peaks.add(sample));
        peaks
    }

    /// Its processor time, in ms.
    #[must_use]
    pub fn cpu_time(&self) -> u64 {
        self.peaks().cpu_ms.max(self.end.map_or(0, |end| end.usage.cpu))
    }

    /// The most memory, in KiB: the largest sum; of a moment that nobody looked at, that of the largest process. 0: nobody knows.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let peaks = self.peaks();
        peaks.rss_kib.max(peaks.max_rss_kib).max(self.end.map_or(0, |end| end.usage.max_rss))
    }

    /// Processor time in time, from its begin on, in thousandths of a core. No piece is short, unless the whole attempt is.
    #[must_use]
    pub fn rates(&self, end: Moment) -> Vec<Piece> {
        let length = self.length(end);
        let (mut at, mut cpu) = (0, 0);
        let mut rates = Vec::new();
        for sample in &self.samples {
            let to = sample.after_ms.saturating_mul(1_000_000).min(length);
            if to.saturating_sub(at) >= SHORT {
                let level = thousandths(sample.cpu_ms.saturating_sub(cpu), to - at);
                rates.push(Piece { from: at, to, level });
                (at, cpu) = (to, cpu.max(sample.cpu_ms));
            }
        }
        if let Some(told) = self.end
            && (length - at >= SHORT || rates.is_empty())
        {
            let level = thousandths(told.usage.cpu.saturating_sub(cpu), length - at);
            rates.push(Piece { from: at, to: length, level });
        }
        rates
    }
}

/// Of a core: ms of processor time in ns.
#[must_use]
pub fn thousandths(cpu: u64, ran: u64) -> u64 {
    u64::try_from(u128::from(cpu) * 1_000_000_000 / u128::from(ran.max(1))).unwrap_or(u64::MAX)
}
