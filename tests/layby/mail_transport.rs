//! Letters to a mail server that somebody else wrote. Without aiosmtpd on the machine these tests say so and end.

use std::path::Path;
use std::sync::Arc;

use layby::domain::Timestamp;
use layby::gateways::mail::{MailOptions, MailTransport, SendError, open};
use layby::mail::{Envelope, Language, Letter, message};
use lettre::Message;

use super::support::{MailServer, ReceivedLetter, Tls};

const MINA: &str = "mina@mail.example";

/// An office that sends to `url`.
struct Office {
    runtime: tokio::runtime::Runtime,
    transport: Arc<dyn MailTransport>,
}

impl Office {
    fn to(url: String, ca_file: Option<&Path>) -> Self {
        let options = MailOptions {
            url: Some(url),
            ca_file: ca_file.map(Path::to_path_buf),
            ..MailOptions::default()
        };
        let nowhere = Path::new("/nowhere");
        Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime"),
            transport: open(&options, nowhere).expect("a transport"),
        }
    }

    fn send(&self, letter: Message) -> Result<(), SendError> {
        self.runtime.block_on(self.transport.send(letter))
    }
}

fn letter_to(to: &str, language: Language, code: &str) -> Message {
    let envelope = Envelope {
        to: to.to_owned(),
        language,
        letter: Letter::VerifyEmail {
            username: "mina".to_owned(),
            code: code.to_owned(),
            minutes: 10,
        },
    };
    let from = MailOptions::default().sender().expect("a sender");
    let at = Timestamp::from_micros(1_800_000_000_000_000);
    message(&envelope, &from, 7, at).expect("a letter")
}

fn letter(code: &str) -> Message {
    letter_to(MINA, Language::English, code)
}

fn codes(letters: &[ReceivedLetter]) -> Vec<String> {
    letters.iter().filter_map(ReceivedLetter::code).collect()
}

#[track_caller]
fn check_away(sent: Result<(), SendError>, server: &MailServer) {
    assert!(matches!(sent, Err(SendError::Away(_))), "{sent:?}");
    assert_eq!(server.letters_to(MINA), []);
}

#[test]
fn letters_arrive_in_both_languages_as_they_were_written() {
    let server = MailServer::start(Tls::None);
    let office = Office::to(format!("smtp://127.0.0.1:{}", server.port()), None);
    let korean = "hana@mail.example";
    assert_eq!(office.send(letter("483920")), Ok(()));
    assert_eq!(office.send(letter("K7QF-2MWD")), Ok(()));
    assert_eq!(
        office.send(letter_to(korean, Language::Korean, "112233")),
        Ok(())
    );

    let letters = server.letters_to(MINA);
    assert_eq!(codes(&letters), ["483920", "K7QF-2MWD"]);
    assert_eq!(server.code_for(MINA), "K7QF-2MWD");
    assert_eq!(letters[0].subject, "Confirm your e-mail address");
    assert_eq!(letters[0].header("X-RcptTo"), Some(MINA));
    assert_eq!(letters[0].header("X-MailFrom"), Some("no-reply@localhost"));
    assert_eq!(letters[0].header("Auto-Submitted"), Some("auto-generated"));
    assert!(letters[0].html.contains(">483920</p>"));

    let [letter] = &server.letters_to(korean)[..] else {
        panic!("one letter was sent");
    };
    assert_eq!(letter.subject, "이메일 주소를 인증해 주세요");
    assert!(
        letter.text.starts_with("mina 님, 안녕하세요.\n"),
        "{}",
        letter.text
    );
    assert!(letter.html.contains("mina 님, 안녕하세요."));
    assert_eq!(server.code_for(korean), "112233");
}

#[test]
fn starttls_with_a_certificate_that_we_know_is_used() {
    let server = MailServer::start(Tls::Start);
    let ca_file = server.ca_file();
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("smtp://{host}:{}?tls=starttls", server.port());
        let office = Office::to(url, Some(&ca_file));
        assert_eq!(office.send(letter("483920")), Ok(()), "{host}");
    }
    assert_eq!(server.letters_to(MINA).len(), 2);
}

#[test]
fn a_server_of_the_same_machine_needs_no_certificate_that_anybody_knows() {
    let server = MailServer::start(Tls::Start);
    let url = format!("smtp://localhost:{}", server.port());
    assert_eq!(Office::to(url, None).send(letter("483920")), Ok(()));
    assert_eq!(server.code_for(MINA), "483920");
}

#[test]
fn a_certificate_that_nobody_knows_gets_no_letter() {
    let server = MailServer::start(Tls::Start);
    let other = server.other_ca_file();
    let plain = format!("smtp://localhost:{}", server.port());
    let required = format!("{plain}?tls=starttls");
    check_away(
        Office::to(required.clone(), None).send(letter("1")),
        &server,
    );
    check_away(
        Office::to(required, Some(&other)).send(letter("1")),
        &server,
    );
    // Who names a CA means it, also on the same machine.
    check_away(Office::to(plain, Some(&other)).send(letter("1")), &server);
}

#[test]
fn a_server_that_wants_starttls_gets_no_letter_in_the_clear() {
    let server = MailServer::start(Tls::Start);
    let url = format!("smtp://localhost:{}?tls=none", server.port());
    check_away(Office::to(url, None).send(letter("1")), &server);
}

#[test]
fn tls_from_the_first_byte_asks_for_a_certificate_too() {
    let server = MailServer::start(Tls::Implicit);
    let url = format!("smtps://localhost:{}", server.port());
    let other = server.other_ca_file();
    check_away(Office::to(url.clone(), None).send(letter("1")), &server);
    check_away(
        Office::to(url.clone(), Some(&other)).send(letter("1")),
        &server,
    );
    let office = Office::to(url, Some(&server.ca_file()));
    assert_eq!(office.send(letter("483920")), Ok(()));
    assert_eq!(server.code_for(MINA), "483920");
}

#[test]
fn a_server_that_was_killed_is_used_again_when_it_is_back() {
    let mut server = MailServer::start(Tls::None);
    let office = Office::to(format!("smtp://127.0.0.1:{}", server.port()), None);
    assert_eq!(office.send(letter("1111")), Ok(()));
    server.kill();
    for _ in 0..3 {
        let sent = office.send(letter("2222"));
        assert!(matches!(sent, Err(SendError::Away(_))), "{sent:?}");
    }
    server.start_again();
    assert_eq!(office.send(letter("3333")), Ok(()));
    assert_eq!(codes(&server.letters_to(MINA)), ["1111", "3333"]);
}

#[test]
fn a_recipient_can_be_refused_for_good_or_for_now() {
    let server = MailServer::start(Tls::None);
    let office = Office::to(format!("smtp://127.0.0.1:{}", server.port()), None);
    let to = |address: &str| office.send(letter_to(address, Language::English, "483920"));
    let Err(SendError::Permanent(words)) = to("unknown@mail.example") else {
        panic!("there is no such mailbox");
    };
    assert!(
        words.contains("550") && words.contains("no such mailbox"),
        "{words}"
    );
    assert!(!words.contains("unknown@"), "{words}");
    let sent = to("greylisted@mail.example");
    assert!(matches!(sent, Err(SendError::Temporary(_))), "{sent:?}");
    assert_eq!(to(MINA), Ok(()), "the others are not concerned");
    assert_eq!(server.letters_to("unknown@mail.example"), []);
    assert_eq!(server.letters_to("greylisted@mail.example"), []);
}
