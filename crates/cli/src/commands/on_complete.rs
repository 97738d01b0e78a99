//! `--on-complete`: a program that runs when a download is done.
//!
//! No shell is between: names come from strangers, and `$(...)` in one must arrive as five characters (reliability.md E4).

use crate::exit::{Exit, Failure, OrExit};
use shoal_metainfo::Info;
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

/// Runs the program and waits for it.
pub(super) async fn run(program: &Path, info: &Info, path: &Path) -> Result<(), Failure> {
    let what = || format!("cannot run --on-complete {}", program.display());
    let (v1, v2) = super::show::hash_words(&info.hashes());
    let place = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let status = Command::new(program)
        .env("SHOAL_INFO_HASH", v1.or(v2).unwrap_or_default())
        // A name with a NUL cannot be in an environment; no path on disk has one either.
        .env("SHOAL_NAME", info.name().replace('\0', "_"))
        .env("SHOAL_PATH", place)
        .stdin(Stdio::null())
        // Standard output carries our results only.
        .stdout(Stdio::from(std::io::stderr()))
        .status()
        .await
        .or_exit(Exit::Other, what)?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(Exit::Other, format!("--on-complete {} failed: {status}", program.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn names_arrive_as_they_are_and_failures_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let (program, log) = (folder.path().join("hook"), folder.path().join("log"));
        let script = format!(
            "#!/bin/sh\nprintf '%s|%s|%s' \"$SHOAL_NAME\" \"$SHOAL_INFO_HASH\" \"$SHOAL_PATH\" > '{}'\nexit 3\n",
            log.display()
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let name = "$(touch x)`y`; \"z\"";
        let mut info = format!("d6:lengthi1e4:name{}:{name}12:piece lengthi16384e6:pieces20:", name.len()).into_bytes();
        info.extend([7; 20]);
        info.push(b'e');
        let (info, _) = Info::parse(&info).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let failure = runtime.block_on(run(&program, &info, Path::new("/tmp/x"))).unwrap_err();
        assert!(failure.line().contains('3'), "{}", failure.line());
        let hash = info.hashes().v1.unwrap().to_string();
        assert_eq!(std::fs::read_to_string(log).unwrap(), format!("{name}|{hash}|/tmp/x"));
    }
}
