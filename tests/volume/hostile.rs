//! Whatever a step puts into its own `out/` is told from a report, at once, and harms nobody else.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;
use podturn_wire::{InstanceId, LISTING_REPORT_MAX, REPORT_MAX, Report, RunId, names};

use crate::house::{BUILD, House, STEPS};

/// A generous limit: a read that waits for the step is the failure that it is to find.
const LIMIT: Duration = Duration::from_secs(30);

fn report(seq: u64) -> Report {
    Report {
        run: RunId(1),
        instance: InstanceId(2),
        seq,
        turn: 0,
        attempt: None,
        started_at: None,
        ended: None,
        ready_at: None,
        not_ready_at: None,
        stop_signal: None,
        pid: 42,
        last: None,
    }
}

fn bytes(report: &Report) -> Vec<u8> {
    let mut buffer = [0; REPORT_MAX];
    let length = report.write(&mut buffer).expect("it fits");
    buffer[..length].to_vec()
}

/// From here on openat2(2) is unknown to this thread, as it is to a kernel before 5.6 and to old seccomp profiles.
fn forget_openat2() {
    let refuse = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    let step = |code: u32, jf, k| libc::sock_filter { code: code as u16, jt: 0, jf, k };
    let mut filter = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0), // the number of the call: seccomp(2)
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, libc::SYS_openat2 as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, refuse),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    prctl::set_no_new_privs().expect("prctl(2)");
    // SAFETY: the program outlives the call, and the kernel only reads it.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    Errno::result(result).expect("a filter of this thread");
}

/// What the coordinator says of a mailbox in which `put` made the report: the same, whether the kernel knows openat2(2) or
/// not.
fn told(put: impl Fn(&Path)) -> Result<Option<Report>, String> {
    let before = told_by(&put, forget_openat2);
    let now = told_by(&put, || ());
    assert_eq!(before, now, "without openat2(2) it is the same");
    now
}

fn told_by(put: impl FnOnce(&Path), prepare: fn()) -> Result<Option<Report>, String> {
    let house = House::new();
    let mailboxes = house.mailboxes();
    put(&house.path("steps/build/out").join(names::REPORT));
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        prepare();
        let told = mailboxes.read_report(BUILD).map_err(|spoilt| spoilt.to_string());
        let others = STEPS[1..].iter().all(|step| matches!(mailboxes.read_report(*step), Ok(None)));
        sender.send((told, others)).expect("the test waits");
    });
    let (told, others) = receiver.recv_timeout(LIMIT).expect("reading must not wait for the step");
    assert!(others, "other steps are not touched by it");
    told
}

fn refused(put: impl Fn(&Path), word: &str) {
    let words = told(put).expect_err(word);
    assert!(words.contains(word), "{words:?} does not say {word:?}");
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("our own directory");
}

#[test]
fn a_report_is_read_and_none_is_none() {
    assert_eq!(told(|path| write(path, &bytes(&report(7)))), Ok(Some(report(7))));
    assert_eq!(told(|_| ()), Ok(None));
}

#[test]
fn what_is_no_regular_file_is_refused() {
    refused(|path| symlink("/etc/passwd", path).expect("a link"), "link");
    refused(|path| symlink(path.with_file_name("nowhere"), path).expect("a link"), "link");
    refused(|path| mkfifo(path, Mode::from_bits_truncate(0o666)).expect("a FIFO"), "not a regular file");
    refused(|path| fs::create_dir(path).expect("a directory"), "not a regular file");
    refused(|path| drop(UnixListener::bind(path).expect("a socket")), "cannot be opened");
}

#[test]
fn a_device_is_refused() {
    let made = Cell::new(true);
    let told = told(|path| {
        let mode = Mode::from_bits_truncate(0o666);
        made.set(mknod(path, SFlag::S_IFCHR, mode, makedev(1, 5)).is_ok()); // null(4): an endless file of zeros
    });
    if !made.get() {
        println!("SKIPPED: this user may not make a device");
        return;
    }
    told.expect_err("a device is no report");
}

/// A link whose target is a whole report, and `out/outputs` as a link to somewhere else.
#[test]
fn a_link_to_a_right_report_is_refused_too() {
    refused(
        |path| {
            let real = path.with_file_name("real.json");
            write(&real, &bytes(&report(1)));
            symlink("real.json", path).expect("a link");
        },
        "link",
    );
}

#[test]
fn what_is_no_report_is_refused_in_words() {
    let whole = bytes(&report(1));
    refused(
        |path| {
            let mut file = File::create(path).expect("our own directory");
            file.seek(SeekFrom::Start(1 << 30)).expect("a hole costs nothing");
            file.write_all(b"}").expect("one block");
        },
        "longer than the protocol allows",
    );
    refused(
        |path| write(path, &[&whole[..], &vec![b' '; LISTING_REPORT_MAX]].concat()),
        "longer than the protocol allows",
    );
    let foreign = String::from_utf8_lossy(&whole).replace("\"version\":1", "\"version\":2");
    refused(|path| write(path, foreign.as_bytes()), "version 2");
    refused(|path| write(path, b"{\"version\":1}"), "missing or wrong");
    refused(|path| write(path, &[0xff; 100]), "no report");
}

#[test]
fn a_report_that_was_cut_anywhere_is_none() {
    let (house, whole) = (House::new(), bytes(&report(1)));
    let mailboxes = house.mailboxes();
    for end in 0..whole.trim_ascii_end().len() {
        write(&house.path("steps/build/out/report.json"), &whole[..end]);
        let told = mailboxes.read_report(BUILD).map_err(|spoilt| spoilt.to_string());
        assert!(told.as_ref().is_err_and(|words| words.contains("no report")), "cut at {end}: {told:?}");
    }
}

/// A shim that writes as fast as it can: each read finds one whole report, and never an older one than before.
#[test]
fn a_report_that_is_renamed_while_it_is_read_is_whole() {
    let house = House::new();
    let mailboxes = house.mailboxes();
    let out = house.path("steps/build/out");
    let put = move |seq| {
        write(&out.join(names::REPORT_TEMPORARY), &bytes(&report(seq)));
        fs::rename(out.join(names::REPORT_TEMPORARY), out.join(names::REPORT)).expect("our own directory");
    };
    put(1);
    let done = Arc::new(AtomicBool::new(false));
    let writer = thread::spawn({
        let done = Arc::clone(&done);
        move || (2..).take_while(|_| !done.load(Ordering::Relaxed)).for_each(put)
    });
    let mut newest = 0;
    for _ in 0..2000 {
        let seq = mailboxes.read_report(BUILD).expect("a report").expect("one is there").seq;
        assert!(seq >= newest, "{seq} after {newest}");
        newest = seq;
    }
    done.store(true, Ordering::Relaxed);
    writer.join().expect("it only writes");
}
