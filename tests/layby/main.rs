//! The real program, seen from outside: every test starts `layby` on a free port, with a data directory and a
//! database of its own.
//!
//! A test is a sentence and its data; what it takes to say it is in `support`. When a shop goes out of scope it is
//! closed, its books are proved by `layby verify`, and its log must hold no error that the test did not announce.
//!
//! What a test needs and this machine lacks fails it, by name: nothing is passed over. `scripts/test` brings everything.
//! Without it, `cargo test -- --skip mariadb` leaves out the half that runs on MariaDB, and counts it as filtered out.
//!
//! | variable | what it does |
//! | --- | --- |
//! | `LAYBY_TEST_MYSQL_URL` | a MariaDB whose user may create databases |
//! | `LAYBY_TEST_CRASH_ROUNDS` | how often a loaded server is killed; 50 unless told |
//! | `LAYBY_TEST_BINARY` | another `layby` than the one built with the tests: an optimised one |
//! | `LAYBY_TEST_LONG` | `1`: long absences of the database, and what else takes minutes |

mod support;

mod accounts;
mod admin;
mod bad_input;
mod bound_books;
mod cli;
mod contract;
mod crash;
mod database_away;
mod day;
mod demo_clock;
mod engine;
mod export;
mod journal_damage;
mod journey;
mod limits;
mod live;
mod mail_transport;
mod mistakes;
mod notices;
mod orders;
mod payments;
mod products;
mod rehearsal;
mod returns;
mod shipping;
mod tools;
mod waitlist;
mod wall_clock;
mod wishlist;
