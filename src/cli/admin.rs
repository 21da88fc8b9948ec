//! `layby admin create`: the only way to become an admin without one.

use std::io::{BufRead, IsTerminal, Write};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::accounts::events::admin_created;
use crate::accounts::fields::{Email, PersonName, Phone, Username};
use crate::accounts::passwords::{Password, PasswordPool, PoolOptions};
use crate::accounts::token::{Role, TokenIssuer};
use crate::accounts::vault::Vault;
use crate::accounts::{NewPerson, new_account};
use crate::clock::{Clock, SystemClock};
use crate::config::{StoreSettings, admin_password};
use crate::domain::BuyerId;
use crate::persistence::database::{Account, Error};
use crate::secrets::Secrets;
use crate::startup;

const TOKEN_TTL_SECS: u64 = 86_400;

/// Who the admin is. Without a name it has a token and cannot sign in.
#[derive(Debug, Args)]
pub(super) struct Who {
    /// To sign in with; the password is read from `LAYBY_ADMIN_PASSWORD` or asked for
    #[arg(long, requires = "email")]
    username: Option<String>,
    /// Address for letters; it is taken as verified
    #[arg(long, requires = "username")]
    email: Option<String>,
    /// Name of the person [default: the username]
    #[arg(long, requires = "username")]
    name: Option<String>,
    /// Phone number
    #[arg(long, requires = "username", default_value = "0000000")]
    phone: String,
}

pub(super) async fn create(settings: StoreSettings, who: Who) -> anyhow::Result<()> {
    startup::create_data_dir(&settings.data_dir)?;
    let secrets = Secrets::open(&settings.secrets)?;
    let database = startup::open_database(&settings).await?;
    let id = Uuid::now_v7();
    let admin = BuyerId::new(id.as_u128());
    let now = SystemClock.now();
    let vault = Vault::new(&secrets);
    let account = match who.person()? {
        Some(person) => {
            let passwords = PasswordPool::start(PoolOptions::default())?;
            let made = new_account(&vault, &passwords, admin, Role::Admin, person, now).await;
            made.map_err(|refusal| anyhow!(refusal))?.1
        }
        None => Account::nameless(admin, Role::Admin.as_str(), now),
    };
    match database.create_account(account).await {
        Err(Error::Taken) => bail!("the username or the address is in use; choose another"),
        other => other?,
    }
    let (chain, event) = admin_created(&vault, admin, now);
    database
        .append_account_events(Arc::clone(&chain), vec![event])
        .await?;
    let token = TokenIssuer::new(Arc::clone(secrets.token_keys())).issue_plain(
        id,
        Role::Admin,
        TOKEN_TTL_SECS,
    )?;
    println!("admin {id}");
    println!("token {token}");
    database.close().await;
    Ok(())
}

impl Who {
    fn person(self) -> anyhow::Result<Option<NewPerson>> {
        let (Some(username), Some(email)) = (self.username, self.email) else {
            return Ok(None);
        };
        let field = |name: &'static str| move |fault| anyhow!("--{name} is not right: {fault}");
        let name = self.name.unwrap_or_else(|| username.clone());
        let username = Username::parse(&username).map_err(field("username"))?;
        let email = Email::parse(&email).map_err(field("email"))?;
        let typed = read_password()?;
        let about = [username.as_str(), email.as_str(), email.local_part()];
        let password = Password::new_choice(&typed, &about)
            .map_err(|weak| anyhow!("the password is not right: {weak}"))?;
        Ok(Some(NewPerson {
            password,
            name: PersonName::parse(&name).map_err(field("name"))?,
            phone: Phone::parse(&self.phone).map_err(field("phone"))?,
            username,
            email,
        }))
    }
}

/// From the environment or standard input; never from the command line, where others could see it.
fn read_password() -> anyhow::Result<Zeroizing<String>> {
    if let Some(password) = admin_password() {
        return Ok(password);
    }
    let mut input = std::io::stdin().lock();
    if std::io::stdin().is_terminal() {
        eprint!("password (it is shown): ");
        std::io::stderr().flush()?;
    }
    let mut line = Zeroizing::new(String::new());
    input
        .read_line(&mut line)
        .context("cannot read the password")?;
    Ok(Zeroizing::new(
        line.trim_end_matches(['\r', '\n']).to_owned(),
    ))
}
