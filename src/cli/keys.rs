//! `layby keys rotate`: another key, beside a stopped or running server.

use anyhow::bail;

use crate::accounts::vault::Vault;
use crate::accounts::vault::rotate::{self, Rotated, WrappedKeys};
use crate::config::StoreSettings;
use crate::domain::BuyerId;
use crate::persistence::database::Database;
use crate::secrets::{Secrets, append_key};
use crate::startup;

pub(super) async fn rotate(settings: StoreSettings, tokens: bool) -> anyhow::Result<()> {
    startup::create_data_dir(&settings.data_dir)?;
    let secrets = Secrets::open(&settings.secrets)?;
    if tokens {
        return rotate_token_keys(&secrets);
    }
    let database = startup::open_database(&settings).await?;
    let vault = Vault::new(&secrets);
    let store = AccountKeys(database.clone());
    let rotated = match secrets.seal_keys().path() {
        Some(_) => rotate::rotate(&vault, &store).await,
        // Whoever set the environment has added the key there.
        None => rotate::finish(&vault, &store).await,
    };
    let rotated = rotated?;
    print(&rotated);
    database.close().await;
    if rotated.damaged > 0 {
        bail!(
            "{} data keys do not open; the log names them",
            rotated.damaged
        );
    }
    Ok(())
}

fn rotate_token_keys(secrets: &Secrets) -> anyhow::Result<()> {
    let Some(path) = secrets.token_keys().path() else {
        bail!(
            "the token keys come from the environment; add a new one there, as the last, and restart the server"
        );
    };
    let id = append_key(path)?;
    println!(
        "tokens are signed with key {id} from now on; a day from now the lines before it may be removed"
    );
    Ok(())
}

fn print(rotated: &Rotated) {
    println!(
        "{} data keys were sealed anew; all of them are under key {} now",
        rotated.rewrapped, rotated.primary
    );
    println!(
        "the lines before it may be removed once `layby keys rotate` has been seen to end without a fault"
    );
}

/// The data keys of accounts, in SQL.
struct AccountKeys(Database);

impl WrappedKeys for AccountKeys {
    async fn page(
        &self,
        after: Option<BuyerId>,
        rows_max: usize,
    ) -> anyhow::Result<Vec<(BuyerId, Vec<u8>)>> {
        let limit = u32::try_from(rows_max)?;
        Ok(self.0.data_keys(after.unwrap_or_default(), limit).await?)
    }

    async fn replace(&self, owner: BuyerId, old: &[u8], new: &[u8]) -> anyhow::Result<bool> {
        let replaced = self.0.replace_data_key(owner, old.to_vec(), new.to_vec());
        Ok(replaced.await?)
    }
}
