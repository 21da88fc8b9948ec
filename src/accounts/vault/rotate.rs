//! Another seal key, while everything runs.
//!
//! First the new key is in the file; from then on whatever is wrapped, here or by a running server, is wrapped by it.
//! Then the data keys that older seal keys wrapped are wrapped again, each by a compare-and-swap, so that nothing a
//! server has written meanwhile is lost. It ends with a pass that finds nothing to do. It may be killed at any point:
//! every row is under the old key or the new one, both are in the file, and a second run does the rest.
//!
//! Deliberately absent: taking old keys out of the file. A server may have been between drawing a data key and storing it
//! when the last pass went by; so an old key goes by hand, after [`finish`] has found nothing under it once more.

use super::{Damaged, Vault};
use crate::domain::BuyerId;
use crate::secrets::{KeyId, append_key};

/// Accounts that are read at once.
const PAGE_ROWS: usize = 500;
/// Passes over all accounts; after so many, somebody keeps wrapping with an old key, and the rotation says so.
const PASSES_MAX: u32 = 16;

/// The wrapped data keys, wherever they are kept.
pub(crate) trait WrappedKeys {
    /// At most `rows_max` accounts that have a data key, with what wraps it, in the order of their ids, beginning after
    /// `after`. Fewer than `rows_max` only at the end.
    fn page(
        &self,
        after: Option<BuyerId>,
        rows_max: usize,
    ) -> impl Future<Output = anyhow::Result<Vec<(BuyerId, Vec<u8>)>>> + Send;

    /// Puts `new` in the place of `old`, durably and at once; `false`, and nothing happens, if something else is there.
    fn replace(
        &self,
        owner: BuyerId,
        old: &[u8],
        new: &[u8],
    ) -> impl Future<Output = anyhow::Result<bool>> + Send;
}

/// What a rotation has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rotated {
    /// The key that all data keys are under now.
    pub(crate) primary: KeyId,
    /// Data keys that were wrapped again.
    pub(crate) rewrapped: u64,
    /// Data keys that did not open, as the log says one by one; they are as they were.
    pub(crate) damaged: u64,
    /// Passes over all accounts; the last one found nothing to do.
    pub(crate) passes: u32,
}

/// Appends a seal key to the file and wraps every data key with it.
///
/// # Errors
/// If the keys come from the environment, where only whoever set them can add one; if the file or the store fails; if
/// somebody keeps wrapping with an old key. What was wrapped again until then stays so, and [`finish`] does the rest.
pub(crate) async fn rotate(
    vault: &Vault,
    store: &(impl WrappedKeys + Sync),
) -> anyhow::Result<Rotated> {
    let Some(path) = vault.seal_keys().path() else {
        anyhow::bail!(
            "the seal keys come from the environment; add a new one there, as the last, restart the servers, and finish \
             the rotation"
        );
    };
    append_key(path)?;
    finish(vault, store).await
}

/// Wraps every data key with the newest seal key there is. For keys from the environment, for a rotation that was
/// interrupted, and to see that nothing needs an old key any more: then nothing is rewrapped.
///
/// # Errors
/// As [`rotate`].
pub(crate) async fn finish(
    vault: &Vault,
    store: &(impl WrappedKeys + Sync),
) -> anyhow::Result<Rotated> {
    let mut done = Rotated {
        primary: vault.seal_keys().primary().id(),
        rewrapped: 0,
        damaged: 0,
        passes: 0,
    };
    while done.passes < PASSES_MAX {
        done.passes += 1;
        let pass = pass(vault, store).await?;
        done.primary = vault.seal_keys().primary().id();
        done.rewrapped += pass.rewrapped;
        done.damaged = pass.damaged;
        if pass.rewrapped == 0 && pass.lost == 0 {
            return Ok(done);
        }
    }
    anyhow::bail!(
        "after {PASSES_MAX} passes there are still data keys under an old seal key, and {} were wrapped again; is there a \
         server that cannot read the file of the keys? Then finish the rotation",
        done.rewrapped
    )
}

/// What one pass over all accounts came upon.
#[derive(Default)]
struct Pass {
    rewrapped: u64,
    /// Changed by somebody else between reading and replacing; the next pass looks again.
    lost: u64,
    damaged: u64,
}

async fn pass(vault: &Vault, store: &impl WrappedKeys) -> anyhow::Result<Pass> {
    let mut pass = Pass::default();
    let mut after = None;
    loop {
        let page = store.page(after, PAGE_ROWS).await?;
        let Some((last, _)) = page.last() else {
            return Ok(pass);
        };
        assert!(after < Some(*last), "a page begins after the one before");
        after = Some(*last);
        for (owner, wrapped) in &page {
            match vault.rewrap(*owner, wrapped) {
                Ok(None) => {}
                Ok(Some(new)) if store.replace(*owner, wrapped, &new).await? => pass.rewrapped += 1,
                Ok(Some(_)) => pass.lost += 1,
                Err(damaged) => pass.note(damaged),
            }
        }
        if page.len() < PAGE_ROWS {
            return Ok(pass);
        }
    }
}

impl Pass {
    fn note(&mut self, damaged: Damaged) {
        self.damaged += 1;
        tracing::error!(account.id = %BuyerId::new(damaged.place.row), "{damaged}; it is left as it is");
    }
}
