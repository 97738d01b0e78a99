//! The file of `download --trace`.

use crate::escape::shell_quote;
use crate::exit::{Exit, Failure};
use crate::report::{Level, Reporter};
use crate::size;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Makes the file, which only the user may read: it says whom he was connected to. One that is there is never written over.
pub(super) fn create(path: &Path) -> Result<File, Failure> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    opened.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::new(
            Exit::Other,
            format!("{} exists already; name a new file with --trace, or remove this one", path.display()),
        ),
        _ => Failure {
            exit: Exit::Disk,
            error: anyhow::Error::new(error)
                .context(format!("cannot write the trace {}; name another place with --trace", path.display())),
        },
    })
}

/// Says what to do with it; one that holds nothing is removed.
pub(super) fn tell(path: &Path, reporter: &Reporter) {
    match fs::metadata(path) {
        Ok(found) if found.len() == 0 => drop(fs::remove_file(path)),
        Ok(found) => {
            let word = shell_quote(&path.to_string_lossy());
            let size = size::bytes(found.len());
            reporter.say(
                Level::Normal,
                &format!("trace: {} ({size}); look into it with: shoal sim replay {word}", path.display()),
            );
        }
        // Somebody moved it: he knows where it is.
        Err(_) => {}
    }
}
