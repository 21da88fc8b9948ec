//! Tests need servers and tools that are not part of Layby. One that is missing is a failure and not a test less.

use std::env::current_exe;
use std::process::Command;

/// A test that needs something, and the words that tell what.
const NEEDS: &[(&str, &str)] = &[
    (
        "cli::mariadb::migrating_is_done_as_often_as_one_likes",
        "LAYBY_TEST_MYSQL_URL names no MariaDB",
    ),
    (
        "database_away::told_to_stop_while_the_database_is_dead_it_ends_in_order",
        "mariadb-install-db in PATH",
    ),
    (
        "accounts::limits::no_flush_brings_back_what_was_ended",
        "redis-server in PATH",
    ),
    (
        "payments::stripe::sqlite::a_payment_through_stripe_buys_the_units",
        "localstripe in PATH",
    ),
    (
        "mail_transport::a_certificate_that_nobody_knows_gets_no_letter",
        "runs no aiosmtpd",
    ),
    (
        "journal_damage::sqlite::after_a_failed_fsync_nothing_is_promised",
        "strace in PATH",
    ),
];

#[test]
fn what_a_machine_lacks_fails_the_tests_that_need_it_and_is_named() {
    for (test, lack) in NEEDS {
        let output = Command::new(current_exe().expect("this program"))
            .args(["--exact", test])
            .env("PATH", "/nowhere")
            .env("PYTHONHOME", "/nowhere")
            .env_remove("LAYBY_TEST_MYSQL_URL")
            .output()
            .expect("it runs once more");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success(), "{test} passed: {said}");
        assert!(said.contains(lack), "{test}: {said}");
        assert!(said.contains("scripts/test"), "{test}: {said}");
    }
}
