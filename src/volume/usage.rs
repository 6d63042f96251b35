//! `usage.jsonl`: what attempts used while they ran, one sample a line. Nothing is decided by it, so it may have gaps.
//!
//! Belongs here: the form of a sample (schema `usage`), how the file is kept small, and that it leaves room for what counts.
//! Does not belong here: measuring, and when.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};

use nix::sys::statvfs::fstatvfs;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};

use super::{Volume, VolumeError};

/// The file's name.
pub const USAGE: &str = "usage.jsonl";

/// The file gets no longer than this, in bytes.
const LENGTH_MOST: u64 = 1 << 20;

/// Each time that the file has grown by this many bytes, samples become half as frequent.
const LENGTH_DENSE: u64 = 128 << 10;

/// So much of the volume stays free for turns and the journal: an eighth of it, or this many bytes.
const ROOM: u64 = 16 << 20;

/// What an attempt used, up to some moment of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(title = "a line of usage.jsonl")]
pub struct Sample {
    /// Whose.
    pub step: String,
    /// The number of the attempt.
    pub attempt: u32,
    /// How long it had run, in ms.
    pub after_ms: u64,
    /// Processor time of its processes so far, user and system, in ms.
    pub cpu_ms: u64,
    /// The largest sum of their resident sets since the sample before, in KiB. What they share is counted for each.
    pub rss_kib: u64,
    /// The largest resident set that one of them ever had, in KiB.
    pub max_rss_kib: u64,
    /// The most processes at once since the sample before.
    pub processes: u32,
    /// Bytes that they had fetched from storage; absent: the coordinator may not look (another user's processes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_bytes: Option<u64>,
    /// Bytes that they had sent to storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_bytes: Option<u64>,
}

/// The most of an attempt's samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peaks {
    /// Processor time, in ms.
    pub cpu_ms: u64,
    /// The largest sum of resident sets, in KiB.
    pub rss_kib: u64,
    /// The largest resident set of one process, in KiB.
    pub max_rss_kib: u64,
    /// The most processes at once.
    pub processes: u32,
    /// Bytes fetched from storage.
    pub read_bytes: Option<u64>,
    /// Bytes sent to storage.
    pub write_bytes: Option<u64>,
}

impl Peaks {
    /// Takes one more sample into account.
    pub fn add(&mut self, sample: &Sample) {
        self.cpu_ms = self.cpu_ms.max(sample.cpu_ms);
        self.rss_kib = self.rss_kib.max(sample.rss_kib);
        self.max_rss_kib = self.max_rss_kib.max(sample.max_rss_kib);
        self.processes = self.processes.max(sample.processes);
        self.read_bytes = self.read_bytes.max(sample.read_bytes);
        self.write_bytes = self.write_bytes.max(sample.write_bytes);
    }
}

/// The JSON Schema of one line of `usage.jsonl`.
#[must_use]
pub fn usage_schema() -> Schema {
    schema_for!(Sample)
}

/// The samples of a run. A line that is damaged, or still being written, is passed over.
#[must_use]
pub fn read(volume: &Volume) -> Vec<Sample> {
    parse(&fs::read(volume.path().join(USAGE)).unwrap_or_default())
}

fn parse(bytes: &[u8]) -> Vec<Sample> {
    bytes.split_inclusive(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// The file, open for appending.
#[derive(Debug)]
pub struct UsageFile {
    file: File,
    length: u64,
    /// Its length before the newest samples.
    before: u64,
}

impl UsageFile {
    /// Opens the file, and reads what an earlier coordinator left there. A last line without its newline is cut off.
    ///
    /// # Errors
    /// When it cannot be opened or cut.
    pub fn open(volume: &Volume) -> Result<(Self, Vec<Sample>), VolumeError> {
        let path = volume.path().join(USAGE);
        let failed = |error: io::Error| VolumeError::new("cannot open", &path, error);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other.map_err(failed)?,
        };
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut options = File::options();
        let mut file = options.create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        file.set_len(whole as u64).and_then(|()| file.seek(SeekFrom::Start(whole as u64))).map_err(failed)?;
        Ok((Self { file, length: whole as u64, before: whole as u64 }, parse(&bytes[..whole])))
    }

    /// By how much samples should be less frequent than at first.
    #[must_use]
    pub fn thinning(&self) -> u64 {
        1 << (self.length / LENGTH_DENSE)
    }

    /// Appends samples; all or none. `false`: they are dropped, since the file is long enough, or the volume nearly full.
    pub fn append(&mut self, samples: &[Sample]) -> bool {
        let mut lines = Vec::with_capacity(samples.len() * 128);
        for sample in samples {
            if serde_json::to_writer(&mut lines, sample).is_err() {
                return false;
            }
            lines.push(b'\n');
        }
        if self.length + lines.len() as u64 > LENGTH_MOST || !self.has_room() {
            return false;
        }
        self.before = self.length;
        if self.file.write_all(&lines).is_err() {
            self.take_back();
            return false;
        }
        self.length += lines.len() as u64;
        true
    }

    /// Takes the newest samples back.
    pub fn take_back(&mut self) {
        let _ = self.file.set_len(self.before).and_then(|()| self.file.seek(SeekFrom::Start(self.before)));
        self.length = self.before;
    }

    fn has_room(&self) -> bool {
        fstatvfs(&self.file).is_ok_and(|volume| {
            let unit = volume.fragment_size();
            let (all, free) = (volume.blocks() * unit, volume.blocks_available() * unit);
            free >= ROOM.min(all / 8)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(after_ms: u64) -> Sample {
        Sample {
            step: "build".to_owned(),
            attempt: 1,
            after_ms,
            cpu_ms: after_ms / 2,
            rss_kib: 4096,
            max_rss_kib: 4096,
            processes: 1,
            read_bytes: None,
            write_bytes: None,
        }
    }

    fn volume() -> (tempfile::TempDir, Volume) {
        let directory = tempfile::tempdir().expect("a directory");
        let volume = Volume::open(directory.path()).expect("it is there");
        (directory, volume)
    }

    #[test]
    fn a_coordinator_goes_on_where_a_killed_one_stopped_in_the_middle_of_a_line() {
        let (_directory, volume) = volume();
        let (mut file, before) = UsageFile::open(&volume).expect("it can be made");
        assert!(before.is_empty() && file.append(&[sample(1_000), sample(2_000)]));
        drop(file);
        let path = volume.path().join(USAGE);
        let length = fs::metadata(&path).expect("it is there").len();
        File::options().write(true).open(&path).and_then(|file| file.set_len(length - 5)).expect("it is cut");
        assert_eq!(read(&volume), [sample(1_000)], "whoever only looks on");
        let (mut file, before) = UsageFile::open(&volume).expect("it can be opened");
        assert_eq!(before, [sample(1_000)]);
        assert!(file.append(&[sample(3_000)]));
        assert_eq!(read(&volume), [sample(1_000), sample(3_000)]);
    }

    #[test]
    fn the_file_has_an_end_and_samples_get_rarer_before_it() {
        let (_directory, volume) = volume();
        let (mut file, _) = UsageFile::open(&volume).expect("it can be made");
        assert_eq!(file.thinning(), 1);
        let many: Vec<Sample> = (0..100).map(|second| sample(second * 1_000)).collect();
        while file.append(&many) {}
        assert_eq!(file.thinning(), 128);
        let length = fs::metadata(volume.path().join(USAGE)).expect("it is there").len();
        assert!(length <= LENGTH_MOST && length > LENGTH_MOST - 20_000, "{length}");
    }
}
