//! Laying the volume out: what the init container does before any step starts.
//!
//! `run.json` is the stamp: it is written last, so that a volume whose init container was killed half-way has either the
//! old run or none, and is laid out again from the beginning.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use podturn_turn::{State, StepId};
use podturn_wire::names;

use super::phases::Phases;
use super::removal::remove_tree;
use super::usage;
use super::{Bell, GATE, Journal, Locked, PROBE, Run, SHIM, Volume, VolumeError};

/// What every mailbox has a link to, unless its step has them from elsewhere.
const PROGRAMS: [(&str, &[u8]); 2] = [(names::SHIM, SHIM), (names::PROBE, PROBE)];

/// Lays the volume out for `wanted`, or for the run that is there if it is this pod's from before a reboot: then that one
/// goes on, with its own id, plan, journal and reports. Returns the run that holds.
///
/// # Errors
/// When the volume cannot be written, or a coordinator is at work on it. Nothing is stamped then.
pub fn lay_out(volume: &Volume, wanted: Run) -> Result<Run, VolumeError> {
    lay_out_with(&PROGRAMS, volume, wanted)
}

/// The same for steps that have the shim from elsewhere: nothing in a mailbox can be executed.
///
/// # Errors
/// Those of [`lay_out`].
pub fn lay_out_without_shim(volume: &Volume, wanted: Run) -> Result<Run, VolumeError> {
    lay_out_with(&[], volume, wanted)
}

fn lay_out_with(programs: &[(&str, &[u8])], volume: &Volume, wanted: Run) -> Result<Run, VolumeError> {
    let _lock = volume.lock().map_err(|locked| match locked {
        Locked::Held => {
            let error = io::Error::new(io::ErrorKind::ResourceBusy, "a coordinator is at work on this volume");
            VolumeError::new("cannot lay out", volume.path(), error)
        }
        Locked::Failed(error) => error,
    })?;
    let there = volume.read_run().unwrap_or_default(); // a damaged stamp is as good as none
    let (run, is_new) = match there {
        Some(there) if goes_on(&there, &wanted) => (there, false),
        _ => (wanted, true),
    };
    if is_new {
        clear(volume)?;
    }
    make_mailboxes(volume, &run, programs)?;
    make_public(volume, &run)?;
    if is_new {
        volume.write_run(&run)?;
    }
    Ok(run)
}

/// The same pod, but another boot: the node was rebooted under it. In the same boot the kubelet has restarted all
/// containers in place (KEP-5532), which is a new run.
fn goes_on(there: &Run, wanted: &Run) -> bool {
    there.version == wanted.version
        && there.pod_uid.is_some()
        && there.pod_uid == wanted.pod_uid
        && there.boot_id != wanted.boot_id
}

/// Removes what another run left, its stamp first.
fn clear(volume: &Volume) -> Result<(), VolumeError> {
    let root = volume.path();
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| VolumeError::new("cannot remove", &path, error)
    };
    for name in [names::RUN, names::STATE, usage::USAGE] {
        remove_file(&root.join(name)).map_err(failed(&root.join(name)))?;
    }
    Journal::remove(root).map_err(failed(&root.join(names::JOURNAL)))?;
    for name in [names::PUBLIC, names::STEPS] {
        remove_tree(root, name).map_err(failed(&root.join(name)))?;
    }
    Ok(())
}

pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn make_mailboxes(volume: &Volume, run: &Run, programs: &[(&str, &[u8])]) -> Result<(), VolumeError> {
    let root = volume.path();
    let steps = root.join(names::STEPS);
    make_directory(&steps, 0o755)?;
    for (name, bytes) in programs {
        let path = root.join(name);
        write_program(&path, bytes).map_err(|error| VolumeError::new("cannot write", &path, error))?;
    }
    for step in &run.plan.steps {
        let mailbox = steps.join(&step.name);
        let inside = mailbox.join(names::IN);
        make_directory(&mailbox, 0o755)?;
        make_directory(&inside, 0o755)?;
        // The user that the step's container runs as is not known here.
        make_directory(&mailbox.join(names::OUT), 0o777)?;
        if run.bell == Bell::File {
            let alive = inside.join(names::ALIVE);
            write_empty(&alive).map_err(|error| VolumeError::new("cannot make", &alive, error))?;
        }
        for (name, _) in programs {
            let link = inside.join(name);
            remove_file(&link)
                .and_then(|()| fs::hard_link(root.join(name), &link))
                .map_err(|error| VolumeError::new("cannot link to", &link, error))?;
        }
    }
    write_first_turns(volume, run)
}

/// What containers see that are no steps. The phases are there before any coordinator is.
fn make_public(volume: &Volume, run: &Run) -> Result<(), VolumeError> {
    let public = volume.path().join(names::PUBLIC);
    make_directory(&public, 0o755)?;
    let program = public.join(names::SHIM);
    write_program(&program, GATE).map_err(|error| VolumeError::new("cannot write", &program, error))?;
    if public.join(names::PHASES).exists() {
        return Ok(()); // a run that goes on
    }
    volume.publish_phases(&Phases::of(&State::new(run.plan.clone(), run.run)))
}

fn make_directory(path: &Path, mode: u32) -> Result<(), VolumeError> {
    let made = match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    };
    made.and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode))) // whatever the umask
        .map_err(|error| VolumeError::new("cannot make", path, error))
}

/// What everybody may read and only podturn write, whatever the umask.
fn write_empty(path: &Path) -> io::Result<()> {
    let file = fs::File::options().create(true).truncate(false).write(true).mode(0o644).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

/// Writes the program under a new name and renames it in: one that runs from an earlier layout cannot be overwritten.
fn write_program(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("new");
    remove_file(&aside)?;
    let mut file = fs::File::options().create_new(true).write(true).mode(0o755).open(&aside)?;
    file.write_all(bytes)?;
    file.set_permissions(fs::Permissions::from_mode(0o755))?;
    drop(file);
    fs::rename(&aside, path)
}

/// Rule C1: every shim learns the run from the turn that it finds.
fn write_first_turns(volume: &Volume, run: &Run) -> Result<(), VolumeError> {
    let mailboxes = volume.mailboxes(run.plan.steps.iter().map(|step| step.name.as_str()), run.durability)?;
    let state = State::new(run.plan.clone(), run.run);
    for (index, step) in run.plan.steps.iter().enumerate() {
        let id = StepId(index as u32);
        if matches!(mailboxes.read_turn(id), Ok(Some(there)) if there.run == run.run) {
            continue; // a run that goes on
        }
        let path = volume.path().join(names::STEPS).join(&step.name);
        mailboxes
            .write_turn(id, &state.turn_for(id))
            .map_err(|error| VolumeError::new("cannot write the first turn of", &path, error))?;
    }
    Ok(())
}
