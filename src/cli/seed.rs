//! `layby seed`: many buyers with ready tokens, beside a stopped or running server of the same data directory.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use uuid::Uuid;

use crate::accounts::token::{Role, TokenIssuer};
use crate::clock::{Clock, SystemClock};
use crate::config::StoreSettings;
use crate::domain::BuyerId;
use crate::persistence::database::Account;
use crate::startup;

const TOKEN_TTL_SECS: u64 = 86_400;

pub(super) async fn run(settings: StoreSettings, buyers: u32, out: PathBuf) -> anyhow::Result<()> {
    startup::create_data_dir(&settings.data_dir)?;
    let issuer = startup::token_issuer(&settings)?;
    let database = startup::open_database(&settings).await?;
    let ids: Vec<Uuid> = (0..buyers).map(|_| Uuid::now_v7()).collect();
    let now = SystemClock.now();
    let account =
        |id: &Uuid| Account::nameless(BuyerId::new(id.as_u128()), Role::Buyer.as_str(), now);
    database
        .create_accounts(ids.iter().map(account).collect())
        .await?;
    write_tokens(&issuer, &ids, &out)
        .with_context(|| format!("cannot write the tokens to `{}`", out.display()))?;
    database.close().await;
    println!("{buyers} buyers; their tokens are in {}", out.display());
    Ok(())
}

fn write_tokens(issuer: &TokenIssuer, ids: &[Uuid], out: &Path) -> anyhow::Result<()> {
    let options = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(out);
    let mut file = BufWriter::new(options?);
    for id in ids {
        writeln!(
            file,
            "{id},{}",
            issuer.issue_plain(*id, Role::Buyer, TOKEN_TTL_SECS)?
        )?;
    }
    Ok(file.flush()?)
}
