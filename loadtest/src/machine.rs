//! On what a figure was measured; without it no figure means anything.

use std::fs::read_to_string;
use std::thread::available_parallelism;

use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let cpu = read_to_string("/proc/cpuinfo")
            .ok()
            .and_then(|text| model_name(&text));
        let kernel = read_to_string("/proc/sys/kernel/osrelease")
            .ok()
            .map(|text| text.trim().to_owned());
        Self {
            cpu: cpu.unwrap_or_else(|| "unknown".to_owned()),
            cores: available_parallelism().map_or(0, usize::from),
            kernel: kernel.unwrap_or_else(|| "unknown".to_owned()),
        }
    }
}

fn model_name(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_named() {
        assert_eq!(
            model_name("processor\t: 0\nmodel name\t: A CPU\n").as_deref(),
            Some("A CPU")
        );
        assert_eq!(model_name("processor\t: 0\n"), None);
        assert!(Machine::this().cores > 0);
    }
}
