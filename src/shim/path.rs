//! Where a command is looked for, as execvp(3) does. Pure: trying the candidates is the caller's.

use core::ffi::CStr;

/// Where to look when `PATH` is not set, as execvp(3) of glibc does.
const DEFAULT: &[u8] = b"/bin:/usr/bin";

/// The longest path the kernel takes, with its NUL: `PATH_MAX`.
pub(crate) const PATH_MAX: usize = 4096;

/// The paths under which a command may be found, in order.
pub(crate) struct Candidates<'a> {
    name: &'a [u8],
    /// What of `PATH` was not yielded; `None`: nothing is left.
    rest: Option<&'a [u8]>,
}

impl<'a> Candidates<'a> {
    /// A name with a slash is a path and its own only candidate; any other is looked for in `path`, the value of `PATH`.
    pub(crate) fn new(name: &'a [u8], path: Option<&'a [u8]>) -> Self {
        let rest = if name.is_empty() {
            None
        } else if name.contains(&b'/') {
            Some(&b""[..])
        } else {
            Some(path.unwrap_or(DEFAULT))
        };
        Self { name, rest }
    }

    /// Puts the next candidate and a NUL into `buffer`. `false`: there is none. Those that are too long are passed over.
    pub(crate) fn next_into(&mut self, buffer: &mut [u8; PATH_MAX]) -> bool {
        while let Some(rest) = self.rest {
            let end = rest.iter().position(|byte| *byte == b':');
            let directory = &rest[..end.unwrap_or(rest.len())];
            self.rest = end.map(|end| &rest[end + 1..]);
            // An empty element is the working directory.
            let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
            if join(&[directory, slash, self.name], buffer) {
                return true;
            }
        }
        false
    }
}

/// What stands before the first NUL; `None`: there is none. (Smaller than the standard library's, which the shim notices.)
pub(crate) fn before_nul(bytes: &[u8]) -> Option<&CStr> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    // SAFETY: the first NUL is at the end.
    Some(unsafe { CStr::from_bytes_with_nul_unchecked(&bytes[..=end]) })
}

/// Joins the parts and a NUL in `buffer`, if they fit.
pub(crate) fn join(parts: &[&[u8]], buffer: &mut [u8; PATH_MAX]) -> bool {
    let mut length = 0;
    for part in parts {
        let Some(place) = buffer.get_mut(length..length + part.len()) else { return false };
        place.copy_from_slice(part);
        length += part.len();
    }
    match buffer.get_mut(length) {
        Some(end) => {
            *end = 0;
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::String;
    use std::vec::Vec;

    use super::*;

    fn all(name: &str, path: Option<&str>) -> Vec<String> {
        let mut candidates = Candidates::new(name.as_bytes(), path.map(str::as_bytes));
        let mut buffer = [1; PATH_MAX];
        let mut found = Vec::new();
        while candidates.next_into(&mut buffer) {
            let end = buffer.iter().position(|byte| *byte == 0).expect("a NUL");
            found.push(String::from_utf8_lossy(&buffer[..end]).into_owned());
        }
        found
    }

    #[test]
    fn a_name_is_looked_for_along_the_path() {
        assert_eq!(all("cc", Some("/usr/local/bin:/bin")), ["/usr/local/bin/cc", "/bin/cc"]);
        assert_eq!(all("cc", None), ["/bin/cc", "/usr/bin/cc"]);
        assert_eq!(all("cc", Some(":/bin:")), ["cc", "/bin/cc", "cc"], "an empty element is the working directory");
        assert_eq!(all("cc", Some("")), ["cc"]);
    }

    #[test]
    fn a_path_is_taken_as_it_is() {
        assert_eq!(all("./cc", Some("/bin")), ["./cc"]);
        assert_eq!(all("/cc", None), ["/cc"]);
        assert!(all("", Some("/bin")).is_empty(), "an empty name is nowhere");
    }

    #[test]
    fn what_the_kernel_would_refuse_is_passed_over() {
        let long = "x".repeat(PATH_MAX);
        assert_eq!(all("cc", Some(&std::format!("/{long}:/bin"))), ["/bin/cc"]);
        assert!(all(&long, Some("/bin")).is_empty());
    }
}
