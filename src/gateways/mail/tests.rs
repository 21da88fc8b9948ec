//! What a mail server can answer, and what that means; and what options open.

use std::time::Duration;

use super::conformance::{letter, run};
use super::scripted_server::ScriptedServer;
use super::*;

fn transport(server: &ScriptedServer) -> SmtpTransport {
    SmtpTransport::open(&server.url(), None).expect("a transport")
}

#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Taken,
    Away,
    Temporary,
    Permanent,
}

async fn meaning(transport: &SmtpTransport) -> (Meaning, String) {
    match transport.send(letter("x")).await {
        Ok(()) => (Meaning::Taken, String::new()),
        Err(SendError::Away(words)) => (Meaning::Away, words),
        Err(SendError::Temporary(words)) => (Meaning::Temporary, words),
        Err(SendError::Permanent(words)) => (Meaning::Permanent, words),
    }
}

#[test]
fn each_answer_has_a_meaning() {
    use Meaning::{Away, Permanent, Temporary};
    let server = ScriptedServer::start();
    let transport = transport(&server);
    let cases = [
        ("HELLO", "554 no service for you", Away),
        ("HELLO", "421 too busy", Away),
        ("EHLO", "550 who are you", Away),
        ("MAIL", "451 try later", Temporary),
        ("MAIL", "421 closing", Away),
        ("MAIL", "530 sign in first", Away),
        ("RCPT", "450 <buyer@shop.example> is greylisted", Temporary),
        ("RCPT", "550 <buyer@shop.example> is unknown", Permanent),
        ("RCPT", "501 no such syntax", Permanent),
        ("DATA", "452 disk full", Temporary),
        ("DATA", "503 not now", Away),
        ("END", "452 disk full", Temporary),
        ("END", "552 too long", Permanent),
        ("END", "554 looks like spam", Permanent),
        ("END", "no number", Away),
    ];
    run(async {
        for (verb, answer, expected) in cases {
            server.answer(verb, answer);
            // A connection that was kept would not be greeted again.
            let transport = match verb {
                "HELLO" | "EHLO" => &self::transport(&server),
                _ => &transport,
            };
            let (meant, words) = meaning(transport).await;
            assert_eq!(meant, expected, "{verb} answered {answer}: {words}");
            assert!(words.contains(&format!(":{}", server.port())), "{words}");
            assert!(!words.contains("buyer"), "{words}");
            server.answer_as_usual();
            assert_eq!(meaning(transport).await.0, Meaning::Taken, "after {answer}");
        }
    });
    assert_eq!(server.letters().len(), 15);
}

#[test]
fn a_password_that_is_refused_costs_no_letter() {
    let server = ScriptedServer::start();
    server.answer("AUTH", "535 wrong password");
    let url = format!("smtp://shop:s3cret@127.0.0.1:{}?tls=none", server.port());
    let transport = SmtpTransport::open(&url, None).expect("a transport");
    run(async {
        let (meant, words) = meaning(&transport).await;
        assert_eq!(meant, Meaning::Away);
        assert!(!words.contains("s3cret"), "{words}");
        server.answer_as_usual();
        assert_eq!(meaning(&transport).await.0, Meaning::Taken);
    });
}

#[test]
fn a_server_that_hangs_is_left_in_time_and_its_connection_with_it() {
    let server = ScriptedServer::start();
    let limit = Duration::from_millis(150);
    let transport = SmtpTransport::with_timeout(&server.url(), None, limit).expect("a transport");
    run(async {
        for verb in ["HELLO", "EHLO", "MAIL", "RCPT", "END"] {
            server.answer(verb, "");
            let (meant, words) = match verb {
                "HELLO" | "EHLO" => {
                    let fresh = SmtpTransport::with_timeout(&server.url(), None, limit);
                    meaning(&fresh.expect("a transport")).await
                }
                _ => meaning(&transport).await,
            };
            assert_eq!(meant, Meaning::Away, "{verb} hung: {words}");
            server.answer_as_usual();
            let before = server.letters().len();
            let connections = server.connections();
            assert_eq!(meaning(&transport).await.0, Meaning::Taken, "after {verb}");
            assert_eq!(server.letters().len(), before + 1);
            // After a try that was given up the next letter has a connection of its own.
            let fresh = u8::from(!matches!(verb, "EHLO"));
            assert_eq!(server.connections() - connections, usize::from(fresh));
        }
    });
}

#[test]
fn letters_one_after_the_other_share_a_connection() {
    let server = ScriptedServer::start();
    let transport = transport(&server);
    run(async {
        for _ in 0..10 {
            assert_eq!(meaning(&transport).await.0, Meaning::Taken);
        }
    });
    assert_eq!((server.letters().len(), server.connections()), (10, 1));
}

#[test]
fn nobody_at_the_address_is_away() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("a port").port()
    };
    let url = format!("smtp://127.0.0.1:{port}");
    let transport = SmtpTransport::open(&url, None).expect("a transport");
    run(async {
        assert_eq!(meaning(&transport).await.0, Meaning::Away);
    });
}

#[test]
fn a_server_without_starttls_gets_no_letter_where_it_is_required() {
    let server = ScriptedServer::start();
    let url = format!("smtp://127.0.0.1:{}?tls=starttls", server.port());
    let transport = SmtpTransport::open(&url, None).expect("a transport");
    run(async {
        assert_eq!(meaning(&transport).await.0, Meaning::Away);
    });
    assert!(server.letters().is_empty());
}

#[test]
fn an_address_that_the_server_cannot_write_is_refused_for_good() {
    let server = ScriptedServer::start();
    let transport = transport(&server);
    let message = Message::builder()
        .from("shop@shop.example".parse().expect("an address"))
        .to("한국@shop.example".parse().expect("an address"))
        .subject("x")
        .body("x".to_owned())
        .expect("a letter");
    let sent = run(transport.send(message));
    assert!(matches!(sent, Err(SendError::Permanent(_))), "{sent:?}");
}

#[test]
fn options_name_a_place() {
    let root = tempfile::tempdir().expect("a directory");
    let place = |url: Option<&str>| {
        let options = MailOptions {
            url: url.map(str::to_owned),
            ..MailOptions::default()
        };
        open(&options, root.path())
            .expect("a transport")
            .place()
            .to_owned()
    };
    let letters = root.path().join("letters").display().to_string();
    assert_eq!(
        place(None),
        format!("file:{}", root.path().join("outbox").display())
    );
    assert_eq!(
        place(Some(&format!("file:{letters}"))),
        format!("file:{letters}")
    );
    assert_eq!(
        place(Some(&format!("file://{letters}"))),
        format!("file:{letters}")
    );
    assert_eq!(
        place(Some("smtps://u:s3cret@mail.example")),
        "smtps://mail.example:465"
    );
}

#[test]
fn options_that_are_no_good_are_told_without_the_password() {
    let root = tempfile::tempdir().expect("a directory");
    let refused = |options: MailOptions| {
        assert!(!format!("{options:?}").contains("s3cret"));
        let error = open(&options, root.path()).expect_err("no good");
        let told = format!("{error:#} {error:?}");
        assert!(!told.contains("s3cret"), "{told}");
        told
    };
    let with_url = |url: &str| MailOptions {
        url: Some(url.to_owned()),
        ..MailOptions::default()
    };
    assert!(refused(with_url("imap://u:s3cret@mail.example")).contains("smtps://mail.example"));
    assert!(refused(with_url("file:")).contains("file:/var/lib/layby/outbox"));
    let from = "Layby <no-reply>".to_owned();
    let told = refused(MailOptions {
        from,
        ..MailOptions::default()
    });
    assert!(told.contains("Layby <no-reply>") && told.contains("no-reply@shop.example"));
}
