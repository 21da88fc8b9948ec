//! Tests of the persistence as a whole, on SQLite and on the MariaDB or MySQL that `LAYBY_TEST_MYSQL_URL` names (without
//! a database; each test makes its own).

mod accounts;
mod bench;
mod books;
mod histories;
mod in_hand;
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
