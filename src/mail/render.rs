//! A letter as it travels: plain text and HTML beside each other.

use askama::Template;
use lettre::Message;
use lettre::message::{Mailbox, MultiPart};

use super::letter::{Envelope, Text};

#[derive(Template)]
#[template(path = "mail/letter.txt")]
struct Plain<'a> {
    before: &'a [String],
    code: Option<&'a str>,
    after: &'a [String],
    signature: &'a str,
}

#[derive(Template)]
#[template(path = "mail/letter.html")]
struct Html<'a> {
    language: &'a str,
    subject: &'a str,
    before: &'a [String],
    code: Option<&'a str>,
    after: &'a [String],
    signature: &'a str,
}

/// A letter that cannot be written. It will not be possible later either.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    #[error("the address is not one that mail can be sent to")]
    Address,
    #[error("the text could not be laid out: {0}")]
    Layout(#[from] askama::Error),
    #[error("the letter could not be put together: {0}")]
    Assembly(#[from] lettre::error::Error),
}

/// What a person wrote stands in the text alone, never in a header.
pub fn render(envelope: &Envelope, from: &Mailbox) -> Result<Message, RenderError> {
    let Text {
        subject,
        before,
        code,
        after,
        signature,
    } = envelope.letter.text(envelope.language);
    let to = envelope
        .to
        .parse()
        .map_err(|_unsendable| RenderError::Address)?;
    let plain = Plain {
        before: &before,
        code: code.as_deref(),
        after: &after,
        signature,
    };
    let html = Html {
        language: envelope.language.as_str(),
        subject,
        before: &before,
        code: code.as_deref(),
        after: &after,
        signature,
    };
    let body = MultiPart::alternative_plain_html(plain.render()?, html.render()?);
    let message = Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(subject)
        .multipart(body)?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Language, Letter};

    fn letters() -> Vec<Letter> {
        let username = "<b>kim</b>".to_owned();
        let code = "123456".to_owned();
        vec![
            Letter::VerifyEmail {
                username: username.clone(),
                code: code.clone(),
                minutes: 10,
            },
            Letter::AddressInUse {},
            Letter::ResetPassword {
                username,
                code,
                minutes: 10,
            },
            Letter::PasswordChanged {},
            Letter::SessionEnded {},
        ]
    }

    fn from() -> Mailbox {
        "Layby <no-reply@localhost>".parse().expect("a mailbox")
    }

    fn rendered(letter: Letter, language: Language) -> String {
        let envelope = Envelope {
            to: "kim@example.com".into(),
            language,
            letter,
        };
        let message = render(&envelope, &from()).expect("rendered");
        String::from_utf8(message.formatted()).expect("ASCII")
    }

    #[test]
    fn every_letter_exists_in_every_language_as_text_and_html() {
        for language in [Language::English, Language::Korean] {
            for letter in letters() {
                let has_code = matches!(
                    letter,
                    Letter::VerifyEmail { .. } | Letter::ResetPassword { .. }
                );
                let text = rendered(letter, language);
                assert!(text.is_ascii(), "servers that take 7 bits take it: {text}");
                assert!(
                    text.contains("text/plain") && text.contains("text/html"),
                    "{text}"
                );
                assert!(text.contains("To: kim@example.com\r\n"), "{text}");
                // Text of another alphabet travels as base64 or quoted-printable; the subject is enough here.
                assert_eq!(
                    text.contains("=?utf-8?"),
                    language == Language::Korean,
                    "{text}"
                );
                if language == Language::English {
                    assert_eq!(text.contains("\r\n123456\r\n"), has_code, "{text}");
                }
            }
        }
    }

    #[test]
    fn what_a_person_wrote_is_text_in_the_html() {
        let text = rendered(letters().remove(0), Language::English);
        let html = text.split("text/html").nth(1).expect("an HTML part");
        assert!(!html.contains("<b>kim"), "{html}");
    }

    #[test]
    fn no_header_can_be_smuggled_in() {
        let evil = "kim\r\nBcc: all@example.com\r\n\r\nboo";
        let letter = Letter::VerifyEmail {
            username: evil.into(),
            code: "123456".into(),
            minutes: 10,
        };
        let text = rendered(letter.clone(), Language::English);
        let head = text.split("\r\n\r\n").next().expect("a head");
        assert!(!head.contains("Bcc"), "{head}");
        let to = Envelope {
            to: "kim@example.com\r\nBcc: all@example.com".into(),
            language: Language::English,
            letter,
        };
        assert!(matches!(render(&to, &from()), Err(RenderError::Address)));
    }
}
