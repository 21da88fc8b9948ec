//! What can be written to people, and what it says.
//!
//! A new letter is a variant here and its texts in each language; the compiler asks for all of them.

use serde::{Deserialize, Serialize};

/// Languages looked at in a header that lists them; nobody reads more.
const LANGUAGES_READ_MAX: usize = 16;

/// A letter and whom it is for: what is sealed into the outbox.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    pub to: String,
    pub language: Language,
    pub letter: Letter,
}

/// A released name or field never changes its meaning: letters of an older release may wait in the outbox.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Letter {
    VerifyEmail {
        username: String,
        code: String,
        minutes: u32,
    },
    /// Somebody wants to sign up with an address that has an account.
    AddressInUse {},
    ResetPassword {
        username: String,
        code: String,
        minutes: u32,
    },
    PasswordChanged {},
    /// A refresh token came a second time.
    SessionEnded {},
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Language {
    #[default]
    #[serde(rename = "en")]
    English,
    #[serde(rename = "ko")]
    Korean,
}

/// What a letter says, before it is laid out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) subject: &'static str,
    pub(super) before: Vec<String>,
    pub(super) code: Option<String>,
    pub(super) after: Vec<String>,
    pub(super) signature: &'static str,
}

/// Not derived: who is written to, and what, does not belong in a log.
impl std::fmt::Debug for Envelope {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Envelope")
    }
}

impl std::fmt::Debug for Letter {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Letter")
    }
}

impl Language {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Korean => "ko",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "en" => Some(Self::English),
            "ko" => Some(Self::Korean),
            _ => None,
        }
    }

    /// The one that is liked best among those that there are; English if none is.
    pub fn from_accept_language(header: &str) -> Self {
        let mut best = (Self::default(), 0.0);
        for wish in header.split(',').take(LANGUAGES_READ_MAX) {
            let mut parts = wish.split(';').map(str::trim);
            let tag = parts.next().unwrap_or_default().to_ascii_lowercase();
            let primary = tag.split('-').next().unwrap_or_default();
            let weight = parts
                .find_map(|part| part.strip_prefix("q="))
                .map_or(Ok(1.0), str::parse::<f32>)
                .unwrap_or(0.0);
            if let Some(language) = Self::parse(primary)
                && weight > best.1
            {
                best = (language, weight);
            }
        }
        best.0
    }
}

impl Letter {
    pub(super) fn text(&self, language: Language) -> Text {
        match language {
            Language::English => self.english(),
            Language::Korean => self.korean(),
        }
    }

    fn english(&self) -> Text {
        let ignore = "If this was not you, ignore this letter: without the code nothing happens.";
        let (subject, before, code, after) = match self {
            Self::VerifyEmail {
                username,
                code,
                minutes,
            } => (
                "Your code to verify this address",
                vec![
                    format!("Somebody signed up as \"{username}\" with this address."),
                    format!("If it was you, enter this code within {minutes} minutes:"),
                ],
                Some(code.clone()),
                vec![ignore.to_owned()],
            ),
            Self::AddressInUse {} => (
                "You have an account already",
                vec![
                    "Somebody wanted to sign up with this address, which has an account already."
                        .into(),
                    "If it was you, sign in; if you forgot the password, ask for a code to reset it."
                        .into(),
                ],
                None,
                vec!["If it was not you, nothing has happened to your account.".into()],
            ),
            Self::ResetPassword {
                username,
                code,
                minutes,
            } => (
                "Your code to reset the password",
                vec![
                    format!("Somebody asked to reset the password of \"{username}\"."),
                    format!("If it was you, enter this code within {minutes} minutes:"),
                ],
                Some(code.clone()),
                vec![ignore.to_owned()],
            ),
            Self::PasswordChanged {} => (
                "Your password was changed",
                vec![
                    "The password of your account was changed, and your other devices were signed out."
                        .into(),
                ],
                None,
                vec!["If it was not you, reset the password at once.".into()],
            ),
            Self::SessionEnded {} => (
                "A device was signed out",
                vec![
                    "A key of one of your devices was used twice, as happens when somebody has copied it."
                        .into(),
                    "That device was signed out to be safe. Sign in again there.".into(),
                ],
                None,
                vec!["If you did not expect this, change your password.".into()],
            ),
        };
        Text {
            subject,
            before,
            code,
            after,
            signature: "Layby",
        }
    }

    fn korean(&self) -> Text {
        let ignore = "본인이 요청하지 않으셨다면 이 메일을 무시해 주세요. 코드가 없으면 아무 일도 일어나지 않습니다.";
        let (subject, before, code, after) = match self {
            Self::VerifyEmail {
                username,
                code,
                minutes,
            } => (
                "이메일 주소 확인 코드",
                vec![
                    format!("이 주소로 \"{username}\" 계정의 가입 신청이 있었습니다."),
                    format!("본인이시라면 {minutes}분 안에 아래 코드를 입력해 주세요."),
                ],
                Some(code.clone()),
                vec![ignore.to_owned()],
            ),
            Self::AddressInUse {} => (
                "이미 가입된 이메일 주소입니다",
                vec![
                    "누군가 이 주소로 가입을 시도했지만, 이미 이 주소로 만든 계정이 있습니다.".into(),
                    "본인이시라면 로그인해 주세요. 비밀번호를 잊으셨다면 재설정 코드를 요청하실 수 있습니다."
                        .into(),
                ],
                None,
                vec!["본인이 아니시라면 계정에는 아무 변화가 없으니 안심하셔도 됩니다.".into()],
            ),
            Self::ResetPassword {
                username,
                code,
                minutes,
            } => (
                "비밀번호 재설정 코드",
                vec![
                    format!("\"{username}\" 계정의 비밀번호 재설정 요청이 있었습니다."),
                    format!("본인이시라면 {minutes}분 안에 아래 코드를 입력해 주세요."),
                ],
                Some(code.clone()),
                vec![ignore.to_owned()],
            ),
            Self::PasswordChanged {} => (
                "비밀번호가 변경되었습니다",
                vec!["계정의 비밀번호가 변경되었고, 다른 기기에서는 로그아웃되었습니다.".into()],
                None,
                vec!["본인이 변경하지 않으셨다면 바로 비밀번호를 재설정해 주세요.".into()],
            ),
            Self::SessionEnded {} => (
                "기기 한 대가 로그아웃되었습니다",
                vec![
                    "사용하시는 기기의 인증 키가 두 번 사용되었습니다. 키가 복제되었을 때 생기는 일입니다."
                        .into(),
                    "안전을 위해 해당 기기를 로그아웃했습니다. 다시 로그인해 주세요.".into(),
                ],
                None,
                vec!["짐작 가는 일이 없다면 비밀번호를 변경해 주세요.".into()],
            ),
        };
        Text {
            subject,
            before,
            code,
            after,
            signature: "Layby 드림",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_that_is_liked_best_is_taken() {
        for (header, language) in [
            ("", Language::English),
            ("ko", Language::Korean),
            ("ko-KR,ko;q=0.9,en;q=0.8", Language::Korean),
            ("en-US,en;q=0.9,ko;q=0.8", Language::English),
            ("en;q=0.3, ko;q=0.4", Language::Korean),
            ("fr, de;q=0.9", Language::English),
            ("ko;q=0", Language::English),
            ("ko;q=nonsense", Language::English),
        ] {
            assert_eq!(Language::from_accept_language(header), language, "{header}");
        }
    }

    #[test]
    fn letters_that_wait_in_an_outbox_stay_readable() {
        let kept = r#"{"to":"kim@example.com","language":"ko","letter":{"kind":"verify_email","username":"kim","code":"123456","minutes":10}}"#;
        let envelope: Envelope = serde_json::from_str(kept).expect("readable");
        assert_eq!(serde_json::to_string(&envelope).expect("writable"), kept);
        for kind in ["address_in_use", "password_changed", "session_ended"] {
            let kept = format!(r#"{{"kind":"{kind}"}}"#);
            let letter: Letter = serde_json::from_str(&kept).expect("readable");
            assert_eq!(serde_json::to_string(&letter).expect("writable"), kept);
        }
    }
}
