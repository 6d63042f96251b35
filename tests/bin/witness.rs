//! A command that tells what it sees of its world, one fact a line, so that a run under the shim can be compared with a
//! run without. `witness signals` tells each signal that it gets instead, until SIGTERM. `witness load MS MIB GATE` uses that much
//! processor time and memory at least, tells what it has used, waits until the gate can be read, gives the memory back, and tells again.

#![expect(clippy::print_stdout, reason = "telling is all it does")]

use std::io::Read;
use std::os::unix::ffi::OsStrExt;

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("signals") => tell_signals(),
        Some("load") => use_up(),
        _ => tell_all(),
    }
}

fn fact(name: &str, value: impl std::fmt::Debug) {
    println!("{name}: {value:?}");
}

fn tell_all() {
    // The runtime of Rust opens what is closed of 0 to 2 and ignores SIGPIPE, in both runs alike.
    fact("arguments", std::env::args_os().collect::<Vec<_>>());
    let mut environment: Vec<_> = std::env::vars_os().collect();
    environment.sort();
    for (name, value) in environment {
        println!("environment {}={}", name.as_bytes().escape_ascii(), value.as_bytes().escape_ascii());
    }
    fact("directory", std::env::current_dir().expect("a directory"));
    fact("users", unistd::getresuid().map(|ids| (ids.real, ids.effective, ids.saved)));
    fact("groups", (unistd::getresgid().map(|ids| (ids.real, ids.effective, ids.saved)), unistd::getgroups()));
    fact("leads its group", unistd::getpgrp() == unistd::getpid());
    fact("session", unistd::getsid(None));
    fact("terminal in front", unistd::tcgetpgrp(std::io::stdin()).map(|group| group == unistd::getpgrp()));
    fact("umask", nix::sys::stat::umask(nix::sys::stat::Mode::empty()));
    tell_descriptors();
    tell_limits();
    tell_status();
    fact("dumpable", nix::sys::prctl::get_dumpable());
    fact("subreaper", nix::sys::prctl::get_child_subreaper());
    fact("death signal", nix::sys::prctl::get_pdeathsig());
    fact("niceness", std::fs::read_to_string("/proc/self/oom_score_adj"));
    let mut input = String::new();
    fact("stdin", std::io::stdin().read_to_string(&mut input).map(|_| input).map_err(|error| error.kind()));
}

/// What is open and how. Other files than pipes are named; a pipe is the caller's own, another one in each run.
fn tell_descriptors() {
    let mut open: Vec<i32> = std::fs::read_dir("/proc/self/fd")
        .expect("proc(5)")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    open.sort_unstable();
    for fd in open {
        let Ok(target) = std::fs::read_link(format!("/proc/self/fd/{fd}")) else { continue }; // the listing's own
        let target = target.to_string_lossy().into_owned();
        let target = target.split(":[").next().unwrap_or_default();
        let flags = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
        let flags = flags.lines().find(|line| line.starts_with("flags")).unwrap_or_default().to_owned();
        println!("descriptor {fd}: {target} {flags}");
    }
}

fn tell_limits() {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("proc(5)");
    limits.lines().for_each(|line| println!("limit {line}"));
}

/// The lines of proc_pid_status(5) that a parent can influence.
fn tell_status() {
    const LINES: [&str; 9] =
        ["SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "CapInh", "CapEff", "NoNewPrivs", "Seccomp:"];
    let status = std::fs::read_to_string("/proc/self/status").expect("proc(5)");
    for line in status.lines().filter(|line| LINES.iter().any(|name| line.starts_with(name))) {
        println!("{line}");
    }
}

fn tell_signals() {
    let all = SigSet::all();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&all), None).expect("a mask");
    println!("ready");
    loop {
        let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::uninit();
        // SAFETY: both pointers are valid for the call, which fills `info` when it returns a signal.
        let number = unsafe { libc::sigwaitinfo(all.as_ref(), info.as_mut_ptr()) };
        println!("{number}");
        if number == Signal::SIGTERM as i32 {
            return;
        }
    }
}

/// What a step may use: a known amount of everything.
fn use_up() {
    let argument = |index| std::env::args().nth(index).unwrap_or_default();
    let (milliseconds, mebibytes): (i64, usize) =
        (argument(2).parse().expect("a number"), argument(3).parse().expect("a number"));
    let mut memory = vec![0_u8; mebibytes << 20];
    for (number, page) in memory.chunks_mut(4096).enumerate() {
        page[0] = number as u8; // a page that is only read is not there
    }
    let used = || {
        let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).expect("always there");
        let (user, system) = (usage.user_time(), usage.system_time());
        (user.tv_sec() + system.tv_sec()) * 1_000 + (user.tv_usec() + system.tv_usec()) / 1_000
    };
    let mut number = 1_u64;
    while used() < milliseconds {
        (0..100_000).for_each(|_| number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005) + 1));
    }
    fact("used", used());
    if let Some(gate) = std::env::args().nth(4) {
        let mut byte = [0];
        let _ = std::fs::File::open(gate).and_then(|mut gate| gate.read(&mut byte));
    }
    fact("sum", memory.iter().step_by(4096).map(|byte| u64::from(*byte)).sum::<u64>().wrapping_add(number));
    drop(memory);
    fact("used in all", used());
}
