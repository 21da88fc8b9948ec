//! What the tests say their sentences with.

mod canary;
mod client;
mod crowd;
mod faketime;
mod letters;
mod live_stream;
mod localstripe;
mod mail_server;
mod mariadb;
mod person;
mod process;
mod redis;
mod shop;
mod slow_stripe;
mod store;
mod trace;
mod trade;
mod wait;
mod webhook;
mod wire;

pub(crate) use canary::Canaries;
pub(crate) use client::{Answer, Caller, Key, line, text};
pub(crate) use crowd::{at_once, some_at_a_time};
pub(crate) use faketime::FakeTime;
pub(crate) use letters::{Outbox, Postbox, code_in};
pub(crate) use live_stream::Heard;
pub(crate) use localstripe::{Booked, LocalStripe};
pub(crate) use mail_server::{MailServer, ReceivedLetter, Tls};
pub(crate) use mariadb::MariaDb;
pub(crate) use person::{Member, Person};
pub(crate) use process::Process;
pub(crate) use redis::Redis;
pub(crate) use shop::{ProviderBooks, Sale, Shop, layby, named_binary, run};
pub(crate) use slow_stripe::SlowStripe;
pub(crate) use store::Store;
pub(crate) use trace::{Call, calls, check_that_strace_works, traced};
pub(crate) use trade::{Registry, recount, trade};
pub(crate) use wait::{eventually, pause};
pub(crate) use webhook::Webhook;
pub(crate) use wire::{Exchange, connect, exchange, read_answer};

/// Makes each sentence a test on SQLite and one on MariaDB.
macro_rules! on_each_database {
    ($($sentence:ident,)+) => {
        mod sqlite {
            $(#[test]
            fn $sentence() {
                super::$sentence($crate::support::Store::Sqlite);
            })+
        }

        mod mariadb {
            $(#[test]
            fn $sentence() {
                super::$sentence($crate::support::Store::MariaDb);
            })+
        }
    };
}
pub(crate) use on_each_database;

/// A setting of the tests themselves.
#[expect(
    clippy::disallowed_methods,
    reason = "tests are not settled by layby.toml"
)]
pub(crate) fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

pub(crate) fn is_long() -> bool {
    setting("LAYBY_TEST_LONG").is_some_and(|value| value == "1")
}
