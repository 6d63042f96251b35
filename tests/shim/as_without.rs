//! A command under the shim behaves as it would without.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::libc;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, sigprocmask};
use podturn_wire::{Exit, StartStage};

use crate::mailbox::{Mailbox, eventually};
use crate::witness::witness;

#[test]
fn the_exit_code_is_the_commands_own() {
    for code in [0, 1, 3, 77, 124, 125, 126, 127, 128, 143, 255] {
        let ended = Mailbox::listening().run_once(&["sh", "-c", &format!("exit {code}")]);
        assert_eq!(ended.exit, Exit::Code(code));
        assert!(!ended.timed_out);
    }
}

#[test]
fn a_death_by_signal_is_128_and_its_number() {
    for (number, name) in [(1, "HUP"), (2, "INT"), (3, "QUIT"), (9, "KILL"), (10, "USR1"), (11, "SEGV"), (15, "TERM")] {
        let ended = Mailbox::listening().run_once(&["sh", "-c", &format!("ulimit -c 0; kill -{name} $$")]);
        assert_eq!(ended.exit, Exit::Signal { number, oom: false });
        assert_eq!(ended.exit.code(), 128 + number);
    }
}

#[test]
fn what_cannot_be_started_is_126_or_127_and_says_why() {
    let place = tempfile::tempdir().expect("a directory");
    let plain = place.path().join("plain");
    fs::write(&plain, "no program").expect("a file");
    let exec_format = place.path().join("format");
    fs::write(&exec_format, "no program either").expect("a file");
    make_executable(&exec_format);
    let missing = place.path().join("missing");
    let below_a_file = plain.join("x");
    let table = [
        (plain.as_path(), 13, 126, "permission denied (EACCES)"),
        (place.path(), 13, 126, "permission denied (EACCES)"),
        (exec_format.as_path(), 8, 126, "exec format error (ENOEXEC)"),
        (missing.as_path(), 2, 127, "no such file or directory (ENOENT)"),
        (below_a_file.as_path(), 20, 127, "not a directory (ENOTDIR)"),
        (Path::new("no-such-command-in-the-path"), 2, 127, "no such file or directory (ENOENT)"),
        (Path::new(""), 2, 127, "no such file or directory (ENOENT)"),
    ];
    for (command, errno, code, words) in table {
        let mut mailbox = Mailbox::listening();
        let ended = mailbox.run_once(&[command.to_str().expect("UTF-8")]);
        assert_eq!(ended.exit, Exit::StartError { stage: StartStage::Exec, errno }, "{}", command.display());
        assert_eq!(ended.exit.code(), code);
        let (_, said) = mailbox.output();
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn the_path_is_searched_as_execvp_does() {
    let place = tempfile::tempdir().expect("a directory");
    for (directory, executable) in [("first", false), ("second", true)] {
        fs::create_dir(place.path().join(directory)).expect("a directory");
        let file = place.path().join(directory).join("tool");
        fs::write(&file, format!("#!/bin/sh\necho {directory}\n")).expect("a file");
        if executable {
            make_executable(&file);
        }
    }
    let path = format!("/nowhere:{0}/first:{0}/second", place.path().display());
    let mut mailbox = Mailbox::listening();
    let mut shim = mailbox.command(&["tool"]);
    shim.env("PATH", path).stdout(Stdio::piped()).stderr(Stdio::piped());
    mailbox.start_as(shim).arrive();
    mailbox.begin(1);
    assert_eq!(mailbox.ended(1).exit, Exit::Code(0));
    mailbox.let_exit(0, "");
    assert_eq!(mailbox.output(), ("second\n".to_owned(), String::new()), "the first one may not be executed");
}

/// The world in which both runs of the witness start: unusual on purpose.
fn unusual(command: &mut Command, input: &Path) {
    command.current_dir("/usr").env_clear().env("PATH", "/bin:/usr/bin").env("ODD", "a=b\nc\u{e9}").env("EMPTY", "");
    command.stdin(fs::File::open(input).expect("the input")).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: only system calls that are allowed between fork and exec.
    unsafe {
        command.pre_exec(|| {
            for ignored in [Signal::SIGINT, Signal::SIGCHLD, Signal::SIGUSR2] {
                nix::sys::signal::signal(ignored, SigHandler::SigIgn)?;
            }
            let mut blocked = SigSet::empty();
            blocked.add(Signal::SIGUSR1);
            blocked.add(Signal::SIGTERM);
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked), None)?;
            nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o027));
            nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, 200, 300)?;
            // An open descriptor that is meant for the command, as a caller may have it.
            let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            // Tests run side by side: 42 may have been the lowest one that was free.
            if null != 42 && (libc::dup2(null, 42) != 42 || libc::close(null) != 0) {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
}

#[test]
fn the_witness_sees_the_same_world() {
    let place = tempfile::tempdir().expect("a directory");
    let input = place.path().join("input");
    fs::File::create(&input).and_then(|mut file| file.write_all(b"two\nlines\n")).expect("a file");
    let program = witness();
    let arguments = ["", "--", "a b", "$HOME", "\u{e9}"];

    let mut direct = Command::new(&program);
    direct.args(arguments);
    unusual(&mut direct, &input);
    // SAFETY: only a system call that is allowed between fork and exec. A container's command leads its group.
    unsafe {
        direct.pre_exec(|| Ok(nix::unistd::setpgid(nix::unistd::Pid::from_raw(0), nix::unistd::Pid::from_raw(0))?))
    };
    let direct = direct.output().expect("the witness runs");
    let direct = String::from_utf8(direct.stdout).expect("UTF-8");

    let mut mailbox = Mailbox::listening();
    let mut words = vec![program.to_str().expect("UTF-8")];
    words.extend(arguments);
    let mut shim = mailbox.command(&words);
    unusual(&mut shim, &input);
    mailbox.start_as(shim).arrive();
    mailbox.begin(1);
    assert_eq!(mailbox.ended(1).exit, Exit::Code(0));
    mailbox.let_exit(0, "");
    let (under, said) = mailbox.output();
    assert_eq!(said, "");

    let outputs = mailbox.path("out/outputs").display().to_string();
    let own = ["PODTURN_ATTEMPT=1".to_owned(), "PODTURN_STEP=build".to_owned(), format!("PODTURN_OUTPUTS={outputs}")];
    let (added, rest): (Vec<&str>, Vec<&str>) =
        under.lines().partition(|line| line.strip_prefix("environment ").is_some_and(|v| v.starts_with("PODTURN_")));
    let added: Vec<&str> = added.iter().filter_map(|line| line.strip_prefix("environment ")).collect();
    assert_eq!(added.len(), own.len());
    assert!(own.iter().all(|variable| added.contains(&variable.as_str())), "{added:?}");
    // The one difference: the command dies with its shim.
    let rest = rest.join("\n").replace("death signal: Ok(Some(SIGKILL))", "death signal: Ok(None)");
    assert!(rest.contains("leads its group: true") && rest.contains("descriptor 42"), "{rest}");
    assert_eq!(rest, direct.trim_end());
}

#[test]
fn closed_descriptors_stay_closed() {
    let mut mailbox = Mailbox::listening();
    let mut shim =
        mailbox.command(&["sh", "-c", "ls /proc/self/fd | tr '\\n' ' ' >&1; [ ! -e /proc/$$/fd/0 ] && echo closed"]);
    shim.stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: a system call that is allowed between fork and exec.
    unsafe {
        shim.pre_exec(|| {
            libc::close(0);
            Ok(())
        });
    }
    mailbox.start_as(shim).arrive();
    mailbox.begin(1);
    mailbox.ended(1);
    mailbox.let_exit(0, "");
    assert!(mailbox.output().0.ends_with("closed\n"));
}

#[test]
fn variables_of_an_outer_podturn_are_replaced() {
    let mut mailbox = Mailbox::listening();
    let mut shim = mailbox.command(&[
        "sh",
        "-c",
        "echo $PODTURN_STEP $PODTURN_ATTEMPT; env | grep -cE '^PODTURN_(STEP|ATTEMPT|OUTPUTS)='",
    ]);
    shim.env("PODTURN_STEP", "outer").env("PODTURN_ATTEMPT", "9").stdout(Stdio::piped()).stderr(Stdio::piped());
    mailbox.start_as(shim).arrive();
    mailbox.begin(1);
    mailbox.ended(1);
    mailbox.begin(2);
    mailbox.ended(2);
    mailbox.let_exit(0, "");
    assert_eq!(mailbox.output().0, "build 1\n3\nbuild 2\n3\n");
}

#[test]
fn every_signal_reaches_the_command_as_it_is() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&[witness().to_str().expect("UTF-8"), "signals"]).arrive();
    mailbox.begin(1);
    assert_eq!(mailbox.line(), "ready");
    let real_time = [34, 50, 64];
    for number in (1..=31).chain(real_time) {
        // KILL and STOP cannot be forwarded; CHLD is the shim's own; TERM ends the witness.
        if [9, 19, 17, 15].contains(&number) {
            continue;
        }
        // SAFETY: a plain system call without pointers.
        assert_eq!(unsafe { libc::kill(mailbox.pid().as_raw(), number) }, 0);
        assert_eq!(mailbox.line(), number.to_string());
    }
    mailbox.signal(Signal::SIGTERM);
    assert_eq!(mailbox.ended(1).exit, Exit::Code(0));
}

#[test]
fn orphans_of_a_running_command_are_reaped() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&["sh", "-c", "for i in 1 2 3 4 5; do (true &); done; echo orphaned; read forever"]);
    mailbox.arrive();
    mailbox.begin(1);
    assert_eq!(mailbox.line(), "orphaned");
    // The command stays: its stdin is /dev/null, so `read` ends it; what counts is that no zombie is left before.
    let children = format!("/proc/{0}/task/{0}/children", mailbox.pid());
    eventually("all orphans reaped", || {
        let pids = fs::read_to_string(&children).expect("the shim lives");
        pids.split_whitespace()
            .all(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| !stat.contains(") Z ")))
    });
    assert_eq!(mailbox.ended(1).exit, Exit::Code(1));
}

#[test]
fn usage_is_what_the_command_used() {
    let ended = Mailbox::listening().run_once(&["sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"]);
    assert!(ended.usage.cpu > 0 && ended.usage.max_rss > 100, "{:?}", ended.usage);
}

fn make_executable(file: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("our own file");
}
