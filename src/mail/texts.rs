//! What each letter says, in each language.
//!
//! Subjects are the same for everybody: they are shown on locked screens and kept in the logs of mail servers.
//!
//! Deliberately absent: links. A code that is typed in teaches nobody to click on what a letter shows.

use super::{Language, Letter};

/// A longer name is cut: letters go to addresses that nobody has confirmed yet, and are not for messages of others.
const NAME_CHARS_MAX: usize = 64;

/// What a letter says, before it is laid out.
pub(super) struct Text<'a> {
    pub(super) subject: &'static str,
    /// Paragraphs above the code.
    pub(super) before: Vec<String>,
    pub(super) code: Option<&'a str>,
    /// Paragraphs below the code.
    pub(super) after: Vec<String>,
    /// Whom the letter is from, and that nobody reads answers.
    pub(super) footer: &'static str,
}

pub(super) fn text(language: Language, letter: &Letter) -> Text<'_> {
    match language {
        Language::English => english(letter),
        Language::Korean => korean(letter),
    }
}

/// A name as it may stand in a sentence: on one line, in the direction of the line, and not a story of its own.
fn name(username: &str) -> String {
    let breaks_the_line = |it: char| {
        it.is_control() || matches!(it, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let name: String = username.chars().take(NAME_CHARS_MAX).collect();
    name.replace(breaks_the_line, " ")
}

fn english(letter: &Letter) -> Text<'_> {
    let footer = "Layby sends this letter by itself; nobody reads answers to it.";
    let keep_secret = "Tell this code to nobody. We never ask for it.";
    match letter {
        Letter::VerifyEmail {
            username,
            code,
            minutes,
        } => Text {
            subject: "Confirm your e-mail address",
            before: vec![
                format!("Hello {},", name(username)),
                format!(
                    "please confirm the e-mail address of your Layby account with this code. It works once, within {}.",
                    in_minutes(*minutes)
                ),
            ],
            code: Some(code),
            after: vec![
                keep_secret.to_owned(),
                "If you did not sign up, you need not do anything: without the code nobody can use your address."
                    .to_owned(),
            ],
            footer,
        },
        Letter::AddressInUse {} => Text {
            subject: "Somebody tried to sign up with your address",
            before: vec![
                "Hello,".to_owned(),
                "somebody, perhaps you, tried to sign up for Layby with this e-mail address. There is an account with it already, so no new one was made, and nothing has changed.".to_owned(),
                "If it was you, please sign in with the account that you have. If you do not remember its password, choose \"Forgot password\" to set a new one.".to_owned(),
                "If it was not you, you need not do anything. Whoever it was has not learned that you have an account.".to_owned(),
            ],
            code: None,
            after: Vec::new(),
            footer,
        },
        Letter::ResetPassword {
            username,
            code,
            minutes,
        } => Text {
            subject: "Set a new password",
            before: vec![
                format!("Hello {},", name(username)),
                format!(
                    "somebody, we hope you, asked to set a new password for your Layby account. This is the code for it. It works once, within {}.",
                    in_minutes(*minutes)
                ),
            ],
            code: Some(code),
            after: vec![
                keep_secret.to_owned(),
                "If it was not you, you need not do anything: your password stays as it is.".to_owned(),
            ],
            footer,
        },
        Letter::PasswordChanged {} => Text {
            subject: "Your password was changed",
            before: vec![
                "Hello,".to_owned(),
                "the password of your Layby account was changed. If it was you, all is well.".to_owned(),
                "If it was not you, please set a new password at once: choose \"Forgot password\" where you sign in. That also ends every sign-in that is not yours.".to_owned(),
            ],
            code: None,
            after: Vec::new(),
            footer,
        },
        Letter::SignedOutEverywhere {} => Text {
            subject: "You were signed out for your safety",
            before: vec![
                "Hello,".to_owned(),
                "a key that keeps you signed in to Layby was used twice. Somebody may have copied it. To be safe we have ended that sign-in on every device that used it.".to_owned(),
                "Please sign in again. If you see anything in your account that you did not do, set a new password: choose \"Forgot password\" where you sign in.".to_owned(),
            ],
            code: None,
            after: Vec::new(),
            footer,
        },
    }
}

fn in_minutes(minutes: u32) -> String {
    match minutes {
        1 => "1 minute".to_owned(),
        minutes => format!("{minutes} minutes"),
    }
}

fn korean(letter: &Letter) -> Text<'_> {
    let footer = "이 메일은 Layby에서 자동으로 보내 드리는 발신 전용 메일입니다.";
    let keep_secret = "이 코드를 다른 사람에게 알려 주지 마세요. Layby는 코드를 여쭤보지 않습니다.";
    match letter {
        Letter::VerifyEmail {
            username,
            code,
            minutes,
        } => Text {
            subject: "이메일 주소를 인증해 주세요",
            before: vec![
                format!("{} 님, 안녕하세요.", name(username)),
                format!(
                    "Layby 계정의 이메일 주소를 인증하시려면 아래 코드를 입력해 주세요. 코드는 {minutes}분 동안 한 번만 사용하실 수 있습니다."
                ),
            ],
            code: Some(code),
            after: vec![
                keep_secret.to_owned(),
                "가입을 신청하신 적이 없다면 이 메일을 무시하셔도 됩니다. 코드 없이는 아무도 회원님의 이메일 주소를 사용할 수 없습니다."
                    .to_owned(),
            ],
            footer,
        },
        Letter::AddressInUse {} => Text {
            subject: "회원님의 이메일 주소로 가입이 시도되었습니다",
            before: vec![
                "안녕하세요.".to_owned(),
                "누군가 이 이메일 주소로 Layby 가입을 시도했습니다. 이 주소로 만든 계정이 이미 있어 새 계정은 만들어지지 않았으며, 변경된 내용도 없습니다.".to_owned(),
                "직접 시도하셨다면 기존 계정으로 로그인해 주세요. 비밀번호가 기억나지 않으시면 ‘비밀번호 찾기’에서 새 비밀번호를 설정하실 수 있습니다.".to_owned(),
                "직접 시도하신 것이 아니라면 이 메일을 무시하셔도 됩니다. 상대방은 회원님의 계정이 있다는 사실을 알 수 없습니다.".to_owned(),
            ],
            code: None,
            after: Vec::new(),
            footer,
        },
        Letter::ResetPassword {
            username,
            code,
            minutes,
        } => Text {
            subject: "새 비밀번호를 설정해 주세요",
            before: vec![
                format!("{} 님, 안녕하세요.", name(username)),
                format!(
                    "Layby 계정의 비밀번호를 다시 설정해 달라는 요청을 받았습니다. 아래 코드를 입력하시면 새 비밀번호를 설정하실 수 있습니다. 코드는 {minutes}분 동안 한 번만 사용하실 수 있습니다."
                ),
            ],
            code: Some(code),
            after: vec![
                keep_secret.to_owned(),
                "직접 요청하신 것이 아니라면 이 메일을 무시하셔도 됩니다. 비밀번호는 바뀌지 않습니다."
                    .to_owned(),
            ],
            footer,
        },
        Letter::PasswordChanged {} => Text {
            subject: "비밀번호가 변경되었습니다",
            before: vec![
                "안녕하세요.".to_owned(),
                "Layby 계정의 비밀번호가 변경되었습니다. 직접 변경하셨다면 따로 하실 일은 없습니다.".to_owned(),
                "직접 변경하신 것이 아니라면 지금 바로 로그인 화면의 ‘비밀번호 찾기’에서 새 비밀번호를 설정해 주세요. 새 비밀번호를 설정하시면 다른 사람의 로그인도 모두 해제됩니다.".to_owned(),
            ],
            code: None,
            after: Vec::new(),
            footer,
        },
        Letter::SignedOutEverywhere {} => Text {
            subject: "안전을 위해 로그아웃되었습니다",
            before: vec![
                "안녕하세요.".to_owned(),
                "회원님의 Layby 로그인 상태를 유지하는 키가 두 번 사용되었습니다. 누군가 키를 복사했을 수 있어, 안전을 위해 해당 로그인을 사용하던 모든 기기에서 로그아웃했습니다.".to_owned(),
                "번거로우시겠지만 다시 로그인해 주세요. 직접 하지 않으신 활동이 계정에서 보인다면 로그인 화면의 ‘비밀번호 찾기’에서 새 비밀번호를 설정해 주세요.".to_owned(),
            ],
            code: None,
            after: Vec::new(),
            footer,
        },
    }
}
