//! A directory that vanishes with the run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

#[derive(Debug)]
pub(crate) struct OwnDirectory(PathBuf);

impl OwnDirectory {
    /// Beside this program and not in the directory for temporary files, which is often memory:
    /// a durable answer must wait for a real disk.
    pub(crate) fn create(purpose: &str) -> Result<Self> {
        let path = beside_this_program(&format!("loadtest-{purpose}-{}", std::process::id()))?;
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot create `{}`", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for OwnDirectory {
    fn drop(&mut self) {
        // What cannot be removed is only untidy.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

pub(crate) fn beside_this_program(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    Ok(program.with_file_name(name))
}
