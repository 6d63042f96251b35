//! Where a run is shown as a live page, and who may act there: the same for `podturn coordinate` and `podturn run`.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::page::Guard;

/// The variable with the token itself.
const TOKEN: &str = "PODTURN_LISTEN_TOKEN";

/// Where, and for whom.
#[derive(clap::Args)]
pub(super) struct Listen {
    /// Show the run as a page that is kept up to date, over HTTP, here (such as 127.0.0.1:8080; port 0: any). Read-only without a
    /// token
    #[arg(long = "listen", value_name = "ADDR:PORT", env = "PODTURN_LISTEN")]
    pub(super) address: Option<SocketAddr>,
    /// Whoever has the token in this file may approve, retry, skip, stop, pause, resume and cancel on the page. PODTURN_LISTEN_TOKEN
    /// has the token itself
    #[arg(long = "listen-token-file", value_name = "FILE", env = "PODTURN_LISTEN_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// A name by which people come to the page, besides addresses and localhost; may be given several times
    #[arg(long = "listen-host", value_name = "NAME", env = "PODTURN_LISTEN_HOST", value_delimiter = ',')]
    hosts: Vec<String>,
}

impl Listen {
    /// Who may act there.
    ///
    /// # Errors
    /// What is wrong with the token, for a person.
    pub(super) fn guard(&self) -> Result<Guard, String> {
        let token = self.token()?;
        Guard::new(token.as_deref(), self.hosts.clone()).map_err(|why| match &self.token_file {
            Some(file) => format!("{}: {why}", file.display()),
            None => format!("{TOKEN}: {why}"),
        })
    }

    /// Nobody may act, and everybody look as before.
    pub(super) fn read_only(&self) -> Guard {
        Guard::new(None, self.hosts.clone()).unwrap_or_default()
    }

    fn token(&self) -> Result<Option<String>, String> {
        match &self.token_file {
            Some(file) => {
                let token = std::fs::read_to_string(file);
                token.map(Some).map_err(|error| format!("cannot read the token in {}: {error}", file.display()))
            }
            None => Ok(std::env::var(TOKEN).ok().filter(|token| !token.is_empty())),
        }
    }

    /// What the coordinator of a local pod has to be told of it, besides the address: variables, since others see arguments.
    ///
    /// # Errors
    /// As for [`Listen::guard`].
    #[cfg(feature = "tools")]
    pub(super) fn variables(&self) -> Result<Vec<(String, String)>, String> {
        self.guard()?;
        let token = self.token()?.map(|token| (TOKEN.to_owned(), token));
        let hosts = (!self.hosts.is_empty()).then(|| ("PODTURN_LISTEN_HOST".to_owned(), self.hosts.join(",")));
        Ok(token.into_iter().chain(hosts).collect())
    }
}
