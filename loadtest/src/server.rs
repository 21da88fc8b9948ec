//! The Layby server of a run: named on the command line, found through `demo.json`, or started for the occasion.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::cli::{Misuse, ServerArgs};
use crate::http::Address;
use crate::own_directory::{OwnDirectory, beside_this_program};
use crate::process::Process;

const START_TRIES_MAX: u32 = 600;
const START_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: Address,
    pub(crate) admin_token: String,
    pub(crate) data_dir: PathBuf,
    /// Set when this run has started the server; dropping it stops the server, then removes its data.
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    /// Before the directory, because fields are dropped in order.
    process: Process,
    data_dir: OwnDirectory,
}

#[derive(Debug, Deserialize)]
struct Demo {
    url: String,
    admin: DemoAccount,
    buyer: Option<Credentials>,
}

#[derive(Debug, Deserialize)]
struct DemoAccount {
    token: String,
}

/// What somebody signs in with.
#[derive(Debug, Deserialize)]
pub(crate) struct Credentials {
    pub(crate) username: String,
    pub(crate) password: String,
}

impl Server {
    /// The running server that the arguments name; a fault that says what to do if there is none.
    pub(crate) async fn find(args: &ServerArgs) -> Result<Self> {
        let (url, admin_token) = match &args.url {
            Some(url) => (url.clone(), admin_token_for_url(args)?),
            None => {
                let demo = Demo::read(&args.data_dir)?;
                (demo.url, demo.admin.token)
            }
        };
        let address = Address::parse(&url)?;
        if let Err(err) = TcpStream::connect(address.socket).await {
            bail!(
                "nobody answers at {address} ({err}); start it with `layby serve --demo`, or name another with --url"
            );
        }
        Ok(Self {
            address,
            admin_token,
            data_dir: args.data_dir.clone(),
            own: None,
        })
    }

    /// The running server, or one of our own if none was named and none runs.
    pub(crate) async fn find_or_start(args: &ServerArgs) -> Result<Self> {
        if args.url.is_some() {
            return Self::find(args).await;
        }
        match Self::find(args).await {
            Ok(server) => Ok(server),
            Err(why_not) => Self::start()
                .await
                .with_context(|| format!("no server runs: {why_not:#}")),
        }
    }

    /// The buyer of the demo shop.
    pub(crate) fn credentials(&self) -> Result<Credentials> {
        let demo = Demo::read(&self.data_dir)?;
        demo.buyer
            .context("`demo.json` names no buyer; sign-ins need a server with --demo")
    }

    /// Memory of its process, if this run has started it.
    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        self.own.as_ref()?.process.memory_bytes()
    }

    async fn start() -> Result<Self> {
        let program = beside_this_program("layby")?;
        if !program.exists() {
            bail!(
                "`{}` is not there to be started; build it with `cargo build --release`",
                program.display()
            );
        }
        let data_dir = OwnDirectory::create("server")?;
        let log_path = data_dir.path().join("layby.log");
        let log = File::create(&log_path)?;
        let mut command = Command::new(program);
        command
            .args(["serve", "--demo", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir.path());
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut own = Own {
            process: Process::start(&mut command)?,
            data_dir,
        };
        let demo = own.wait_until_ready(&log_path).await?;
        let address = Address::parse(&demo.url)?;
        Ok(Self {
            address,
            admin_token: demo.admin.token,
            data_dir: own.data_dir.path().to_owned(),
            own: Some(own),
        })
    }
}

impl Own {
    async fn wait_until_ready(&mut self, log_path: &Path) -> Result<Demo> {
        for _ in 0..START_TRIES_MAX {
            if let Some(status) = self.process.ended()? {
                bail!(
                    "`layby serve --demo` ended with {status}; its last words: {}",
                    last_words(log_path)
                );
            }
            if let Ok(demo) = Demo::read(self.data_dir.path())
                && TcpStream::connect(Address::parse(&demo.url)?.socket)
                    .await
                    .is_ok()
            {
                return Ok(demo);
            }
            sleep(START_PAUSE).await;
        }
        bail!(
            "`layby serve --demo` was not ready within a minute; its last words: {}",
            last_words(log_path)
        )
    }
}

impl Demo {
    fn read(data_dir: &Path) -> Result<Self> {
        let path = data_dir.join("demo.json");
        let name = path.display();
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read `{name}`; start `layby serve --demo`, or give its --data-dir, or --url and --admin-token"))?;
        serde_json::from_str(&text)
            .with_context(|| format!("`{name}` is not what `layby serve --demo` writes"))
    }
}

/// The token given, or that of a demo server whose data directory is at hand.
fn admin_token_for_url(args: &ServerArgs) -> Result<String> {
    if let Some(token) = &args.admin_token {
        return Ok(token.clone());
    }
    let demo = Demo::read(&args.data_dir)
        .ok()
        .filter(|demo| args.url.as_ref().is_some_and(|url| same(url, &demo.url)));
    let Some(demo) = demo else {
        bail!(Misuse(
            "--url needs the --admin-token of an admin there".to_owned()
        ));
    };
    Ok(demo.admin.token)
}

fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

fn last_words(log_path: &Path) -> String {
    let text = std::fs::read_to_string(log_path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}
