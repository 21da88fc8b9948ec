//! A server under `strace`: to refuse it calls, or to see which it makes.

use std::ops::Range;
use std::path::Path;
use std::process::Command;

#[track_caller]
pub(crate) fn check_that_strace_works() {
    let traced = Command::new("strace")
        .args(["-D", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null"])
        .args(["--trace=fdatasync", "true"])
        .output();
    let traced = traced.expect("strace in PATH; scripts/test installs it");
    assert!(traced.status.success(), "no right to trace: {traced:?}");
}

/// The same command under `strace` with these options; what it sees goes to a file.
pub(crate) fn traced(command: &Command, options: &[&str], output: &Path) -> Command {
    let mut traced = Command::new("strace");
    traced
        .args(["-D", "-f", "--seccomp-bpf", "-qq", "-o"])
        .arg(output)
        .args(options)
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    traced
}

/// A call that was traced: what it was called with, and at which lines of the trace it began and had ended.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) text: String,
    pub(crate) lines: Range<usize>,
}

/// The calls of a trace, in the order in which they began. One that somebody else's came in between has two lines.
pub(crate) fn calls(trace: &Path) -> Vec<Call> {
    let trace = std::fs::read_to_string(trace).expect("a trace");
    let lines: Vec<(&str, &str)> = trace.lines().filter_map(|it| it.split_once(' ')).collect();
    let resumes = |at: usize| {
        let thread = lines[at].0;
        let later = lines.iter().enumerate().skip(at + 1);
        let own = later.filter(|(_, (it, _))| *it == thread);
        own.map(|(at, _)| at).next().unwrap_or(lines.len())
    };
    let is_call = |(_, (_, text)): &(usize, &(&str, &str))| !text.trim_start().starts_with('<');
    let calls = lines.iter().enumerate().filter(is_call);
    calls
        .map(|(at, (_, text))| Call {
            text: text.trim().to_owned(),
            lines: match text.contains("<unfinished") {
                true => at..resumes(at),
                false => at..at,
            },
        })
        .collect()
}
