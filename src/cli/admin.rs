//! `layby admin create`: the only way to become an admin without one.

use uuid::Uuid;

use crate::clock::{Clock, SystemClock};
use crate::config::StoreSettings;
use crate::domain::BuyerId;
use crate::http::token::Role;
use crate::persistence::database::NewUser;
use crate::startup;

const TOKEN_TTL_SECS: u64 = 86_400;

pub(super) async fn create(settings: StoreSettings) -> anyhow::Result<()> {
    startup::create_data_dir(&settings.data_dir)?;
    let issuer = startup::token_issuer(&settings.data_dir)?;
    let database = startup::open_database(&settings).await?;
    let id = Uuid::now_v7();
    let admin = NewUser {
        id: BuyerId::new(id.as_u128()),
        role: Role::Admin.as_str().into(),
        username_index: None,
        password_hash: None,
        created_at: SystemClock.now(),
    };
    database.create_user(admin).await?;
    let token = issuer.issue(id, Role::Admin, TOKEN_TTL_SECS)?;
    println!("admin {id}");
    println!("token {token}");
    database.close().await;
    Ok(())
}
