//! People with accounts: who they are, how they sign up, and what they have once they have signed in.

use serde_json::{Value, json};
use uuid::Uuid;

use super::client::text;
use super::{Answer, Caller, Outbox, Postbox, Shop};

/// What somebody signs up with.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) email: String,
    pub(crate) name: String,
    pub(crate) phone: String,
}

/// Somebody who has signed in.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) person: Person,
    /// With the access token.
    pub(crate) caller: Caller,
    pub(crate) refresh_token: String,
}

impl Person {
    /// Somebody whom no other test knows.
    pub(crate) fn new(first_name: &str) -> Self {
        let unique = format!("{:010x}", rand::random::<u64>() >> 24);
        Self {
            username: format!("{first_name}.{unique}"),
            password: format!("quiet-{unique}-lantern"),
            email: format!("{first_name}.{unique}@example.test"),
            name: format!("{first_name} Tester"),
            phone: "+82 10-1234-5678".into(),
        }
    }

    pub(crate) fn form(&self) -> Value {
        json!({
            "username": self.username,
            "password": self.password,
            "email": self.email,
            "name": self.name,
            "phone": self.phone,
        })
    }

    /// Everything personal about them, each in a few words that are found nowhere else.
    pub(crate) fn secrets(&self) -> [&str; 4] {
        [&self.username, &self.password, &self.email, &self.name]
    }

    pub(crate) fn asks_to_join(&self, visitor: &Caller) -> Answer {
        visitor.post_with("/v1/auth/sign-up", &self.form())
    }

    pub(crate) fn verifies(&self, visitor: &Caller, code: &str) -> Answer {
        let body = json!({"email": self.email, "code": code});
        visitor.post_with("/v1/auth/verify-email", &body)
    }

    pub(crate) fn asks_for_another_code(&self, visitor: &Caller) -> Answer {
        visitor.post_with("/v1/auth/resend-code", &json!({"email": self.email}))
    }

    pub(crate) fn forgets(&self, visitor: &Caller) -> Answer {
        visitor.post_with("/v1/auth/forgot-password", &json!({"email": self.email}))
    }

    pub(crate) fn resets(&self, visitor: &Caller, code: &str, new_password: &str) -> Answer {
        let body = json!({"email": self.email, "code": code, "new_password": new_password});
        visitor.post_with("/v1/auth/reset-password", &body)
    }

    pub(crate) fn asks_to_sign_in(&self, visitor: &Caller) -> Answer {
        self.asks_to_sign_in_with(visitor, &self.password)
    }

    pub(crate) fn asks_to_sign_in_with(&self, visitor: &Caller, password: &str) -> Answer {
        let body = json!({"username": self.username, "password": password});
        visitor.post_with("/v1/auth/sign-in", &body)
    }

    #[track_caller]
    pub(crate) fn signs_in(&self, visitor: &Caller) -> Member {
        let tokens = self.asks_to_sign_in(visitor).is(200);
        let mut caller = visitor.with_token(text(&tokens, "access_token"));
        let me = caller.get("/v1/me").is(200);
        caller.id = text(&me, "id").parse().expect("an id");
        Member {
            person: self.clone(),
            caller,
            refresh_token: text(&tokens, "refresh_token"),
        }
    }

    /// Signs up, reads the letter, and has a verified address.
    #[track_caller]
    pub(crate) fn joins(&self, visitor: &Caller, post: &dyn Postbox) {
        self.asks_to_join(visitor).is(202);
        let code = post.code(&self.email, 1);
        self.verifies(visitor, &code).is(204);
    }

    /// The same person with another password.
    pub(crate) fn with_password(&self, password: &str) -> Self {
        Self {
            password: password.to_owned(),
            ..self.clone()
        }
    }
}

impl Member {
    pub(crate) fn id(&self) -> Uuid {
        self.caller.id
    }

    #[track_caller]
    pub(crate) fn me(&self) -> Value {
        self.caller.get("/v1/me").is(200)
    }

    /// Its access token opens the doors of a buyer.
    #[track_caller]
    pub(crate) fn is_let_in(&self) {
        self.caller.get("/v1/me").is(200);
        self.caller.get("/v1/orders").is(200);
    }

    #[track_caller]
    pub(crate) fn is_turned_away(&self) {
        self.caller.get("/v1/me").is_refused(401, "unauthorized");
        self.caller
            .get("/v1/orders")
            .is_refused(401, "unauthorized");
        self.caller
            .place(&[super::line(&Uuid::now_v7().to_string(), 1)])
            .is_refused(401, "unauthorized");
    }

    pub(crate) fn asks_to_refresh(&self) -> Answer {
        let body = json!({"refresh_token": self.refresh_token});
        self.caller
            .without_token()
            .post_with("/v1/auth/refresh", &body)
    }

    /// The same sign-in with the next pair of tokens.
    #[track_caller]
    pub(crate) fn refreshes(&self) -> Self {
        let tokens = self.asks_to_refresh().is(200);
        Self {
            person: self.person.clone(),
            caller: self.caller.with_token(text(&tokens, "access_token")),
            refresh_token: text(&tokens, "refresh_token"),
        }
    }

    #[track_caller]
    pub(crate) fn signs_out(&self) {
        let body = json!({"refresh_token": self.refresh_token});
        let visitor = self.caller.without_token();
        visitor.post_with("/v1/auth/sign-out", &body).is(204);
    }

    #[track_caller]
    pub(crate) fn signs_out_everywhere(&self) {
        let body = json!({"refresh_token": self.refresh_token, "everywhere": true});
        let visitor = self.caller.without_token();
        visitor.post_with("/v1/auth/sign-out", &body).is(204);
    }

    pub(crate) fn changes_password(&self, current: &str, new: &str) -> Answer {
        let body = json!({"current_password": current, "new_password": new});
        self.caller.post_with("/v1/me/password", &body)
    }

    /// At a server that was started anew.
    pub(crate) fn at(&self, url: &str) -> Self {
        Self {
            caller: self.caller.at(url),
            ..self.clone()
        }
    }

    #[track_caller]
    pub(crate) fn adds_address(&self, address: &Value) -> Value {
        self.caller.post_with("/v1/me/addresses", address).is(201)
    }
}

impl Shop {
    /// Somebody new with a verified account, signed in; their letters went to the outbox.
    #[track_caller]
    pub(crate) fn member(&self, first_name: &str) -> Member {
        let person = Person::new(first_name);
        person.joins(&self.visitor(), &Outbox::of(self));
        person.signs_in(&self.visitor())
    }

    /// Gives an account another role, and gives the member a token that says so.
    #[track_caller]
    pub(crate) fn promote(&self, member: &Member, role: &str) -> Member {
        self.set_role(member, role).is(200);
        member.refreshes()
    }

    pub(crate) fn set_role(&self, member: &Member, role: &str) -> Answer {
        let path = format!("/v1/admin/users/{}/role", member.id());
        self.admin().post_with(&path, &json!({"role": role}))
    }

    /// `suspend` or `reinstate`.
    #[track_caller]
    pub(crate) fn user_act(&self, member: &Member, act: &str) {
        let path = format!("/v1/admin/users/{}/{act}", member.id());
        self.admin().post(&path).is(204);
    }
}
