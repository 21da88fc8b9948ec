//! A letter as a mail: plain text and HTML of the same words, and the headers.
//!
//! **Invariant:** nothing that a person chose is in a header but the address, which is parsed. A name with a line break in
//! it stays on its line of the text.

use std::time::{Duration, SystemTime};

use askama::Template;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};
use uuid::Uuid;

use super::texts::{Text, text};
use super::{Envelope, Language};
use crate::domain::Timestamp;

/// Why an envelope cannot become a mail. Says nothing about the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadEnvelope {
    #[error("it is not addressed to an e-mail address")]
    Address,
    #[error("it cannot be laid out")]
    Layout,
}

#[derive(Template)]
#[template(path = "mail/letter.txt", escape = "none")]
struct PlainText<'a> {
    text: &'a Text<'a>,
}

#[derive(Template)]
#[template(path = "mail/letter.html")]
struct Html<'a> {
    text: &'a Text<'a>,
    language: Language,
}

/// The mail for an envelope. `id` is that of the letter in the outbox: a letter that goes out twice after a crash has the
/// same `Message-ID` both times, by which mail programs see that it is one.
pub fn message(
    envelope: &Envelope,
    from: &Mailbox,
    id: u128,
    at: Timestamp,
) -> Result<Message, BadEnvelope> {
    let to = parse_address(&envelope.to).ok_or(BadEnvelope::Address)?;
    let text = text(envelope.language, &envelope.letter);
    let (plain, html) = render(envelope.language, &text).or(Err(BadEnvelope::Layout))?;
    Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(text.subject)
        .date(SystemTime::UNIX_EPOCH + Duration::from_micros(at.as_micros()))
        .message_id(Some(message_id(from, id)))
        // Nobody's holiday notice is an answer to this.
        .raw_header(header("Auto-Submitted", "auto-generated"))
        .raw_header(header("Content-Language", envelope.language.as_str()))
        .multipart(MultiPart::alternative_plain_html(plain, html))
        .or(Err(BadEnvelope::Layout))
}

fn render(language: Language, text: &Text<'_>) -> Result<(String, String), askama::Error> {
    let plain = PlainText { text }.render()?;
    let html = Html { text, language }.render()?;
    Ok((plain, html))
}

/// A domain in any script becomes what DNS knows it by; few servers take it otherwise.
fn parse_address(address: &str) -> Option<Address> {
    let (user, domain) = address.rsplit_once('@')?;
    let domain = idna::domain_to_ascii(domain).ok()?;
    Address::new(user, domain).ok()
}

fn message_id(from: &Mailbox, id: u128) -> String {
    let domain = from.email.domain();
    let domain = idna::domain_to_ascii(domain).unwrap_or_else(|_| "localhost".to_owned());
    format!("<{}@{domain}>", Uuid::from_u128(id))
}

fn header(name: &'static str, value: &'static str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

#[cfg(test)]
mod tests {
    use mail_parser::{MessageParser, MimeHeaders};

    use super::super::letter::tests::{envelope, every_letter};
    use super::super::{Letter, OrderSummary, RefundReason};
    use super::*;

    const LANGUAGES: [Language; 2] = [Language::English, Language::Korean];
    const ID: u128 = 0x0192_3456_789a_7bcd_8ef0_1234_5678_9abc;

    fn mail(envelope: &Envelope) -> Vec<u8> {
        let from = "Layby <no-reply@shop.example>".parse().expect("a sender");
        let at = Timestamp::from_micros(1_800_000_000_000_000);
        message(envelope, &from, ID, at)
            .expect("a mail")
            .formatted()
    }

    /// Subject, plain text and HTML, as another program reads them.
    fn read(mail: &[u8]) -> (String, String, String) {
        let read = MessageParser::default().parse(mail).expect("a mail");
        let subject = read.subject().expect("a subject").to_owned();
        let plain = read.body_text(0).expect("plain text").replace("\r\n", "\n");
        let html = read.body_html(0).expect("HTML").replace("\r\n", "\n");
        (subject, plain, html)
    }

    fn code_of(letter: &Letter) -> Option<&str> {
        match letter {
            Letter::VerifyEmail { code, .. } | Letter::ResetPassword { code, .. } => Some(code),
            _ => None,
        }
    }

    fn name_of(letter: &Letter) -> Option<&str> {
        match letter {
            Letter::VerifyEmail { username, .. } | Letter::ResetPassword { username, .. } => {
                Some(username)
            }
            _ => None,
        }
    }

    #[test]
    fn each_letter_is_read_by_another_program_as_it_was_written() {
        for language in LANGUAGES {
            for letter in every_letter() {
                let bytes = mail(&envelope(language, letter.clone()));
                let (subject, plain, html) = read(&bytes);
                let said = text(language, &letter);
                assert_eq!(subject, said.subject);
                for paragraph in said.before.iter().chain(&said.after) {
                    assert!(plain.contains(&format!("{paragraph}\n\n")), "{plain}");
                }
                assert!(
                    plain
                        .trim_end()
                        .ends_with(&format!("\n-- \n{}", said.footer)),
                    "{plain}"
                );
                assert!(html.contains(&format!("<html lang=\"{}\">", language.as_str())));
                assert!(html.contains(said.footer));
                for paragraph in said.before.iter().chain(&said.after) {
                    // Quotation marks are written otherwise in HTML.
                    let start: String = paragraph.chars().take(20).collect();
                    assert!(html.contains(&start), "{html}");
                }
            }
        }
    }

    #[test]
    fn a_code_stands_alone_on_its_line() {
        for language in LANGUAGES {
            for letter in every_letter() {
                let (subject, plain, html) = read(&mail(&envelope(language, letter.clone())));
                let Some(code) = code_of(&letter) else {
                    assert_eq!(text(language, &letter).code, None);
                    continue;
                };
                assert_eq!(
                    plain.lines().filter(|line| *line == code).count(),
                    1,
                    "{plain}"
                );
                assert_eq!(plain.matches(code).count(), 1);
                assert!(html.contains(&format!(">{code}</p>")), "{html}");
                assert!(!subject.contains(code));
                assert!(plain.contains(name_of(&letter).expect("a name")));
                assert!(!subject.contains(name_of(&letter).expect("a name")));
                assert!(plain.contains("10"), "for how long is it good? {plain}");
            }
        }
    }

    fn order_of(letter: &Letter) -> Option<&OrderSummary> {
        match letter {
            Letter::OrderHeld { order, .. }
            | Letter::OrderPaid { order }
            | Letter::OrderExpired { order }
            | Letter::OrderCancelled { order, .. }
            | Letter::PaymentReturned { order, .. }
            | Letter::OrderRefunded { order, .. }
            | Letter::OrderShipped { order, .. } => Some(order),
            _ => None,
        }
    }

    #[test]
    fn a_letter_about_an_order_has_its_number_and_its_bill() {
        let mut orders = 0;
        for letter in every_letter() {
            let Some(order) = order_of(&letter) else {
                continue;
            };
            orders += 1;
            for (language, price, sum, more) in [
                (Language::English, "KRW 78,000", "Total", "and 3 more"),
                (Language::Korean, "78,000원", "합계", "외 3건"),
            ] {
                let (subject, plain, html) = read(&mail(&envelope(language, letter.clone())));
                assert!(plain.contains(&order.id.to_string()), "{plain}");
                assert!(!subject.contains(&order.id.to_string()));
                let mut bill = format!("\n\nDesk lamp × 2: {price}\n");
                if order.more_lines > 0 {
                    bill += &format!("{more}\n");
                }
                bill += &format!("{sum}: {price}\n\n");
                assert!(plain.contains(&bill), "{plain}");
                assert_eq!(html.matches("<tr>").count(), bill.trim().lines().count());
                assert!(html.contains("Desk lamp × 2"), "{html}");
            }
        }
        assert!(orders >= 8, "{orders} letters are about an order");
    }

    #[test]
    fn a_deadline_is_in_the_words_of_the_language() {
        for letter in every_letter() {
            let has_deadline = matches!(
                letter,
                Letter::OrderHeld { .. } | Letter::WaitlistOffer { .. }
            );
            for (language, deadline) in [
                (
                    Language::English,
                    "14:05 on Tuesday, 24 November 2026 (Seoul time)",
                ),
                (
                    Language::Korean,
                    "2026년 11월 24일 화요일 14시 5분(한국 시간)",
                ),
            ] {
                let (_, plain, _) = read(&mail(&envelope(language, letter.clone())));
                assert_eq!(plain.contains(deadline), has_deadline, "{plain}");
            }
        }
    }

    #[test]
    fn each_reason_to_give_money_back_is_a_sentence_of_its_own() {
        let paid = every_letter()
            .into_iter()
            .find_map(|it| order_of(&it).cloned());
        let order = paid.expect("a letter about an order");
        let reasons = [
            RefundReason::Cancelled,
            RefundReason::TooLate,
            RefundReason::Returned,
            RefundReason::PaidTwice,
        ];
        for language in LANGUAGES {
            let said = reasons.map(|reason| {
                let order = order.clone();
                let letter = Letter::OrderRefunded { order, reason };
                let (_, plain, _) = read(&mail(&envelope(language, letter)));
                plain
            });
            for (index, one) in said.iter().enumerate() {
                assert!(!said[index + 1..].contains(one), "{one}");
            }
        }
    }

    #[test]
    fn languages_say_different_things_in_as_many_paragraphs() {
        for letter in every_letter() {
            let (english, korean) = (
                text(Language::English, &letter),
                text(Language::Korean, &letter),
            );
            let shape = |text: &Text<'_>| (text.before.len(), text.after.len());
            assert_eq!(shape(&english), shape(&korean), "{letter:?}");
            let is_korean = |text: &str| text.chars().any(|it| ('가'..='힣').contains(&it));
            let both = |text: &Text<'_>, wanted: bool| {
                let said = text.before.iter().chain(&text.after);
                said.map(String::as_str)
                    .chain([text.subject, text.footer])
                    .all(|it| is_korean(it) == wanted)
            };
            assert!(both(&english, false) && both(&korean, true), "{letter:?}");
        }
    }

    #[test]
    fn a_mail_goes_through_the_oldest_servers() {
        for language in LANGUAGES {
            for letter in every_letter() {
                let bytes = mail(&envelope(language, letter));
                assert!(bytes.is_ascii());
                let text = String::from_utf8(bytes).expect("ASCII");
                assert!(text.split("\r\n").all(|line| line.len() <= 998));
                assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
                assert!(!text.contains("8bit"));
            }
        }
    }

    #[test]
    fn the_headers_say_who_writes_to_whom_and_that_no_person_does() {
        let envelope = envelope(Language::Korean, Letter::PasswordChanged {});
        let bytes = mail(&envelope);
        assert_eq!(
            mail(&envelope).len(),
            bytes.len(),
            "a repeat is the same letter"
        );
        let read = MessageParser::default().parse(&bytes).expect("a mail");
        assert_eq!(
            read.message_id(),
            Some("01923456-789a-7bcd-8ef0-123456789abc@shop.example")
        );
        let address = |it: Option<&mail_parser::Address<'_>>| {
            let first = it.and_then(|it| it.first()).expect("an address");
            first.address().expect("an address").to_owned()
        };
        assert_eq!(address(read.from()), "no-reply@shop.example");
        assert_eq!(address(read.to()), "mina@mail.example");
        assert_eq!(read.date().expect("a date").to_timestamp(), 1_800_000_000);
        assert!(
            read.content_type()
                .is_some_and(|it| it.subtype() == Some("alternative"))
        );
        let header = |name: &str| {
            read.header(name)
                .and_then(|it| it.as_text())
                .map(str::to_owned)
        };
        assert_eq!(header("Auto-Submitted").as_deref(), Some("auto-generated"));
        assert_eq!(
            read.header_raw("Content-Language").map(str::trim),
            Some("ko")
        );
    }

    #[test]
    fn a_name_with_line_breaks_makes_neither_a_header_nor_a_line() {
        let names = [
            "mina\r\nBcc: all@mail.example",
            "mina\nBcc: all@mail.example",
            "mina\r\n\r\n<script>alert(1)</script>",
            "mina\u{2028}Bcc: all@mail.example\u{202e}",
        ];
        for username in names {
            for language in LANGUAGES {
                let letter = Letter::VerifyEmail {
                    username: username.to_owned(),
                    code: "483920".to_owned(),
                    minutes: 10,
                };
                let bytes = mail(&envelope(language, letter));
                let read_mail = MessageParser::default().parse(&bytes).expect("a mail");
                assert!(read_mail.bcc().is_none());
                assert_eq!(read_mail.to().map(|it| it.iter().count()), Some(1));
                let (_, plain, html) = read(&bytes);
                assert!(
                    !plain
                        .lines()
                        .any(|it| it.starts_with("Bcc") || it.starts_with('<'))
                );
                assert!(!plain.contains(['\u{2028}', '\u{202e}']));
                assert!(!html.contains("<script"), "{html}");
            }
        }
    }

    #[test]
    fn a_name_cannot_say_more_than_a_name() {
        let letter = Letter::VerifyEmail {
            username: "word ".repeat(1_000),
            code: "483920".to_owned(),
            minutes: 10,
        };
        let said = text(Language::English, &letter);
        assert!(said.before[0].chars().count() < 80, "{}", said.before[0]);
    }

    #[test]
    fn what_is_no_address_gets_no_mail() {
        let from = "Layby <no-reply@shop.example>".parse().expect("a sender");
        for to in [
            "mina",
            "",
            "@mail.example",
            "mina@",
            "mina@mail.example\r\nBcc: all@mail.example",
            "mina\r\nBcc: all@mail.example",
            "mina@mail.example, all@mail.example",
            "Mina <mina@mail.example>",
        ] {
            let mut envelope = envelope(Language::English, Letter::AddressInUse {});
            to.clone_into(&mut envelope.to);
            let made = message(&envelope, &from, ID, Timestamp::ZERO);
            assert_eq!(made.err(), Some(BadEnvelope::Address), "{to}");
        }
    }

    #[test]
    fn a_domain_in_korean_is_written_as_servers_know_it() {
        let mut envelope = envelope(Language::Korean, Letter::AddressInUse {});
        envelope.to = "mina@한국.example".to_owned();
        let text = String::from_utf8(mail(&envelope)).expect("ASCII");
        assert!(text.contains("To: mina@xn--3e0b707e.example\r\n"), "{text}");
    }
}
