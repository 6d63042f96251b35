//! podturn's image for an engine of this machine: this very program, and the libraries that it runs with, so that no registry is
//! needed.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::program::EngineError;

/// Where images of programs such as this one go. Each has a tag of its own.
const REPOSITORY: &str = "localhost/podturn-run";

/// The user of `images/Containerfile`.
const USER: &str = "65532:65532";

/// An image of this program in podman's store.
#[derive(Debug)]
pub struct OwnImage {
    /// Its name.
    pub name: String,
    /// While this is held nobody takes the image away: until a pod uses it, it only looks unused.
    _in_use: Option<File>,
}

/// The image of this program in podman's store, made if it is not there.
///
/// # Errors
/// When podman is not there, or does not take it.
pub(super) fn of_this_program(podman: &dyn Fn() -> Command) -> Result<OwnImage, EngineError> {
    let lock = std::env::temp_dir().join(format!("podturn-run-{}.lock", nix::unistd::geteuid()));
    of_this_program_under(podman, &lock)
}

/// `lock`: held by whoever uses such an image, and alone by who takes unused ones away.
fn of_this_program_under(podman: &dyn Fn() -> Command, lock: &Path) -> Result<OwnImage, EngineError> {
    let system = |what: &'static str| move |error| EngineError::System(what.to_owned(), error);
    let program = File::open("/proc/self/exe").map_err(system("opening this program"))?;
    let known = program.metadata().map_err(system("looking at this program"))?;
    // As make does it: another time or another size is another program.
    let tag = format!("{}-{:x}-{:x}-{:x}", env!("CARGO_PKG_VERSION"), known.mtime(), known.mtime_nsec(), known.size());
    let name = format!("{REPOSITORY}:{tag}");
    let lock = opened(lock);
    if !exists(podman, &name)? && lock.as_ref().is_some_and(|lock| lock.try_lock().is_ok()) {
        forget_others(podman);
    }
    // From here on the image stays, if it is there.
    let in_use = lock.filter(|lock| lock.lock_shared().is_ok());
    if !exists(podman, &name)? {
        let files = libraries(&program).map_err(system("looking for the libraries of this program"))?;
        import(podman, &name, &program, &files)?;
    }
    Ok(OwnImage { name, _in_use: in_use })
}

/// `None`: there is no such file that is this user's, so nobody would heed it. Then no image is taken away.
fn opened(lock: &Path) -> Option<File> {
    let flags = nix::fcntl::OFlag::O_NOFOLLOW.bits();
    let file = File::options().create(true).append(true).mode(0o600).custom_flags(flags).open(lock).ok()?;
    file.metadata().ok().filter(|known| known.uid() == nix::unistd::geteuid().as_raw()).map(|_| file)
}

fn exists(podman: &dyn Fn() -> Command, image: &str) -> Result<bool, EngineError> {
    match podman().args(["image", "exists", image]).stderr(Stdio::null()).status() {
        Ok(status) => Ok(status.success()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (program, help) = ("podman".to_owned(), super::podman::INSTALL.to_owned());
            Err(EngineError::NotInstalled { program, help })
        }
        Err(error) => Err(EngineError::System("starting podman".to_owned(), error)),
    }
}

/// Images of earlier programs go, unless a pod still uses them.
fn forget_others(podman: &dyn Fn() -> Command) {
    let list = podman().args(["images", "--quiet", "--filter", &format!("reference={REPOSITORY}")]).output();
    let Ok(list) = list else { return };
    for id in String::from_utf8_lossy(&list.stdout).lines() {
        let _ = podman().args(["rmi", id]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn import(podman: &dyn Fn() -> Command, image: &str, program: &File, files: &[PathBuf]) -> Result<(), EngineError> {
    let what = || format!("making the image {image}");
    let mut command = podman();
    command.args(["import", "--quiet", "--change", "ENV PATH=/bin", "--change", &format!("USER {USER}")]);
    command.args(["--change", r#"ENTRYPOINT ["/bin/podturn"]"#, "-", image]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| EngineError::System(what(), error))?;
    let packed = child.stdin.take().map_or(Ok(()), |stdin| pack(stdin, program, files));
    let output = child.wait_with_output().map_err(|error| EngineError::System(what(), error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(EngineError::Refused { what: what(), said });
    }
    packed.map_err(|error| EngineError::System(what(), error))
}

/// Writes the image's files: the program, and the others where they are looked for.
fn pack(to: impl Write, program: &File, files: &[PathBuf]) -> io::Result<()> {
    let mut archive = tar::Builder::new(to);
    add(&mut archive, program, Path::new("bin/podturn"))?;
    for path in files {
        add(&mut archive, &File::open(path)?, path.strip_prefix("/").unwrap_or(path))?;
    }
    archive.into_inner()?.flush()
}

fn add(archive: &mut tar::Builder<impl Write>, file: &File, at: &Path) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(file.metadata()?.len());
    header.set_mode(0o755);
    archive.append_data(&mut header, at, file)
}

/// The dynamic loader, if the program asks for one, and what that finds for it: `name => path (address)` (ld.so(8), --list).
fn libraries(program: &File) -> io::Result<Vec<PathBuf>> {
    let Some(loader) = interpreter(program)? else { return Ok(Vec::new()) };
    // By this process: its file may have another name by now, or none.
    let own = format!("/proc/{}/exe", std::process::id());
    let list = Command::new(&loader).arg("--list").arg(own).stdin(Stdio::null()).output()?;
    if !list.status.success() {
        let said = String::from_utf8_lossy(&list.stderr);
        return Err(io::Error::other(format!("{} --list: {}", loader.display(), said.trim_end())));
    }
    let mut files = vec![loader];
    for line in String::from_utf8_lossy(&list.stdout).lines() {
        let Some(path) = line.split_once(" => ").map(|(_, found)| found.split(" (").next().unwrap_or(found)) else {
            continue;
        };
        let path = PathBuf::from(path);
        if path.is_absolute() && !files.contains(&path) {
            files.push(path);
        }
    }
    Ok(files)
}

/// The loader that an ELF program of 64 bits names (elf(5), PT_INTERP).
fn interpreter(program: &File) -> io::Result<Option<PathBuf>> {
    const PT_INTERP: u32 = 3;
    let number = |at: u64, length: usize| -> io::Result<u64> {
        let mut bytes = [0; 8];
        program.read_exact_at(&mut bytes[..length], at)?;
        Ok(u64::from_le_bytes(bytes))
    };
    let (table, size, count) = (number(0x20, 8)?, number(0x36, 2)?, number(0x38, 2)?);
    for entry in (0..count).map(|index| table + index * size) {
        if number(entry, 4)? == u64::from(PT_INTERP) {
            let mut path = vec![0; usize::try_from(number(entry + 0x20, 8)?).unwrap_or(0)];
            program.read_exact_at(&mut path, number(entry + 8, 8)?)?;
            let path = String::from_utf8_lossy(&path);
            return Ok(Some(path.trim_end_matches('\0').into()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another podturn, of another version, is about to start its pod: its image looks unused.
    #[test]
    fn an_image_that_somebody_is_about_to_use_is_not_taken_away() {
        let place = tempfile::tempdir().expect("a directory");
        let [calls, lock] = ["calls", "lock"].map(|name| place.path().join(name));
        let script = format!(
            "echo \"$1\" >> {0}; case $1 in image) grep -q import {0};; images) echo other;; import) cat >/dev/null;; esac",
            calls.display()
        );
        let podman = || {
            let mut command = Command::new("sh");
            command.args(["-c", &script, "podman"]);
            command
        };
        let called = || {
            let said = std::fs::read_to_string(&calls).expect("it was called");
            std::fs::remove_file(&calls).expect("it was called");
            said.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let of_other = opened(&lock).expect("this user's own");
        of_other.lock_shared().expect("nobody has it");
        let first = of_this_program_under(&podman, &lock).expect("podman takes it");
        assert_eq!(called(), ["image", "image", "import"]);
        drop(of_other);
        let second = of_this_program_under(&podman, &lock).expect("podman takes it");
        assert_eq!((called(), &second.name), (vec!["image".to_owned(), "image".into(), "import".into()], &first.name));
        drop((first, second));
        let _alone = of_this_program_under(&podman, &lock).expect("podman takes it");
        assert_eq!(called(), ["image", "images", "rmi", "image", "import"]);
    }

    /// This test is such a program itself.
    #[test]
    fn a_program_goes_with_its_libraries_and_its_loader() {
        let program = File::open("/proc/self/exe").expect("this program");
        let files = libraries(&program).expect("it can be read");
        let mut archive = Vec::new();
        pack(&mut archive, &program, &files).expect("memory takes everything");
        let mut archive = tar::Archive::new(archive.as_slice());
        let names: Vec<PathBuf> = archive
            .entries()
            .expect("an archive")
            .map(|entry| entry.and_then(|entry| entry.path().map(PathBuf::from)).expect("an entry"))
            .collect();
        assert_eq!(names[0], Path::new("bin/podturn"));
        if cfg!(not(target_feature = "crt-static")) {
            let loader = files[0].strip_prefix("/").expect("an absolute path");
            assert!(names.iter().any(|name| name == loader), "{names:?}");
            assert!(names.iter().any(|name| name.ends_with("libc.so.6")), "{names:?}");
        }
    }
}
