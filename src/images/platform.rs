//! Operating system and architecture, as images name them (Go's `GOOS` and `GOARCH`; OCI image index, `platform`).

use std::fmt;
use std::str::FromStr;

/// A platform, such as `linux/amd64` or `linux/arm/v7`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    pub(super) fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let variant = variant.filter(|variant| !variant.is_empty()).map(str::to_owned);
        Self { os: os.to_owned(), architecture: architecture.to_owned(), variant }
    }

    /// Linux on this machine's architecture.
    #[must_use]
    pub fn here() -> Self {
        Self::new("linux", go_name(std::env::consts::ARCH), None)
    }

    /// Whether an image for `other` is one for this: a variant counts only where it is asked for.
    pub(super) fn takes(&self, other: &Self) -> bool {
        self.os == other.os
            && self.architecture == other.architecture
            && (self.variant.is_none() || self.variant == other.variant)
    }
}

/// What Go, and so every image, calls an architecture.
fn go_name(architecture: &str) -> &str {
    match architecture {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" | "i686" => "386",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        match parts[..] {
            _ if !parts.iter().all(is_word) => Err("a platform looks like linux/arm64".to_owned()),
            [architecture] => Ok(Self::new("linux", go_name(architecture), None)),
            [os, architecture] => Ok(Self::new(os, go_name(architecture), None)),
            [os, architecture, variant] => Ok(Self::new(os, go_name(architecture), Some(variant))),
            _ => Err("a platform looks like linux/arm64 or linux/arm/v7".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Platform;

    #[test]
    fn platforms_are_read_and_matched() {
        let read = |text: &str| text.parse::<Platform>();
        for (text, shown) in [
            ("linux/amd64", "linux/amd64"),
            ("arm64", "linux/arm64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm/v7", "linux/arm/v7"),
        ] {
            assert_eq!(read(text).expect(text).to_string(), shown);
        }
        for text in ["", "linux/", "linux/arm/v7/x", "linux arm"] {
            assert!(read(text).is_err(), "{text}");
        }
        let takes = |wanted: &str, there: &str| read(wanted).expect(wanted).takes(&read(there).expect(there));
        assert!(takes("linux/arm64", "linux/arm64/v8"));
        assert!(takes("linux/arm/v7", "linux/arm/v7"));
        assert!(!takes("linux/arm/v7", "linux/arm/v6"));
        assert!(!takes("linux/amd64", "windows/amd64"));
    }
}
