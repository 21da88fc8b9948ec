//! What each answer of Stripe's means, for each of the three calls: the table of `docs/decisions/0013`.

use super::*;

/// What a call comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Declined,
    Refused,
    Unsettled,
    Unavailable,
}

/// An answer other than success, and what it is to a charge before any money could move, to a look-up and to a refund.
const ANSWERS: [(u16, &str, &str, [Class; 3]); 16] = {
    use Class::{Declined, Refused, Unavailable, Unsettled};
    const INVALID: &str = "invalid_request_error";
    [
        (400, INVALID, "parameter_invalid", [Refused; 3]),
        (400, "idempotency_error", "none", [Unsettled; 3]),
        (401, INVALID, "none", [Unavailable; 3]),
        (
            402,
            "card_error",
            "card_declined",
            [Declined, Refused, Refused],
        ),
        (403, INVALID, "none", [Unavailable, Refused, Refused]),
        (404, INVALID, "resource_missing", [Refused; 3]),
        (405, INVALID, "none", [Unavailable; 3]),
        (409, INVALID, "none", [Unsettled; 3]),
        (
            409,
            "idempotency_error",
            "idempotency_key_in_use",
            [Unsettled; 3],
        ),
        (424, "api_error", "none", [Unavailable; 3]),
        (429, INVALID, "rate_limit", [Unavailable; 3]),
        (429, INVALID, "lock_timeout", [Unsettled; 3]),
        (500, "api_error", "none", [Unavailable; 3]),
        (502, "api_error", "none", [Unavailable; 3]),
        (503, "api_error", "none", [Unavailable; 3]),
        (504, "api_error", "none", [Unavailable; 3]),
    ]
};

#[tokio::test]
async fn every_answer_to_a_charge_has_its_class() {
    for (status, kind, code, [class, _, _]) in ANSWERS {
        let fake = Fake::start().await;
        fake.on("POST", INTENTS, status, fault(kind, code)).await;
        let said = fake.stripe.charge(charge()).await.map(Some);
        assert_eq!(class_of(&said), class, "{status} {kind} {code}: {said:?}");
    }
}

#[tokio::test]
async fn every_answer_to_a_look_up_has_its_class() {
    for (status, kind, code, [_, class, _]) in ANSWERS {
        let fake = Fake::start().await;
        fake.on("GET", INTENTS, status, fault(kind, code)).await;
        let said = fake.look_up().await;
        assert_eq!(class_of(&said), class, "{status} {kind} {code}: {said:?}");
    }
}

#[tokio::test]
async fn every_answer_to_a_refund_has_its_class() {
    for (status, kind, code, [_, _, class]) in ANSWERS {
        let fake = Fake::start().await;
        fake.has_intent_with_refund(0).await;
        fake.on("POST", REFUNDS, status, fault(kind, code)).await;
        let said = fake.stripe.refund(charge()).await.map(|()| None);
        assert_eq!(class_of(&said), class, "{status} {kind} {code}: {said:?}");
    }
}

/// Once the intent is there, a refusal is what the intent says, and no other answer is a decline but that of the card.
#[tokio::test]
async fn every_answer_to_a_confirmation_has_its_class() {
    for (status, kind, code, [before, _, _]) in ANSWERS {
        let fake = Fake::start().await;
        let made = intent("requires_confirmation");
        fake.on("POST", INTENTS, 200, made).await;
        fake.on("POST", CONFIRM, status, fault(kind, code)).await;
        fake.on("GET", INTENT, 200, intent("canceled")).await;
        let said = fake.stripe.charge(charge()).await.map(Some);
        let class = match before {
            Class::Refused => Class::Declined,
            other => other,
        };
        assert_eq!(class_of(&said), class, "{status} {kind} {code}: {said:?}");
    }
}

/// A confirmation may have been faster than the call that calls it off: then the refusal says nothing about the money.
#[tokio::test]
async fn a_refusal_behind_a_confirmation_declines_nothing() {
    let refused = || fault("invalid_request_error", "payment_intent_unexpected_state");
    for is_lost in [false, true] {
        let fake = Fake::start().await;
        let made = intent("requires_confirmation");
        fake.on("POST", INTENTS, 200, made.clone()).await;
        fake.on("POST", CONFIRM, 400, refused()).await;
        match is_lost {
            true => fake.on("GET", INTENT, 404, refused()).await,
            false => fake.on("GET", INTENT, 200, made).await,
        }
        fake.on("POST", CANCEL, 400, refused()).await;
        let said = fake.stripe.charge(charge()).await.map(Some);
        assert_eq!(class_of(&said), Class::Unsettled, "{said:?}");
    }
}

#[tokio::test]
async fn an_intent_that_is_not_called_off_settles_nothing() {
    let unexpected = fault("invalid_request_error", "payment_intent_unexpected_state");
    for (status, body, class) in [
        (400, unexpected, Class::Refused),
        (200, intent("processing"), Class::Unsettled),
        (
            429,
            fault("invalid_request_error", "lock_timeout"),
            Class::Unsettled,
        ),
        (500, fault("api_error", "none"), Class::Unavailable),
    ] {
        let fake = Fake::start().await;
        fake.has_intent("requires_confirmation").await;
        fake.on("POST", CANCEL, status, body).await;
        let said = fake.look_up().await;
        assert_eq!(class_of(&said), class, "{status}: {said:?}");
    }
}

/// A proxy, a firewall, a captive portal: their 400 is not Stripe's.
#[tokio::test]
async fn what_stands_in_between_speaks_for_nobody() {
    for status in [400, 402, 403, 404, 409] {
        let fake = Fake::start().await;
        let page = ResponseTemplate::new(status).set_body_string("<html>no such host</html>");
        for (verb, route) in [("POST", INTENTS), ("GET", INTENTS)] {
            fake.on_with(verb, route, page.clone()).await;
        }
        assert!(
            is_unavailable(&fake.stripe.charge(charge()).await),
            "{status}"
        );
        assert!(is_unavailable(&fake.look_up().await), "{status}");
        assert!(
            is_unavailable(&fake.stripe.refund(charge()).await),
            "{status}"
        );
    }
}

#[tokio::test]
async fn a_refund_on_its_way_is_one_and_a_failed_one_is_refused() {
    for (status, class) in [
        (json!("succeeded"), None),
        (json!("pending"), None),
        (json!("failed"), Some(Class::Refused)),
        (json!("canceled"), Some(Class::Refused)),
        (json!("requires_action"), Some(Class::Unsettled)),
        (Value::Null, Some(Class::Unsettled)),
    ] {
        let fake = Fake::start().await;
        fake.has_intent_with_refund(0).await;
        let refund = json!({"id": "re_1", "status": status});
        fake.on("POST", REFUNDS, 200, refund).await;
        let said = fake.stripe.refund(charge()).await.map(|()| None);
        let told = said.is_err().then(|| class_of(&said));
        assert_eq!(told, class, "{status}: {said:?}");
        let asked = fake.asked("POST", REFUNDS).await;
        let key = format!("layby-{}-refund", attempt());
        assert_eq!(header(&asked[0], "idempotency-key"), key);
    }
}

/// Somebody was faster, by hand or from another process, between our look at the intent and our call.
#[tokio::test]
async fn money_that_went_back_in_the_meantime_is_back() {
    let fake = Fake::start().await;
    fake.has_intent_with_refund(0).await;
    let before = fault("invalid_request_error", "charge_already_refunded");
    fake.on("POST", REFUNDS, 400, before).await;
    assert_eq!(fake.stripe.refund(charge()).await, Ok(()));
}

fn class_of(said: &Result<Option<PaymentOutcome>, CallError>) -> Class {
    match said {
        Ok(Some(PaymentOutcome::Declined)) => Class::Declined,
        Ok(other) => panic!("it should not have been {other:?}"),
        Err(CallError::Refused(_)) => Class::Refused,
        Err(CallError::Unsettled(_)) => Class::Unsettled,
        Err(CallError::Unavailable(_)) => Class::Unavailable,
    }
}
