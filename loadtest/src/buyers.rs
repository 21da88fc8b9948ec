//! The buyers of a run: made on the spot where the signing key is at hand, read from a file for a server elsewhere.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use uuid::Uuid;

use crate::signing::Issuer;

/// Longer than any run, short enough to be harmless in a shell history.
const TOKEN_TTL_SECONDS: u64 = 6 * 60 * 60;

#[derive(Debug, Clone)]
pub(crate) struct Buyer {
    pub(crate) user_id: Uuid,
    pub(crate) token: String,
}

/// `count` buyers from the file, or else signed with the key in the data directory.
pub(crate) fn gather(count: u32, tokens: Option<&Path>, data_dir: &Path) -> Result<Vec<Buyer>> {
    match tokens {
        Some(file) => read(count, file),
        None => make(count, data_dir),
    }
}

fn make(count: u32, data_dir: &Path) -> Result<Vec<Buyer>> {
    let issuer = Issuer::from_data_dir(data_dir).with_context(|| {
        let dir = data_dir.display();
        format!("cannot sign tokens with the key of data directory `{dir}`; give the server's --data-dir, or --tokens with a file from `layby seed`")
    })?;
    let new_buyer = |_| {
        let user_id = Uuid::now_v7();
        Ok(Buyer {
            user_id,
            token: issuer.issue_to_buyer(user_id, TOKEN_TTL_SECONDS)?,
        })
    };
    (0..count).map(new_buyer).collect()
}

fn read(count: u32, file: &Path) -> Result<Vec<Buyer>> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the tokens file `{name}`"))?;
    let wanted = usize::try_from(count)?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .take(wanted);
    let buyers: Vec<Buyer> = lines
        .map(|(index, line)| {
            parse(line)
                .with_context(|| format!("line {} of `{name}` is not `user_id,token`", index + 1))
        })
        .collect::<Result<_>>()?;
    ensure!(
        buyers.len() == wanted,
        "`{name}` has {} buyers and the run needs {count}; run `layby seed --buyers {count} --out {name}`, or ask for fewer --buyers",
        buyers.len()
    );
    Ok(buyers)
}

fn parse(line: &str) -> Option<Buyer> {
    let (user_id, token) = line.trim().split_once(',')?;
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let user_id = user_id.parse().ok()?;
    is_token.then(|| Buyer {
        user_id,
        token: token.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("temp file");
        std::fs::write(file.path(), text).expect("written");
        file
    }

    #[test]
    fn a_file_gives_as_many_buyers_as_asked_for() {
        let id = Uuid::from_u64_pair(1, 2);
        let file = file_of(&format!("{id},a.b.c\n\n{id},d.e.f\n{id},g.h.i\n"));
        let buyers = gather(2, Some(file.path()), Path::new("/nowhere")).expect("two");
        assert_eq!(buyers.len(), 2);
        assert_eq!((buyers[1].user_id, buyers[1].token.as_str()), (id, "d.e.f"));
    }

    #[test]
    fn a_bad_file_is_refused_with_the_line() {
        for (text, part) in [
            ("user_id,token\n", "line 1"),
            ("00000000-0000-0000-0000-000000000001,two words\n", "line 1"),
            (
                "00000000-0000-0000-0000-000000000001,t\n",
                "has 1 buyers and the run needs 2",
            ),
        ] {
            let file = file_of(text);
            let message = format!(
                "{:#}",
                gather(2, Some(file.path()), Path::new("/nowhere")).expect_err("refused")
            );
            assert!(message.contains(part), "{message}");
        }
    }
}
