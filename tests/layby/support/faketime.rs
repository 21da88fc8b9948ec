//! A server whose wall clock is set while it runs. libfaketime stands between it and the system; the monotonic clocks, its
//! files' times and everybody else's clocks are left alone.

use std::path::PathBuf;
use std::process::Command;

use super::Shop;

pub(crate) struct FakeTime {
    library: PathBuf,
    /// How far the clock is set, read again with every look at it.
    offset: PathBuf,
}

impl FakeTime {
    /// Not set yet.
    pub(crate) fn of(shop: &Shop) -> Self {
        let time = Self {
            library: library(),
            offset: shop.scratch().join("wall-clock"),
        };
        time.set_by_secs(0);
        time
    }

    /// Starts the server of the shop under this clock.
    #[track_caller]
    pub(crate) fn start(&self, shop: &mut Shop) {
        let mut command = shop.serve_command();
        self.rule(&mut command);
        shop.start_by(command);
    }

    fn rule(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.offset)
            .env("FAKETIME_NO_CACHE", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1");
    }

    /// Sets the clock, by so much from the true time.
    pub(crate) fn set_by_secs(&self, secs: i64) {
        // In one go: a file that is half written would be another time.
        let next = self.offset.with_extension("next");
        std::fs::write(&next, format!("{secs:+}\n")).expect("written");
        std::fs::rename(&next, &self.offset).expect("renamed");
    }
}

fn library() -> PathBuf {
    let roots = std::fs::read_dir("/usr/lib").expect("a directory");
    let paths = roots.map(|root| {
        let root = root.expect("an entry").path();
        root.join("faketime/libfaketimeMT.so.1")
    });
    paths
        .chain([PathBuf::from("/usr/lib/faketime/libfaketimeMT.so.1")])
        .find(|path| path.exists())
        .expect("libfaketime is missing; install the package `faketime`")
}
