//! Tests of the persistence as a whole: on SQLite always, on MariaDB or MySQL if `LAYBY_TEST_MYSQL_URL` names a server
//! (without a database; each test makes its own).

mod accounts;
mod bench;
mod books;
mod histories;
mod journeys;
mod mail_outbox;
mod migrating;
mod notices;
mod outages;
mod proxy;
mod reading;
mod shop;
mod store;
mod wishlist;
