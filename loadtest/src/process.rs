//! A child process that does not outlive its owner: asked to end by its id, then ended.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command};
use std::sync::mpsc;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

const STOP_TRIES_MAX: u32 = 200;
const STOP_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start `{program}`"))?;
        Ok(Self { child })
    }

    /// The status it ended with, or `None` while it runs.
    pub(crate) fn ended(&mut self) -> Result<Option<String>> {
        Ok(self.child.try_wait()?.map(|status| status.to_string()))
    }

    /// What of it is in memory, as the kernel counts it.
    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib << 10)
    }

    /// The first line it prints. A child that stays silent is a fault, not a hang.
    pub(crate) fn first_line(&mut self, limit: Duration) -> Result<String> {
        let stdout = self
            .child
            .stdout
            .take()
            .context("the output of the child is not piped")?;
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line).map(|_| line);
            // Nobody listens any more once the limit has passed.
            drop(sender.send(read));
        });
        match receiver.recv_timeout(limit) {
            Ok(line) => Ok(line?),
            Err(_) => bail!("the child said nothing for {} s", limit.as_secs()),
        }
    }

    fn ask_to_stop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may be gone already, which is what is wanted.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for Process {
    #[expect(
        clippy::disallowed_methods,
        reason = "a child tells nobody but its parent that it has ended, and a drop cannot await"
    )]
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        self.ask_to_stop();
        for _ in 0..STOP_TRIES_MAX {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(STOP_PAUSE);
        }
        // Ten seconds are over: what follows can fail only if the child has just ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_child_is_heard_and_stopped() {
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo ready; exec sleep 60"])
            .stdout(Stdio::piped());
        let mut process = Process::start(&mut command).expect("started");
        assert_eq!(
            process.first_line(Duration::from_secs(5)).expect("a line"),
            "ready\n"
        );
        assert!(process.ended().expect("known").is_none());
        let pid = i32::try_from(process.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a pid");
        drop(process);
        assert!(
            rustix::process::test_kill_process(pid).is_err(),
            "the child lives on"
        );
    }

    #[test]
    fn a_silent_child_is_a_fault() {
        let mut command = Command::new("sleep");
        command.arg("60").stdout(Stdio::piped());
        let mut process = Process::start(&mut command).expect("started");
        let message = process
            .first_line(Duration::from_millis(50))
            .expect_err("silent")
            .to_string();
        assert!(message.contains("said nothing"), "{message}");
    }
}
