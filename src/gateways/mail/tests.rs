//! What every transport promises, and which one an address stands for.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn options(url: Option<&str>) -> MailOptions {
    MailOptions {
        url: url.map(str::to_owned),
        ..MailOptions::default()
    }
}

fn letter() -> Message {
    Message::builder()
        .from("Layby <no-reply@localhost>".parse().expect("a mailbox"))
        .to("kim@example.com".parse().expect("a mailbox"))
        .subject("A code")
        .body("123456".to_owned())
        .expect("a letter")
}

#[test]
fn without_an_address_letters_are_files_in_the_data_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let transport = open(&options(None), directory.path()).expect("a transport");
    let sent = futures_util::FutureExt::now_or_never(transport.send(letter()));
    sent.expect("files do not wait").expect("sent");
    let outbox = directory.path().join("outbox");
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&outbox), 0o700);
    let entries = std::fs::read_dir(&outbox).expect("an outbox");
    let files: Vec<PathBuf> = entries.map(|it| it.expect("an entry").path()).collect();
    let [file] = files.as_slice() else {
        panic!("{files:?}");
    };
    assert_eq!(mode(file), 0o600);
    assert_eq!(file.extension().and_then(|it| it.to_str()), Some("eml"));
    let text = std::fs::read_to_string(file).expect("a letter");
    assert!(
        text.contains("To: kim@example.com") && text.contains("123456"),
        "{text}"
    );
}

#[test]
fn an_outbox_that_cannot_be_written_is_a_fault_that_may_pass() {
    let directory = tempfile::tempdir().expect("a directory");
    let transport = open(&options(None), directory.path()).expect("a transport");
    std::fs::remove_dir_all(directory.path().join("outbox")).expect("removed");
    let sent = futures_util::FutureExt::now_or_never(transport.send(letter()));
    let error = sent.expect("files do not wait").expect_err("no directory");
    assert!(matches!(error, SendError::Temporary(_)), "{error}");
}

#[tokio::test]
async fn an_address_says_how_mail_leaves() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = |url: &str| open(&options(Some(url)), directory.path()).map(|it| it.place());
    let other = directory.path().join("other");
    let file = format!("file:{}", other.display());
    assert_eq!(place(&file).expect("files"), other.display().to_string());
    assert_eq!(
        place("smtps://mail.example.com").expect("smtps"),
        "smtps://mail.example.com:465"
    );
    for wrong in ["", "http://mail.example.com", "mail.example.com", "smtp://"] {
        assert!(place(wrong).is_err(), "{wrong}");
    }
    let from_nobody = MailOptions {
        from: "no-reply".into(),
        ..MailOptions::default()
    };
    assert!(open(&from_nobody, directory.path()).is_err());
}
